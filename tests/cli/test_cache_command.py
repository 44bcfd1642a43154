"""`egotools cache`, as a user runs it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from typing_commands import Installed

from egotools.errors import RecipeError, StoreError
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.stores.export import file_name
from egotools.types import Rows

IDENTITY = {"extractor": "resnet50", "weights": "IMAGENET1K_V1", "precision": "float32", "dtype": "float32"}


def make_rows(count: int, seed: int = 0, width: int = 6) -> Rows:
    times = np.stack([np.arange(count), np.arange(count) + 1], 1) + float(seed)
    return Rows(np.random.default_rng(seed).random((count, width), np.float32), times)


def make_cache(path: Path, clips: dict[str, Rows], identity: dict[str, object] | None = None) -> Path:
    with open_writer(path, Recipe(identity or IDENTITY, {"command": "test"})) as writer:
        for name, rows in clips.items():
            writer.append(name, rows)
            writer.finish(name, Source("/videos/a.mp4", 1.0, 2.0, 10, 5.0))
        writer.seal()
    return path


def damage(path: Path, rows: Rows) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(rows.values.tobytes())] ^= 1
    path.unlink()
    path.write_bytes(data)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["cache", *map(str, arguments)])


def contents(path: Path) -> dict[str, tuple[list[list[float]], list[list[float]]]]:
    store = open_store(path)
    return {name: (store[name].values.tolist(), store[name].times.tolist()) for name in store}


def test_ls_lists_every_cache_below_a_folder(tmp_path: Path) -> None:
    make_cache(tmp_path / "deep" / "er" / "a.lmdb", {"x": make_rows(3), "y": make_rows(0)})
    make_cache(tmp_path / "b.h5", {"x": make_rows(2)})
    make_cache(tmp_path / ".hidden" / "c.lmdb", {"x": make_rows(2)})
    result = run("ls", tmp_path, "--json")
    listed = {Path(entry["path"]).name: entry for entry in json.loads(result.stdout)}
    assert set(listed) == {"a.lmdb", "b.h5"}
    entry = listed["a.lmdb"]
    assert (entry["clips"], entry["rows"], entry["width"], entry["dtype"]) == (2, 3, 6, "float32")
    assert (entry["extractor"], entry["weights"], entry["precision"]) == ("resnet50", "IMAGENET1K_V1", "float32")
    assert entry["bytes"] == (tmp_path / "deep" / "er" / "a.lmdb").stat().st_size
    table = run("ls", tmp_path).stdout
    assert "resnet50" in table
    assert "b.h5" in table


def test_ls_names_a_broken_cache_lists_the_others_and_fails(tmp_path: Path, installed: Installed) -> None:
    make_cache(tmp_path / "good.lmdb", {"x": make_rows(3)})
    (tmp_path / "bad.lmdb").write_text("text" * 100)
    result = installed("cache", "ls", tmp_path)
    assert result.returncode == 1
    assert "good.lmdb" in result.stdout
    assert result.stderr.count("\n") == 1
    assert "bad.lmdb: not a cache" in result.stderr


def test_ls_shows_a_pass_that_waits_to_be_sealed(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.h5", Recipe(IDENTITY)) as writer:
        writer.finish("x", Source(""))
        writer.commit()
    (entry,) = json.loads(run("ls", tmp_path, "--json").stdout)
    assert entry["format"] == "hdf5, not sealed"


def test_ls_starts_without_torch_or_pandas(tmp_path: Path) -> None:
    make_cache(tmp_path / "a.lmdb", {"x": make_rows(3)})
    make_cache(tmp_path / "a.h5", {"x": make_rows(3)})
    script = (
        "import sys; from egotools.cli.main import root; "
        f"root.main(['cache', 'ls', {str(tmp_path)!r}], standalone_mode=False); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'sklearn', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_info_shows_recipe_counts_and_first_ids(tmp_path: Path) -> None:
    path = make_cache(tmp_path / "a.lmdb", {f"clip/{index:02d}": make_rows(2) for index in range(20)})
    facts = json.loads(run("info", path, "--json").stdout)
    assert facts["identity"] == IDENTITY
    assert facts["origin"] == {"command": "test"}
    assert facts["first ids"] == [f"clip/{index:02d}" for index in range(10)]
    assert "IMAGENET1K_V1" in run("info", path).stdout


def test_info_of_a_clip_shows_its_source_and_statistics(tmp_path: Path, installed: Installed) -> None:
    rows = make_rows(4)
    rows.values[0, 0] = np.nan
    path = make_cache(tmp_path / "a.h5", {"x": rows})
    facts = json.loads(run("info", path, "--clip", "x", "--json").stdout)
    assert (facts["source path"], facts["source end"], facts["rows"]) == ("/videos/a.mp4", 2.0, 4)
    assert facts["mean"] == pytest.approx(np.nanmean(rows.values), rel=1e-6)
    assert (facts["first row"], facts["last row"], facts["not finite"]) == ([0, 1], [3, 4], 1)
    missing = installed("cache", "info", path, "--clip", "y")
    assert missing.returncode == 1
    assert "no clip 'y'" in missing.stderr


@pytest.mark.parametrize("name", ["a.lmdb", "a.h5"])
def test_verify_names_the_damaged_clip_and_fails(tmp_path: Path, name: str, installed: Installed) -> None:
    good = make_cache(tmp_path / f"good.{name[2:]}", {"x": make_rows(3)})
    path = make_cache(tmp_path / name, {f"clip/{index}": make_rows(50, index) for index in range(5)})
    assert run("verify", path, good).exit_code == 0
    damage(path, make_rows(50, 3))
    result = installed("cache", "verify", path, good)
    assert result.returncode == 1
    assert "clip 'clip/3': checksum differs" in result.stderr
    assert "clip/2" not in result.stderr
    found = json.loads(installed("cache", "verify", path, good, "--json").stdout)
    assert [list(entry["bad"]) for entry in found] == [["clip/3"], []]


def test_verify_counts_nan_and_infinite_values_which_are_no_damage(tmp_path: Path) -> None:
    rows = make_rows(3)
    rows.values[0, :2], rows.values[1, 0] = np.nan, np.inf
    path = make_cache(tmp_path / "a.lmdb", {"x": rows, "y": make_rows(2)})
    result = run("verify", path, "--json")
    (found,) = json.loads(result.stdout)
    assert (result.exit_code, found["nan"], found["infinite"]) == (0, {"x": 2}, {"x": 1})
    assert "'x' has 2 NaN values" in result.stderr


def test_verify_refuses_times_that_run_backwards(tmp_path: Path) -> None:
    path = make_cache(tmp_path / "a.lmdb", {"x": Rows(make_rows(1).values, np.array([[2.0, 1.0]]))})
    result = run("verify", path)
    assert result.exit_code == 1
    assert "'x': times" in result.stderr


def test_verify_of_a_cut_file_says_so(tmp_path: Path, installed: Installed) -> None:
    path = make_cache(tmp_path / "a.lmdb", {str(index): make_rows(100, index) for index in range(50)})
    os.truncate(path, 30_000)
    result = installed("cache", "verify", path)
    assert result.returncode == 1
    assert "cut short" in result.stderr


@pytest.mark.parametrize("out", ["out.lmdb", "out.h5"])
def test_merge_joins_caches_and_keeps_one_of_equal_clips(tmp_path: Path, out: str) -> None:
    nan = make_rows(2, 7)
    nan.values[0, 0] = np.nan
    one = make_cache(tmp_path / "one.lmdb", {"a": make_rows(3), "both": nan})
    two = make_cache(tmp_path / "two.h5", {"b": make_rows(0), "both": nan, "c": make_rows(1, 2)})
    assert run("merge", one, two, "--out", tmp_path / out).exit_code == 0
    store = open_store(tmp_path / out)
    assert list(store) == ["a", "b", "both", "c"]
    assert store["both"].values.tobytes() == nan.values.tobytes()
    assert store.source("c") == Source("/videos/a.mp4", 1.0, 2.0, 10, 5.0)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.endswith("-lock")) == sorted(
        ["one.lmdb", "two.h5", out]
    )


@pytest.mark.parametrize(
    ("origins", "joined"),
    [
        ([{"manifest": "b.csv", "manifest_digest": "1"}, {"manifest": "a.csv"}], {"manifest": ["a.csv", "b.csv"]}),
        ([{"manifest": ["c.csv", "a.csv"]}, {"manifest": "a.csv", "limit": 9}], {"manifest": ["a.csv", "c.csv"]}),
        ([{"manifest": "b.csv"}, {}, {"manifest": "b.csv"}], {"manifest": "b.csv"}),
        ([{"manifest": "b.csv", "limit": 3}, {"manifest": "b.csv", "limit": 5}], {"manifest": "b.csv", "limit": 5}),
        ([{"manifest": "b.csv", "limit": 3}, {"manifest": "b.csv"}], {"manifest": "b.csv"}),
        ([{"manifest": "b.csv", "limit": 3}, {"manifest": "a.csv", "limit": 3}], {"manifest": ["a.csv", "b.csv"]}),
        ([{}, {}], {}),
    ],
)
def test_merged_caches_know_the_manifests_of_all(
    tmp_path: Path, origins: list[dict[str, Any]], joined: dict[str, Any]
) -> None:
    paths = [tmp_path / f"{index}.lmdb" for index in range(len(origins))]
    for path, origin in zip(paths, origins, strict=True):
        with open_writer(path, Recipe(IDENTITY, origin)) as writer:
            writer.append(path.stem, make_rows(2))
            writer.finish(path.stem, Source("/videos/a.mp4", 1.0, 2.0, 10, 5.0))
            writer.seal()
    assert run("merge", *paths, "--out", tmp_path / "out.lmdb").exit_code == 0
    origin = dict(open_store(tmp_path / "out.lmdb").recipe.origin)
    assert origin.pop("merged") == [str(path) for path in paths]
    assert origin == joined


def test_merge_refuses_other_rows_for_one_id_and_other_recipes(tmp_path: Path) -> None:
    one = make_cache(tmp_path / "one.lmdb", {"a": make_rows(3)})
    two = make_cache(tmp_path / "two.lmdb", {"a": make_rows(3, 1)})
    other = make_cache(tmp_path / "other.lmdb", {"b": make_rows(3)}, {**IDENTITY, "precision": "bf16"})
    clash = run("merge", one, two, "--out", tmp_path / "out.lmdb").exception
    assert isinstance(clash, StoreError)
    assert "clip 'a' has other rows" in str(clash)
    mixed = run("merge", one, other, "--out", tmp_path / "out.lmdb").exception
    assert isinstance(mixed, RecipeError)
    assert "precision='bf16'" in str(mixed)
    assert not (tmp_path / "out.lmdb").exists()


def test_convert_there_and_back_changes_nothing(tmp_path: Path) -> None:
    path = make_cache(tmp_path / "a.lmdb", {"x": make_rows(3), "y/..": make_rows(0), "z": make_rows(900, 2)})
    assert run("convert", path, tmp_path / "b.h5").exit_code == 0
    assert run("convert", tmp_path / "b.h5", tmp_path / "c.lmdb").exit_code == 0
    assert contents(tmp_path / "c.lmdb") == contents(path)
    assert open_store(tmp_path / "c.lmdb").recipe.identity == IDENTITY


@pytest.mark.parametrize("out", ["half.h5", "half.lmdb"])
def test_convert_to_float16_rounds_the_rows_and_says_so_in_the_recipe(tmp_path: Path, out: str) -> None:
    path = make_cache(tmp_path / "a.lmdb", {"x": make_rows(30)})
    assert run("convert", path, tmp_path / out, "--dtype", "float16").exit_code == 0
    store = open_store(tmp_path / out)
    np.testing.assert_array_equal(store["x"].values, make_rows(30).values.astype(np.float16))
    assert store.recipe.identity == {**IDENTITY, "dtype": "float16"}
    assert store.stored("x").is_intact()


def test_convert_refuses_values_that_float16_cannot_hold(tmp_path: Path, installed: Installed) -> None:
    rows = make_rows(3)
    rows.values[1, 1] = 1e6
    path = make_cache(tmp_path / "a.lmdb", {"big": rows})
    result = installed("cache", "convert", path, tmp_path / "half.h5", "--dtype", "float16")
    assert result.returncode == 1
    assert "clip 'big' has values up to 1e+06" in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.lmdb", "a.lmdb-lock"]


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_convert_overwrites_only_when_told_to(tmp_path: Path, suffix: str, installed: Installed) -> None:
    one = make_cache(tmp_path / "one.lmdb", {"a": make_rows(3)})
    two = make_cache(tmp_path / f"two{suffix}", {"b": make_rows(3)})
    before = open_store(two)
    refused = installed("cache", "convert", one, two)
    assert refused.returncode == 1
    assert "--overwrite" in refused.stderr
    assert list(contents(two)) == ["b"]
    assert run("convert", one, two, "--overwrite").exit_code == 0
    assert list(contents(two)) == ["a"]
    assert before["b"].values.tolist() == make_rows(3).values.tolist()


@pytest.mark.parametrize("command", ["convert", "merge", "export"])
@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_a_failure_half_way_leaves_no_output(tmp_path: Path, command: str, suffix: str) -> None:
    path = make_cache(tmp_path / "a.lmdb", {f"{index}": make_rows(50, index) for index in range(9)})
    damage(path, make_rows(50, 6))
    out = tmp_path / ("out" if command == "export" else f"out{suffix}")
    arguments = {"convert": [path, out], "merge": [path, "--out", out], "export": [path, "--to", "npz", "--out", out]}
    result = run(command, *arguments[command])
    assert isinstance(result.exception, StoreError)
    assert "clip '6'" in str(result.exception)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith("a.lmdb")] == []


def test_an_interrupted_conversion_leaves_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_cache(tmp_path / "a.lmdb", {"x": make_rows(3), "y": make_rows(3)})

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("egotools.stores.lmdb_writer.LMDBWriter.seal", interrupt)
    assert run("convert", path, tmp_path / "b.lmdb").exit_code != 0
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith("a.lmdb")] == []


def test_export_writes_a_file_a_clip_that_numpy_reads_and_never_leaves_the_folder(
    tmp_path: Path, installed: Installed
) -> None:
    ids = ["a/b", "a%2Fb", "../up", "..", ".", "x" * 400, "x" * 399 + "y", "é b", "A", "con/"]
    path = make_cache(tmp_path / "a.h5", {name: make_rows(2, seed) for seed, name in enumerate(ids)})
    assert run("export", path, "--to", "npz", "--out", tmp_path / "npz").exit_code == 0
    with (tmp_path / "npz" / "index.csv").open(newline="", encoding="utf-8") as file:
        table = {row["id"]: row for row in csv.DictReader(file)}
    assert set(table) == set(ids)
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "npz"]
    assert len(os.listdir(tmp_path / "npz")) == len(ids) + 2
    for seed, name in enumerate(ids):
        with np.load(tmp_path / "npz" / table[name]["file"]) as arrays:
            assert arrays["values"].tolist() == make_rows(2, seed).values.tolist()
            assert arrays["times"].tolist() == make_rows(2, seed).times.tolist()
    assert json.loads((tmp_path / "npz" / "recipe.json").read_text())["identity"] == IDENTITY
    again = installed("cache", "export", path, "--to", "npz", "--out", tmp_path / "npz")
    assert again.returncode == 1
    assert "not an empty folder" in again.stderr


def test_file_names_are_short_and_differ() -> None:
    ids = ["a", "a.", "a=", "a%3D", "é", "%C3%A9", "x" * 250, "x" * 251, "/", "//", "..", "%2E."]
    names = [file_name(name) for name in ids]
    assert len(set(names)) == len(ids)
    assert all("/" not in name and not name.startswith(".") and len(name.encode()) < 250 for name in names)


def test_wrong_usage_is_status_two_and_every_command_has_an_example(installed: Installed) -> None:
    assert installed("cache", "merge").returncode == 2
    assert installed("cache", "export", "x.h5", "--to", "pickle", "--out", "y").returncode == 2
    for command in ("ls", "info", "verify", "merge", "convert", "export"):
        assert f"egotools cache {command}" in run(command, "--help").stdout


def linked(tmp_path: Path) -> Path:
    """caches/b.lmdb, with links to a folder inside, a folder outside, itself, nothing, and a second name of b."""
    for name in ("caches/b.lmdb", "caches/.versions/c.lmdb", "outside/a.lmdb"):
        make_cache(tmp_path / name, {"x": make_rows(3)})
    (tmp_path / "outside/broken.lmdb").write_bytes(b"junk")
    for name, target in {
        **{"inside": ".versions", "again": ".versions", "itself": ".", "out": "../outside", "nowhere": "gone"},
        **{"a-name.lmdb": "b.lmdb", "loop": "loop"},
    }.items():
        (tmp_path / "caches" / name).symlink_to(target)
    return tmp_path / "caches"


def test_links_are_followed_inside_the_folder_and_named_where_they_lead_outside(tmp_path: Path) -> None:
    caches = linked(tmp_path)
    for command in ("ls", "verify"):
        result = CliRunner().invoke(root, ["cache", command, str(caches), "--json"])
        assert result.exit_code == 0
        assert {Path(item["path"]).name for item in json.loads(result.stdout)} == {"b.lmdb", "c.lmdb"}
        assert len(json.loads(result.stdout)) == 2
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"{caches}/out: a link to {tmp_path.resolve()}/outside, outside of {caches}; skipped")


def test_a_link_that_is_named_is_followed_wherever_it_leads_and_what_is_reached_twice_is_listed_once(
    tmp_path: Path,
) -> None:
    caches = linked(tmp_path)
    named = [str(caches), str(caches / "out"), str(tmp_path / "outside/a.lmdb"), str(caches / "b.lmdb")]
    result = CliRunner().invoke(root, ["cache", "verify", *named, "--json"])
    assert result.exit_code == 1
    names = sorted(Path(item["path"]).name for item in json.loads(result.stdout))
    assert names == ["a.lmdb", "b.lmdb", "broken.lmdb", "c.lmdb"]


def test_a_rebuild_of_a_folder_with_nothing_but_a_link_says_so(tmp_path: Path) -> None:
    linked(tmp_path)
    (tmp_path / "only").mkdir()
    (tmp_path / "only/linked").symlink_to("../outside")
    result = CliRunner().invoke(root, ["rebuild", str(tmp_path / "only"), "--dry-run"])
    assert isinstance(result.exception, StoreError)
    assert "no caches found" in str(result.exception)
    assert "only/linked: a link to " in result.stderr
