"""Extraction in one call of Python: what videos and extractors may be, and what is said of what went wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import write_video

from egotools.errors import ExtractorError, ManifestError
from egotools.extraction.by_name import extract
from egotools.manifests import read_manifest, write_manifest
from egotools.stores import open_store
from egotools.types import Clip

ODD = Path(__file__).parents[1] / "odd_extractors.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos of 20 and 30 frames at 10 Hz in a folder of a name that has a meaning in patterns."""
    place = tmp_path / "videos [1]"
    place.mkdir()
    for name, frames in (("a", 20), ("b", 30)):
        write_video(place / f"{name}.mp4", frames)
    return place


def ids(manifest: Path) -> list[str]:
    return [clip.id for clip in read_manifest(manifest)]


def test_a_folder_an_extractor_and_its_options_are_one_line(folder: Path) -> None:
    out = folder.parent / "caches"
    made = extract(f"{folder}", "color", out=str(out), fps=2, workers=1)
    assert made.caches == [out / "color.lmdb"]
    assert made.is_complete
    store = open_store(made.caches[0])
    assert {id: len(store[id].values) for id in store} == {"a": 4, "b": 6}
    assert store.recipe.origin["manifest"] == str(out / "manifest.csv")
    assert repr(store.recipe.identity["options"]["fps"]) == "2.0"  # as on the command line
    again = extract(folder, [("color", {"fps": 2})], out=out, workers=1)
    assert (again.rows, again.skipped) == (0, {out / "color.lmdb": 2})


def test_several_extractors_share_a_pass_each_with_its_options(folder: Path) -> None:
    wanted: list[Any] = [("color", {"fps": 1}), ("color", {"frames": 1, "name": "one"}), f"{ODD}:Brightness"]
    made = extract([folder / "a.mp4"], wanted, out=folder.parent / "caches", store="hdf5", dtype="float16", workers=1)
    assert [cache.name for cache in made.caches] == ["color.h5", "one.h5", "brightness.h5"]
    assert [len(open_store(cache)["a"].values) for cache in made.caches] == [2, 1, 20]
    assert open_store(made.caches[0]).dtype == "float16"


def test_files_may_be_added_but_not_left_out(folder: Path) -> None:
    out = folder.parent / "caches"
    extract(folder / "a.mp4", "color", out=out, workers=1)
    extract([folder / "a.mp4", folder / "b.mp4"], "color", out=out, workers=1)
    assert ids(out / "manifest.csv") == ["a", "b"]
    with pytest.raises(ManifestError, match=r"of other files: 0 files of .*b\.mp4 are not in it, 1 files"):
        extract(folder / "b.mp4", "color", out=out)
    assert ids(out / "manifest.csv") == ["a", "b"]


def test_a_manifest_is_used_as_it_is(folder: Path) -> None:
    manifest = folder.parent / "m.csv"
    write_manifest(manifest, [Clip("half", folder / "a.mp4", 0.0, 1.0)])
    made = extract(str(manifest), "color", out=folder.parent / "caches", fps=2, workers=1)
    assert len(open_store(made.caches[0])["half"].values) == 2
    assert not (folder.parent / "caches/manifest.csv").exists()


def test_a_clip_that_fails_raises_nothing_but_is_told_and_listed(folder: Path) -> None:
    (folder / "broken.mp4").write_bytes(b"no video")
    out = folder.parent / "caches"
    with pytest.warns(UserWarning, match=r"color\.lmdb: 1 clip failed, listed in .*\.failed\.csv: broken \("):
        made = extract(folder, "color", out=out, workers=1)
    assert not made.is_complete
    assert [clip.id for clip, _ in made.failed[out / "color.lmdb"]] == ["broken"]
    assert ids(out / "color.lmdb.failed.csv") == ["broken"]


@pytest.mark.parametrize(
    ("extractors", "options", "says"),
    [
        ("color", {"rate": 2}, "color has no option 'rate'; its options are fps, frames, stride, bins and name"),
        ("color", {"fps": "two"}, "color: the option 'fps' cannot be 'two'"),
        (["color", "hog"], {"fps": 2}, r"fps is an option of one extractor; of several, write it as \(name"),
        (["color", "color"], {}, "two extractors would write"),
        ([], {}, "at least one extractor"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    folder: Path, extractors: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        extract(folder, extractors, out=folder.parent / "caches", **options)
    assert not (folder.parent / "caches").exists()


def test_an_unknown_extractor_is_answered_with_near_names(folder: Path) -> None:
    with pytest.raises(ExtractorError, match="unknown extractor 'colour'; did you mean 'color'"):
        extract(folder, "colour", out=folder.parent / "caches")
