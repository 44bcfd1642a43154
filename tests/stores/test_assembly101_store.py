"""Caches to and from the layout of Assembly101's public features: one LMDB key per frame."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import fill
import lmdb
import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root

from egotools.errors import StoreError
from egotools.rebuild.quick_status import QuickStatus
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.stores.assembly101 import SMALL, Strays, environments_digest, frames_of, opened, statistics
from egotools.stores.assembly101_export import export_assembly101
from egotools.types import Rows
from egotools.weights.pickles import read_pickle

TINY = fill.DATA / "two_stream" / "lmdb_tiny"
EXO, EGO = "C10118_rgb", "HMC_21179183_mono10bit"
A, B = "nusar-2021_a", "nusar-2021_a-b"  # in this order as names, in the other one as beginnings of keys


def run(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(root, ["cache", command, *map(str, arguments)])


def imported(source: Path, out: Path, *more: object) -> Result:
    return run("import", source, "--from", "assembly101", "--out", out, *more)


def refused(done: Result) -> str:
    """The one line that says why nothing was done."""
    assert done.exit_code == 1, done.output
    assert "\n" not in str(done.exception)
    return str(done.exception)


def values_of(id: str, first: int, count: int) -> np.ndarray:
    """Distinct rows [count, 2048] float32."""
    return np.abs(fill.normal(f"input/{id}/{first}", (count, 1))) + np.arange(2048, dtype=np.float32) / 2048


def write_cache(path: Path, clips: dict[str, tuple[int, int]], dtype: str = "float32", fps: float = 30.0) -> Path:
    """A cache of clips by id, with their first frame and number of frames."""
    with open_writer(path, Recipe({"extractor": "tsm"})) as writer:
        for id, (first, count) in clips.items():
            starts = np.arange(first - 1, first - 1 + count) / fps
            times = np.stack([starts, np.arange(first, first + count) / fps], axis=1)
            writer.append(id, Rows(values_of(id, first, count).astype(dtype), times))
            writer.finish(id, Source(""))
        writer.commit()
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return write_cache(
        tmp_path / "tsm.lmdb", {f"{A}/{EXO}": (1, 700), f"{B}/{EXO}": (31, 5), f"{A}/{EGO}": (1, 9), f"{B}/x": (1, 0)}
    )


def entries(folder: Path) -> dict[str, bytes]:
    """What the public loaders read in an environment, in its order."""
    with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return {key.decode(): value for key, value in transaction.cursor()}


def put(folder: Path, changes: dict[str, bytes | None]) -> Path:
    """A copy of an environment's folder with keys written or deleted."""
    target = folder.with_name(f"{folder.name}-changed")
    shutil.copytree(folder, target)
    with lmdb.open(str(target), map_size=1 << 28) as environment, environment.begin(write=True) as transaction:
        for key, value in changes.items():
            transaction.delete(key.encode()) if value is None else transaction.put(key.encode(), value)
    return target


def key(number: int, id: str = f"{A}/{EXO}") -> str:
    return f"{id}/{id.rpartition('/')[2]}_{number:010d}.jpg"


def test_an_export_is_what_the_public_loaders_read(cache: Path, tmp_path: Path) -> None:
    done = run("export", cache, "--to", "assembly101", "--out", tmp_path / "lmdb")
    assert done.exit_code == 0, done.output
    assert f"714 frames of 3 clips, 2 cameras ({EXO}, {EGO})" in done.stderr
    assert "clips without rows, not in it: 1" in done.stderr
    assert sorted(os.listdir(tmp_path / "lmdb" / EXO)) == ["data.mdb", "lock.mdb"]
    found = entries(tmp_path / "lmdb" / EXO)
    assert list(found) == [key(n, f"{B}/{EXO}") for n in range(31, 36)] + [key(n) for n in range(1, 701)]
    whole = np.frombuffer(b"".join(found.values()), "<f4").reshape(-1, 2048)
    assert np.array_equal(whole, np.concatenate([values_of(f"{B}/{EXO}", 31, 5), values_of(f"{A}/{EXO}", 1, 700)]))
    ranges = {A: {EXO: [1, 701], EGO: [1, 10]}, B: {EXO: [31, 36]}}
    assert read_pickle(tmp_path / "lmdb" / "statistic_input_all.pkl") == ranges
    assert statistics(tmp_path / "lmdb") == statistics(cache) == ranges
    assert not list(tmp_path.glob(".*aside*"))


def test_there_and_back_rows_and_times_are_the_same(cache: Path, tmp_path: Path) -> None:
    export_assembly101(cache, tmp_path / "lmdb")
    for suffix in ("lmdb", "h5"):
        done = imported(tmp_path / "lmdb", tmp_path / f"back.{suffix}")
        assert done.exit_code == 0, done.output
        there, back = open_store(cache), open_store(tmp_path / f"back.{suffix}")
        assert list(back) == [id for id in there if len(there[id].times)]
        for id in back:
            assert np.array_equal(there[id].values, back[id].values)
            assert np.array_equal(there[id].times, back[id].times)
    half = write_cache(tmp_path / "half.lmdb", {f"{A}/{EXO}": (1, 3)}, dtype="float16")
    export_assembly101(half, tmp_path / "half")
    value = entries(tmp_path / "half" / EXO)[key(2)]
    assert np.array_equal(np.frombuffer(value, "<f4"), open_store(half)[f"{A}/{EXO}"].values[1].astype(np.float32))


def test_the_public_fixture_is_imported_exactly(tmp_path: Path) -> None:
    described = json.loads(TINY.with_suffix(".json").read_text())
    assert statistics(TINY) == described["statistics"]
    with np.load(TINY.with_suffix(".npz")) as arrays:
        wanted = dict(zip(arrays["keys"].tolist(), arrays["values"], strict=True))
    for source in (TINY, TINY / EXO, TINY / EXO / "data.mdb"):
        out = tmp_path / f"{source.name}.lmdb"
        assert imported(source, out).exit_code == 0
        store = open_store(out)
        assert store.rows == (12 if source == TINY else 6)
        for id in store:
            for row, (value, (start, end)) in enumerate(zip(*vars(store[id]).values(), strict=True)):
                assert np.array_equal(value, wanted[key(row + 1, id)])
                assert (start, end) == (row / 30, (row + 1) / 30)
        assert sorted(os.listdir(TINY / EXO)) == ["data.mdb"]  # nothing is left beside what was read


def test_other_rows_and_ids_are_refused_by_name(cache: Path, tmp_path: Path) -> None:
    def said(path: Path) -> str:
        return refused(run("export", path, "--to", "assembly101", "--out", tmp_path / "out"))

    assert "clip 'a' is not <recording>/<camera>" in said(write_cache(tmp_path / "a.lmdb", {"a": (1, 2)}))
    assert "clip 'a/../b'" in said(write_cache(tmp_path / "b.lmdb", {"a/../b": (1, 2)}))
    slow = write_cache(tmp_path / "c.lmdb", {"r/c": (1, 3)}, fps=15)
    assert "clip 'r/c', row 0 from 0, covers 0.0000 to 0.0667 s: not one row per 1/30 s; extract with --fps 30" in said(
        slow
    )
    assert "row 1 from 0" in said(write_cache(tmp_path / "d.lmdb", {"r/c": (1, 3)}, fps=60))
    with open_writer(tmp_path / "e.lmdb", Recipe({"extractor": "color"})) as writer:
        writer.append("r/c", Rows(np.zeros((1, 54), np.float32), np.array([[0, 1 / 30]])))
        writer.finish("r/c", Source(""))
        writer.commit()
    assert "rows of 54 numbers; Assembly101's layout holds 2048" in said(tmp_path / "e.lmdb")
    assert not (tmp_path / "out").exists()


def test_only_an_earlier_export_is_overwritten(cache: Path, tmp_path: Path) -> None:
    line = ["export", cache, "--to", "assembly101", "--out", tmp_path / "lmdb"]
    (tmp_path / "lmdb").mkdir()
    assert run(*line).exit_code == 0  # type: ignore[arg-type]
    assert "--overwrite replaces an earlier export" in refused(run(*line))  # type: ignore[arg-type]
    small = write_cache(tmp_path / "small.lmdb", {f"{A}/{EGO}": (1, 2)})
    line[1] = small
    assert run(*line, "--overwrite").exit_code == 0  # type: ignore[arg-type]
    assert statistics(tmp_path / "lmdb") == {A: {EGO: [1, 3]}}
    (tmp_path / "lmdb" / EGO / "mine.txt").touch()
    assert f"not from an export, such as {EGO}" in refused(run(*line, "--overwrite"))  # type: ignore[arg-type]
    assert statistics(tmp_path / "lmdb") == {A: {EGO: [1, 3]}}


def test_an_import_again_has_nothing_to_do_until_the_source_changes(tmp_path: Path) -> None:
    source, out = tmp_path / EXO, tmp_path / "a.lmdb"
    shutil.copytree(TINY / EXO, source)
    assert imported(source, out).exit_code == 0
    assert "nothing to do" in imported(source, out).stderr
    assert QuickStatus()(out).state == "fresh"
    assert "made differently" in refused(imported(source, out, "--max-gap", 2))
    (name,) = open_store(out)
    with lmdb.open(str(source), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        transaction.put(key(3, name).encode(), bytes(8192))
    found = QuickStatus()(out)
    assert found.state == "stale"
    assert f"{source}, which it was imported from, has changed" in found.remarks[0]
    assert "made differently" in refused(imported(source, out))
    assert imported(source, out, "--overwrite").exit_code == 0
    assert not open_store(out)[name].values[2].any()
    shutil.rmtree(source)
    assert QuickStatus()(out).state != "stale"


def test_large_environments_are_told_apart_by_samples(tmp_path: Path) -> None:
    def sparse(mark: int) -> str:
        (tmp_path / "c").mkdir(exist_ok=True)
        with (tmp_path / "c" / "data.mdb").open("wb") as file:
            file.truncate(SMALL * 3)
            file.seek(SMALL)
            file.write(bytes([mark]) * (SMALL // 100))
        return environments_digest(tmp_path / "c")

    assert sparse(1) == sparse(1) != sparse(2)


def test_missing_frames_are_the_ones_before_them_and_long_gaps_leave_a_recording_out(
    cache: Path, tmp_path: Path
) -> None:
    export_assembly101(cache, tmp_path / "lmdb")
    gone = [5, 513, 514, 515, 516, 517, 601]
    few = put(tmp_path / "lmdb" / EXO, dict.fromkeys(map(key, gone)))
    done = imported(few, tmp_path / "few.lmdb")
    assert done.exit_code == 0, done.output
    assert f"{A}/{EXO}: 7 frames missing, the first is {key(5)}; each got the row" in done.stderr
    found, whole = (open_store(path)[f"{A}/{EXO}"] for path in (tmp_path / "few.lmdb", cache))
    chosen = np.array([next(n for n in range(frame, 0, -1) if n not in gone) for frame in range(1, 701)]) - 1
    assert np.array_equal(found.values, whole.values[chosen])
    assert np.array_equal(found.times, whole.times)
    shutil.rmtree(few)
    many = put(tmp_path / "lmdb" / EXO, dict.fromkeys(map(key, [*gone, 518])))
    for _ in range(2):  # it is said again when there is nothing to do
        done = imported(many, tmp_path / "many.lmdb")
        assert done.exit_code == 1
        assert f"{A}/{EXO}: 6 frames in a row are missing from {key(513)} on, at most 5 may" in done.stderr
        assert "8 of its 700 frames are missing" in done.stderr
    assert list(open_store(tmp_path / "many.lmdb")) == [f"{B}/{EXO}"]
    assert imported(many, tmp_path / "loose.lmdb", "--max-gap", 6).exit_code == 0
    assert len(open_store(tmp_path / "loose.lmdb")) == 2
    shutil.rmtree(many)
    nan = put(tmp_path / "lmdb" / EXO, {key(650): np.full(2048, np.nan, "<f4").tobytes()})
    done = imported(nan, tmp_path / "nan.lmdb")
    assert (done.exit_code, list(open_store(tmp_path / "nan.lmdb"))) == (1, [f"{B}/{EXO}"])
    assert f"{A}/{EXO}: {key(650)} has NaN or infinite values" in done.stderr


def test_entries_that_hold_no_frame_are_named_and_counted(tmp_path: Path) -> None:
    shutil.copytree(TINY / EXO, tmp_path / EXO)
    (id,) = (f"{recording}/{EXO}" for recording in statistics(TINY / EXO))
    names = ["__len__", "a", f"{key(2, id)}.tmp", key(0, id), "r/c/d_0000000001.jpg"]
    changes: dict[str, bytes | None] = dict.fromkeys(names, bytes(8192))
    changed = put(tmp_path / EXO, {**changes, key(3, id): bytes(4096), key(4, id): b"short"})
    done = imported(changed, tmp_path / "a.lmdb")
    assert done.exit_code == 0, done.output
    assert "5 keys that name no frame" in done.stderr
    assert "such as '__len__'" in done.stderr
    assert f"2 values of another length than 8192 bytes, such as '{key(3, id)}'" in done.stderr
    assert f"{id}: 2 frames missing, the first is {key(3, id)}" in done.stderr
    rows = open_store(tmp_path / "a.lmdb")[id].values
    assert np.array_equal(rows[[2, 3]], rows[[1, 1]])


def test_what_is_no_environment_gives_one_line(cache: Path, tmp_path: Path) -> None:
    def said(source: Path) -> str:
        return refused(imported(source, tmp_path / "out.lmdb"))

    whole = (TINY / EXO / "data.mdb").read_bytes()
    for name, content, message in (
        ("empty", b"", "empty, not an LMDB environment"),
        ("text", b"abc" * 9999, "not LMDB"),
        ("short", whole[:50000], "cut short: 50000 bytes instead of"),
        ("shorter", whole[:3000], "cut short after 0 bytes"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.mdb").write_bytes(content)
        assert message in said(tmp_path / name)
    with lmdb.open(str(tmp_path / "none")) as environment:  # open here at the same time, too
        assert "contains no frame of Assembly101's layout" in said(tmp_path / "none")
        environment.info()
    with lmdb.open(str(tmp_path / "named"), max_dbs=2) as environment:
        environment.open_db(b"other")
    assert "several databases" in said(tmp_path / "named")
    assert "no such file or folder" in said(tmp_path / "absent")
    (tmp_path / "bare").mkdir()
    assert "a folder without LMDB environments" in said(tmp_path / "bare")
    assert "contains no frame of Assembly101's layout: " in said(cache)
    for camera in (EXO, "v3"):
        shutil.copytree(TINY / EXO, tmp_path / "twice" / camera)
    assert f"is in {EXO} and in v3" in said(tmp_path / "twice")
    assert not (tmp_path / "out.lmdb").exists()


def test_damage_to_the_keys_is_found_before_it_is_used(tmp_path: Path) -> None:
    whole, said = (TINY / EXO / "data.mdb").read_bytes(), 0
    pages = [0, 4096, whole.index(b"nusar") // 4096 * 4096]  # two of metadata, and that of the keys
    for number in range(60):
        content, rng = bytearray(whole), np.random.default_rng(number)
        page = pages[number % 3]
        struct.pack_into("<Q", content, page + int(rng.integers(0, 12)) * 8, int(rng.integers(0, 1 << 62)))
        (tmp_path / "data.mdb").write_bytes(content)
        try:
            statistics(tmp_path)
        except StoreError:
            said += 1
    assert said > 10


def test_options_of_arrays_do_not_mix_with_a_layout(tmp_path: Path) -> None:
    for more in (["--id", "x", "--values", "y"], ["--times", "t"]):
        done = imported(TINY, tmp_path / "a.lmdb", *more)
        assert (done.exit_code, "--from assembly101 has none" in done.stderr) == (2, True)
    done = run("import", TINY, "--out", tmp_path / "a.lmdb", "--max-gap", 2)
    assert (done.exit_code, "--max-gap belongs to --from" in done.stderr) == (2, True)


def test_long_recordings_are_scanned_in_parts(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_assembly101(cache, tmp_path / "lmdb")
    monkeypatch.setattr("egotools.stores.lmdb_index.LONGEST_RUN", 2)
    file, strays = tmp_path / "lmdb" / EXO / "data.mdb", Strays()
    with opened(file) as handle:
        found = list(frames_of(handle, file, strays))
    assert len(found) == 7
    assert sum(len(frames.numbers) for frames in found) == 705
    assert imported(tmp_path / "lmdb" / EXO, tmp_path / "a.lmdb").exit_code == 0
    assert np.array_equal(open_store(tmp_path / "a.lmdb")[f"{A}/{EXO}"].values, values_of(f"{A}/{EXO}", 1, 700))
