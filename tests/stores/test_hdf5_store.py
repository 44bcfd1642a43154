"""What is HDF5's own: sealing from a part, a layout that any HDF5 library reads."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from egotools.errors import RecipeError, StoreError
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.stores.verify import verify
from egotools.types import Rows

RECIPE = Recipe({"extractor": "test"})


def make_rows(count: int, seed: int = 0) -> Rows:
    return Rows(np.random.default_rng(seed).random((count, 8), np.float32), np.full((count, 2), float(seed)))


def write(path: Path, clips: dict[str, int], *, seal: bool = True, recipe: Recipe = RECIPE) -> None:
    with open_writer(path, recipe) as writer:
        for seed, (name, count) in enumerate(clips.items()):
            writer.append(name, make_rows(count, seed))
            writer.finish(name, Source("/videos/é.mp4"))
        writer.seal() if seal else writer.commit()


def test_plain_h5py_reads_a_sealed_cache(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", {"kitchen/é": 3, "empty": 0, "b": 2})
    with h5py.File(tmp_path / "a.h5") as file:
        ids = file["index/id"].asstr()[:].tolist()
        assert ids == ["b", "empty", "kitchen/é"]
        assert file["index/rows"][:].tolist() == [2, 0, 3]
        assert file["clips/2"][:].tolist() == make_rows(3).values.tolist()
        assert file["clips/1"].shape == (0, 8)
        assert file["times"][:].tolist() == [[2.0, 2.0]] * 2 + [[0.0, 0.0]] * 3
        assert file["clips/2"].chunks is None
        assert file["clips/2"].id.get_offset() == file["index/offset"][2]
        assert '"extractor": "test"' in file.attrs["recipe"]


def test_only_the_sealed_file_is_left_after_sealing(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", {"a": 3})
    assert os.listdir(tmp_path) == ["a.h5"]


def test_an_interrupted_pass_waits_in_its_part_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, {"a": 3}, seal=False)
    with pytest.raises(StoreError, match="not sealed yet"):
        open_store(path)
    write(path, {"b": 2})
    assert list(open_store(path)) == ["a", "b"]


def test_a_pass_with_nothing_new_leaves_the_sealed_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, {"a": 3})
    before = path.stat()
    write(path, {})
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert os.listdir(tmp_path) == ["a.h5"]


def test_a_crash_between_renaming_and_removing_the_part_is_mended(tmp_path: Path) -> None:
    path, part = tmp_path / "a.h5", tmp_path / "a.h5.part"
    write(path, {"a": 3}, seal=False)
    kept = part.read_bytes()
    write(path, {})
    part.write_bytes(kept)
    write(path, {})
    assert os.listdir(tmp_path) == ["a.h5"]
    assert open_store(path)["a"].values.tolist() == make_rows(3).values.tolist()


def test_a_part_of_another_recipe_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", {"a": 3}, seal=False)
    with pytest.raises(RecipeError, match="extractor='test', not 'other'"):
        open_writer(tmp_path / "a.h5", Recipe({"extractor": "other"}))


def test_a_reader_goes_on_with_its_file_while_a_new_one_takes_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, {"a": 3})
    before = open_store(path)
    write(path, {"b": 2})
    assert list(before) == ["a"]
    assert before["a"].values.tolist() == make_rows(3).values.tolist()
    assert list(open_store(path)) == ["a", "b"]


def test_damaged_rows_are_not_sealed_on(tmp_path: Path) -> None:
    path, part = tmp_path / "a.h5", tmp_path / "a.h5.part"
    write(path, {"a": 3}, seal=False)
    data = bytearray(part.read_bytes())
    data[data.index(make_rows(3).values.tobytes())] ^= 1
    part.unlink()
    part.write_bytes(data)
    with pytest.raises(StoreError, match="damaged: clip 'a'"):
        write(path, {})
    assert not path.exists()
    assert part.exists()


def test_a_file_that_another_tool_rewrote_is_read_by_its_new_offsets(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.h5", tmp_path / "copy.h5"
    write(path, {"a": 300, "b": 200, "c": 0})
    with h5py.File(path) as old, h5py.File(copy, "w") as new:
        new.create_dataset("first", data=np.zeros(1000))
        new.attrs.update(old.attrs)
        for name in ("index", "clips", "times"):
            old.copy(name, new)
    store = open_store(copy)
    assert store["b"].values.tolist() == make_rows(200, 1).values.tolist()
    assert store.stored("a").is_intact()


def test_an_hdf5_file_of_another_program_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(StoreError, match="not a cache of egotools"):
        open_store(tmp_path / "a.h5")


def test_a_recipe_of_any_size_is_kept(tmp_path: Path) -> None:
    recipe = Recipe({"extractor": "test"}, {"clips": ["x" * 100] * 5000})
    write(tmp_path / "a.h5", {"a": 1}, recipe=recipe)
    assert open_store(tmp_path / "a.h5").recipe.origin == recipe.origin


def outside(path: Path, kind: str) -> None:
    """Lets an array of a cache lie elsewhere, or be another one than was written."""
    elsewhere = path.with_name("elsewhere.h5")
    times = np.zeros((9, 2))
    with h5py.File(elsewhere, "w") as other:
        other["times"] = times
    with h5py.File(path, "r+") as file:
        name = "index/rows" if kind.endswith("in a group") else "times"
        del file[name]
        if kind == "external storage":
            file.create_dataset(name, (9, 2), "f8", external=[(str(elsewhere), 0, 144)])
        elif kind == "external link":
            file[name] = h5py.ExternalLink(str(elsewhere), "/times")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((9, 2), "f8")
            layout[:] = h5py.VirtualSource(str(elsewhere), "times", (9, 2))
            file.create_virtual_dataset(name, layout)
        elif kind == "soft loop":
            file[name] = h5py.SoftLink("/times")
        elif kind == "soft link in a group":
            file[name] = h5py.SoftLink("/index/offset")
        elif kind == "group":
            file.create_group(name)
        elif kind == "committed type":
            file["type"] = np.dtype("f8")
            file.create_dataset(name, data=times, dtype=file["type"])
        elif kind == "references":
            file.create_dataset(name, (9, 2), h5py.ref_dtype)
        elif kind == "compressed":
            file.create_dataset(name, data=times, compression="gzip")
        elif kind == "another shape":
            file[name] = times[:8]
        elif kind == "never written":
            file.create_dataset(name, (10**12, 2), "f8")


KINDS = ["external storage", "external link", "virtual", "soft loop", "soft link in a group", "group"]
KINDS += ["committed type", "references", "compressed", "another shape", "never written"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_points_outside_itself_or_is_not_as_written_is_refused_before_it_is_read(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a.h5"
    write(path, {"a": 3, "b": 3, "c": 3})
    outside(path, kind)
    store = open_store(path)  # its header is its own
    with pytest.raises(StoreError, match=r"a\.h5: damaged \(its "):
        store["a"]


def test_an_index_of_more_ids_than_the_file_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, {"a": 3})
    with h5py.File(path, "r+") as file:
        del file["index/id"]
        file.create_dataset("index/id", (10**12,), h5py.string_dtype())
        header = json.loads(file.attrs["recipe"])
        file.attrs["recipe"] = json.dumps({**header, "clips": 10**12})
    with pytest.raises(StoreError, match=r"a\.h5: damaged \(its "):
        list(open_store(path))


@pytest.mark.parametrize("attribute", [h5py.Empty("f4"), np.zeros(3), 5, ["a", "b"]])
def test_a_header_that_is_no_text_is_refused(tmp_path: Path, attribute: object) -> None:
    path = tmp_path / "a.h5"
    write(path, {"a": 3})
    with h5py.File(path, "r+") as file:
        file.attrs["recipe"] = attribute
    with pytest.raises(StoreError, match="not a cache of egotools"):
        open_store(path)


def test_damaged_bytes_anywhere_are_an_error_of_ours_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, {f"c{number:02d}": number % 5 for number in range(30)})
    data, outcomes = path.read_bytes(), {"sound": 0, "damaged": 0, "refused": 0}
    for seed in range(60):
        random_, mutant = random.Random(seed), bytearray(data)
        for _ in range(random_.choice([1, 3, 30])):
            mutant[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        path.write_bytes(mutant)
        try:
            outcomes["sound" if verify(path).is_sound else "damaged"] += 1
        except StoreError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 3
