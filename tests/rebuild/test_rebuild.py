"""What of a cache still holds: its clips, their files, its rows and earlier failures; and which caches there are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import write_video
from PIL import Image
from planted import (
    add,
    assert_unknown,
    assess,
    damage,
    drawn,
    edit,
    plant,
    touch,
    want,
)

from egotools.errors import StoreError
from egotools.extractors.color import Color
from egotools.manifests.table import write_manifest
from egotools.rebuild.planning import RebuildOptions, check_names, targets
from egotools.stores import open_store
from egotools.stores.merge import merge
from egotools.types import Clip

SUFFIXES = [".lmdb", ".h5"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cache_is_fresh_as_long_as_nothing_changes(manifest: Path, tmp_path: Path, suffix: str) -> None:
    found = assess(plant(want(tmp_path / f"color{suffix}", "color"), manifest))
    assert (found.state, found.fresh, found.remarks) == ("fresh", ("a", "b", "c"), [])


def test_an_edited_manifest_that_says_the_same_clips_leaves_a_cache_fresh(manifest: Path, color: Path) -> None:
    edit(manifest, a={"labels": {"action": "pour"}}, b={"split": "test"})
    assert assess(color).state == "fresh"


# --- clips and their files


def test_clips_that_were_added_dropped_or_moved_are_told_apart(manifest: Path, color: Path) -> None:
    edit(manifest, "b", c={"start": 0.2, "end": 0.6})
    add(manifest, Clip("d", manifest.with_name("a.mp4")))
    found = assess(color)
    assert (found.state, found.fresh, found.missing, found.dropped) == ("stale", ("a",), ("d",), ("b",))
    assert dict(found.stale) == {"c": "its times were 0 to the end, now 0.2 to 0.6 s"}
    assert found.to_compute == {"c", "d"}
    for text in ("'c': its times were", "1 clips not in it, such as 'd'", "1 clips no longer in the manifest, such as"):
        assert text in "; ".join(found.remarks)


def test_a_cache_that_only_lacks_clips_is_incomplete(manifest: Path, color: Path) -> None:
    add(manifest, Clip("d", manifest.with_name("a.mp4")))
    assert (assess(color).state, assess(color).to_compute) == ("incomplete", {"d"})


def test_a_frame_folder_of_another_rate_is_stale(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(np.full((8, 8, 3), index, np.uint8)).save(folder / f"{index}.png")
    manifest = tmp_path / "m.csv"
    write_manifest(manifest, [Clip("f", folder, fps=2.0)])
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest)
    assert assess(cache).state == "fresh"
    edit(manifest, f={"fps": 4.0})
    assert dict(assess(cache).stale) == {"f": "its frame rate was 2.0, now 4.0"}


def test_a_file_of_another_size_or_time_is_stale(manifest: Path, color: Path) -> None:
    write_video(manifest.with_name("a.mp4"), 20)
    touch(manifest.with_name("b.mp4"))
    found = assess(color)
    assert found.fresh == ("c",)
    assert "bytes, now" in found.stale["a"]
    assert found.stale["b"].startswith("its file was written on ")


def flip(path: Path) -> None:
    """Another content of the same size, said to be as old."""
    data, status = bytearray(path.read_bytes()), path.stat()
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("kept", [True, False])
def test_digests_see_contents_where_they_were_kept(manifest: Path, tmp_path: Path, kept: bool) -> None:
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest, digest=kept)
    touch(tmp_path / "a.mp4")
    flip(tmp_path / "b.mp4")
    assert set(assess(cache).stale) == {"a"}
    assert dict(assess(cache, digest=True).stale).keys() == ({"b"} if kept else {"a"})
    if kept:
        assert assess(cache, digest=True).stale["b"] == "its file has different content"


def test_rows_of_a_file_that_is_gone_stand_and_are_named(manifest: Path, color: Path) -> None:
    manifest.with_name("b.mp4").unlink()
    found = assess(color)
    assert (found.state, found.fresh, found.gone) == ("fresh", ("a", "b", "c"), ("b",))
    assert found.remarks == ["1 clips cannot be compared: their files are gone, such as 'b'"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_rows_are_found_unless_checksums_are_left_out(manifest: Path, tmp_path: Path, suffix: str) -> None:
    cache = plant(want(tmp_path / f"color{suffix}", "color"), manifest)
    damage(cache, drawn("b", 30))
    found = assess(cache)
    assert (found.state, found.fresh) == ("stale", ("a", "c"))
    assert dict(found.stale) == {"b": "checksum differs: not the bytes that were written"}
    assert assess(cache, checksums=False).state == "fresh"


# --- earlier failures


def test_a_clip_that_failed_is_tried_again_only_if_something_changed_or_on_request(
    manifest: Path, tmp_path: Path
) -> None:
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest, failed={"b"})
    found = assess(cache)
    assert (found.state, found.to_compute, dict(found.failed)) == ("fresh", frozenset(), {"b": "broken"})
    assert found.remarks == ["1 clip failed before, unchanged since; --retry-failed retries"]
    assert assess(cache, retry_failed=True).missing == ("b",)
    edit(manifest, b={"end": 0.3})
    assert assess(cache).missing == ("b",)
    edit(manifest, b={"end": None})
    assert assess(cache).missing == ()
    touch(tmp_path / "b.mp4")
    assert assess(cache).missing == ("b",)


def test_a_file_that_came_back_is_tried_and_one_that_is_still_away_is_not(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "b.mp4").rename(tmp_path / "away")
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest, failed={"b"})
    assert (assess(cache).state, set(assess(cache).failed)) == ("fresh", {"b"})
    (tmp_path / "away").rename(tmp_path / "b.mp4")
    assert (assess(cache).state, assess(cache).missing) == ("incomplete", ("b",))


def test_a_changed_recipe_is_reason_enough_to_try_failures_again(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest, failed={"b"})
    monkeypatch.setattr(Color, "version", 2)
    assert assess(cache).to_compute == {"a", "b", "c"}


@pytest.mark.parametrize("retry", [True, False])
def test_a_list_of_failures_that_is_no_manifest_any_more_is_named(color: Path, retry: bool) -> None:
    Path(f"{color}.failed.csv").write_text("no,columns\n1,2\n")
    assert_unknown(assess(color, retry_failed=retry), "color.lmdb.failed.csv: no column 'id'")


# --- manifests


def test_a_manifest_that_is_gone_or_broken_is_named_and_another_can_be_given(manifest: Path, color: Path) -> None:
    there = manifest.rename(manifest.with_name("other.csv"))
    assert_unknown(assess(color), f"its manifest {manifest} is gone; restore it, or give another with --manifest")
    assert assess(color, manifest=there).state == "fresh"
    manifest.write_text("id,path\na\n")
    assert_unknown(assess(color), f"{manifest}, row 2: 1 cells")


def test_a_cache_that_was_meant_to_hold_the_first_clips_misses_none_of_the_others(
    manifest: Path, tmp_path: Path
) -> None:
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest, limit=2)
    assert (assess(cache).state, assess(cache).fresh) == ("fresh", ("a", "b"))
    edit(manifest, "a")
    assert (assess(cache).missing, assess(cache).dropped) == (("c",), ("a",))


def test_a_merged_cache_is_compared_with_both_manifests(manifest: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    write_manifest(other, [Clip("x", tmp_path / "a.mp4"), Clip("c", tmp_path / "c.mp4")])
    one = plant(want(tmp_path / "one.lmdb", "color"), manifest)
    two = plant(want(tmp_path / "two.lmdb", "color"), other)
    merged = tmp_path / "merged.lmdb"
    merge([one, two], merged)
    assert (assess(merged).state, set(assess(merged).fresh)) == ("fresh", {"a", "b", "c", "x"})
    edit(other, "c")
    assert assess(merged).state == "fresh"  # the other manifest still names it
    edit(manifest, "c")
    assert assess(merged).dropped == ("c",)


# --- what is no whole cache


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cache_of_a_newer_layout_is_left_alone(
    manifest: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / f"color{suffix}"
    with monkeypatch.context() as patch:
        patch.setattr("egotools.stores.header.VERSION", 2)
        plant(want(cache, "color"), manifest)
    assert_unknown(assess(cache), "a cache of layout 2, but this egotools reads layout 1; update egotools")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cache_that_was_cut_short_or_is_none_is_named(manifest: Path, tmp_path: Path, suffix: str) -> None:
    cache = plant(want(tmp_path / f"color{suffix}", "color"), manifest)
    os.truncate(cache, cache.stat().st_size // 2)
    assert_unknown(assess(cache), "cut short")
    cache.write_text("text " * 1000)
    assert_unknown(assess(cache), "not a cache")
    assert_unknown(assess(tmp_path / f"nothing{suffix}"), "no such cache")


def test_what_an_interrupted_pass_left_beside_a_sealed_cache_counts(manifest: Path, tmp_path: Path) -> None:
    sealed = want(tmp_path / "color.h5", "color")
    plant(sealed, manifest, "a")
    plant(sealed, manifest, "b", seal=False)
    found = assess(sealed.cache)
    assert (found.state, found.fresh, found.missing) == ("incomplete", ("a", "b"), ("c",))
    assert "an interrupted pass left clips that are not sealed yet" in found.remarks


def test_a_cache_that_was_never_sealed_is_found_by_the_name_it_will_have(manifest: Path, tmp_path: Path) -> None:
    plant(want(tmp_path / "caches/color.h5", "color"), manifest, seal=False)
    (cache,) = targets([tmp_path / "caches"])
    assert cache == tmp_path / "caches/color.h5"
    assert (assess(cache).state, assess(cache).fresh) == ("incomplete", ("a", "b", "c"))


def test_an_unsealed_part_of_another_recipe_is_not_taken_for_the_caches_own(manifest: Path, tmp_path: Path) -> None:
    sealed = plant(want(tmp_path / "color.h5", "color"), manifest, "a")
    other = plant(want(tmp_path / "other.h5", "color", bins=4), manifest, seal=False)
    other.with_name("other.h5.part").rename(tmp_path / "color.h5.part")
    found = assess(sealed)
    assert (found.state, found.fresh, found.missing) == ("incomplete", ("a",), ("b", "c"))


# --- which caches


def test_caches_are_found_once_each_whatever_names_them(manifest: Path, tmp_path: Path) -> None:
    color = plant(want(tmp_path / "caches/color.lmdb", "color"), manifest)
    plant(want(tmp_path / "caches/.old/color.lmdb", "color"), manifest)
    plant(want(tmp_path / "caches/.color.lmdb.rebuild/color.lmdb", "color"), manifest)
    (tmp_path / "link.lmdb").symlink_to(color)
    assert targets([tmp_path / "caches", color, tmp_path / "link.lmdb"]) == [color]


def test_a_folder_without_caches_and_a_path_that_is_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="empty: no caches found"):
        targets([tmp_path / "empty"])
    with pytest.raises(StoreError, match="gone: no such cache or folder"):
        targets([tmp_path / "gone"])


def test_weights_for_a_cache_that_is_not_there_are_refused_with_those_that_are() -> None:
    with pytest.raises(StoreError, match="no cache 'resnet' for its --weights; choose from color, resnet18"):
        check_names([Path("a/color.lmdb"), Path("resnet18.h5")], RebuildOptions({"resnet": "random:1"}))


def test_looking_changes_nothing(manifest: Path, tmp_path: Path) -> None:
    edit(manifest, "a")
    plant(want(tmp_path / "caches/color.lmdb", "color"), manifest)
    plant(want(tmp_path / "caches/color.h5", "color"), manifest, failed={"c"})
    touch(tmp_path / "b.mp4")

    def state() -> dict[str, tuple[int, bytes]]:
        files = [path for path in (tmp_path / "caches").iterdir() if not path.name.endswith("-lock")]
        return {path.name: (path.stat().st_ino, path.read_bytes()) for path in files}

    before = state()
    assert [assess(path).state for path in targets([tmp_path / "caches"])] == ["stale", "stale"]
    assert state() == before
    assert len(open_store(tmp_path / "caches/color.h5")) == 1
