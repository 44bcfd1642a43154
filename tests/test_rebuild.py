"""What of a cache still holds: recipe, weights, code, manifest, files and rows, each with its reason in words."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_video
from PIL import Image
from planted import ODD, add, changed, damage, drawn, edit, plant, touch, want, write_own

from egotools.engine.recipes import recipe_of
from egotools.errors import StoreError
from egotools.extractors.backbone import write_backbone
from egotools.extractors.lowlevel import Color
from egotools.manifests import write_manifest
from egotools.rebuild.assessment import Assessment
from egotools.rebuild.planning import Order, Planner, check_names, targets
from egotools.stores import Recipe, open_store
from egotools.stores.merge import merge
from egotools.types import Clip

SUFFIXES = [".lmdb", ".h5"]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in "abc":
        write_video(folder / f"{name}.mp4", 8, size=(32, 32), first=ord(name))
    return folder


@pytest.fixture
def manifest(originals: Path, tmp_path: Path) -> Path:
    """Clips `a`, `b` and `c`, each a video of its own beside the manifest."""
    for name in "abc":
        shutil.copy2(originals / f"{name}.mp4", tmp_path)
    write_manifest(tmp_path / "m.csv", [Clip(name, tmp_path / f"{name}.mp4") for name in "abc"])
    return tmp_path / "m.csv"


@pytest.fixture
def color(manifest: Path) -> Path:
    return plant(want(manifest.parent / "color.lmdb", "color"), manifest)


def assess(cache: Path, **order: Any) -> Assessment:
    return Planner(Order(**order)).assess(cache)


def assert_all_stale(found: Assessment, reason: str) -> None:
    assert (found.state, found.wanted) == ("stale", frozenset("abc"))
    assert reason in "; ".join(found.remarks)
    assert set(found.stale.values()) == {found.reasons[0]}


def assert_unknown(found: Assessment, problem: str) -> None:
    assert (found.state, found.wanted) == ("unknown", frozenset())
    assert problem in found.problem
    assert "\n" not in found.problem


# --- the recipe


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cache_is_fresh_as_long_as_nothing_changes(manifest: Path, tmp_path: Path, suffix: str) -> None:
    found = assess(plant(want(tmp_path / f"color{suffix}", "color"), manifest))
    assert (found.state, found.fresh, found.remarks) == ("fresh", ("a", "b", "c"), [])


def test_an_edited_manifest_that_says_the_same_clips_leaves_a_cache_fresh(manifest: Path, color: Path) -> None:
    edit(manifest, a={"labels": {"action": "pour"}}, b={"split": "test"})
    assert assess(color).state == "fresh"


@pytest.fixture
def weighted(manifest: Path, tmp_path: Path) -> Path:
    """A cache whose weights are the file `w.npz`; only its digest is looked at here."""
    (tmp_path / "w.npz").write_bytes(b"one")
    return plant(want(tmp_path / "net.lmdb", "torchvision:squeezenet1_1", weights=str(tmp_path / "w.npz")), manifest)


def test_changed_weights_make_all_clips_stale(weighted: Path, tmp_path: Path) -> None:
    assert assess(weighted).state == "fresh"
    (tmp_path / "w.npz").write_bytes(b"two")
    assert_all_stale(assess(weighted), "the digest of its weights was '7692c3ad3540bb80', is now '3fc4ccfe745870e2'")


def test_weights_that_are_gone_leave_nothing_to_be_said(weighted: Path, tmp_path: Path) -> None:
    (tmp_path / "w.npz").unlink()
    assert_unknown(assess(weighted), f"{tmp_path / 'w.npz'}: no such weights file")


def test_other_weights_may_be_asked_for_and_a_copy_of_the_same_is_no_change(weighted: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.npz").write_bytes(b"one")
    assert assess(weighted, weights={"net": str(tmp_path / "copy.npz")}).state == "fresh"
    (tmp_path / "copy.npz").write_bytes(b"other")
    assert_all_stale(assess(weighted, weights={"net": str(tmp_path / "copy.npz")}), "the digest of its weights was")
    assert assess(weighted, weights={"another": str(tmp_path / "copy.npz")}).state == "fresh"
    assert_unknown(assess(weighted, weights={"net": str(tmp_path / "no.npz")}), "no such weights file")


def test_weights_for_an_extractor_without_any_are_refused(color: Path) -> None:
    assert_unknown(assess(color, weights={"color": "random:1"}), "color has no weights that 'random:1' could replace")


@pytest.mark.parametrize("as_extractor", [True, False])
def test_a_cache_follows_the_backbone_of_its_run(manifest: Path, tmp_path: Path, as_extractor: bool) -> None:
    run = tmp_path / "run"
    write_backbone(run, "torchvision:squeezenet1_1", {"resize": "40x40"}, {"x": torch.zeros(1)})
    name, options = (f"run:{run}", {}) if as_extractor else ("torchvision:squeezenet1_1", {"weights": f"run:{run}"})
    cache = plant(want(tmp_path / "net.lmdb", name, **options), manifest)
    assert assess(cache).state == "fresh"
    write_backbone(run, "torchvision:squeezenet1_1", {"resize": "48x48"}, {"x": torch.zeros(1)})
    if as_extractor:
        assert_all_stale(assess(cache), "options.resize was '40x40', is now '48x48'")
    else:
        assert assess(cache).state == "fresh"  # how frames are prepared is the cache's own matter
    write_backbone(run, "torchvision:squeezenet1_1", {"resize": "40x40"}, {"x": torch.ones(1)})
    assert_all_stale(assess(cache), "the digest of its weights was")
    shutil.rmtree(run)
    assert_unknown(assess(cache), "run: no such run")


def test_newer_code_makes_a_cache_stale(color: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Color, "version", 2)
    assert_all_stale(assess(color), "the version of its extractor's code was 1, is now 2")


def test_a_cache_made_by_newer_code_is_not_judged(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Color, "version", 3)
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest)
    monkeypatch.undo()
    assert_unknown(assess(cache), "made by version 3 of color, and this egotools has 1; update egotools")


def test_an_option_that_came_since_makes_a_cache_stale_and_one_that_went_cannot_be_judged(
    manifest: Path, tmp_path: Path
) -> None:
    wanted = want(tmp_path / "color.lmdb", "color")
    recipe = recipe_of(wanted, {"manifest": str(manifest)})
    early = plant(wanted, manifest, recipe=changed(recipe, bins=None))
    assert_all_stale(assess(early), "options.bins was None, is now 8")
    late = plant(want(tmp_path / "late.lmdb", "color"), manifest, recipe=changed(recipe, sharpness=3))
    assert_unknown(assess(late), "color no longer has the option 'sharpness' (it was 3)")


def test_a_recipe_without_a_manifest_or_an_extractor_is_said_to_be_so(manifest: Path, tmp_path: Path) -> None:
    wanted = want(tmp_path / "color.lmdb", "color")
    identity, origin = recipe_of(wanted).identity, recipe_of(wanted).origin
    cache = plant(wanted, manifest, recipe=Recipe(identity, origin))
    assert_unknown(assess(cache), "its recipe names no manifest; name one with --manifest")
    assert assess(cache, manifest=manifest).state == "fresh"
    imported = plant(want(tmp_path / "i.lmdb", "color"), manifest, recipe=Recipe(identity, {"manifest": str(manifest)}))
    assert_unknown(assess(imported), "its recipe does not say by which extractor")


# --- the user's own code


def test_changed_code_of_the_users_own_makes_a_cache_stale_and_is_never_imported_unasked(
    manifest: Path, tmp_path: Path
) -> None:
    own, marker = write_own(tmp_path), tmp_path / "imported"
    cache = plant(want(tmp_path / "own.lmdb", f"{own}:Own"), manifest)
    marker.unlink()
    assert assess(cache).state == "fresh"
    write_own(tmp_path, factor=3.0)
    found = assess(cache)
    assert_all_stale(found, f"its extractor {own} has changed")
    assert f"--trust {own}" in found.remarks[-1]
    assert not marker.exists()
    found = assess(cache, trusted=frozenset([str(own)]))
    assert_all_stale(found, "the digest of its extractor's source was")
    assert "options.factor" not in "".join(found.reasons)  # 2.0 was said in the recipe, and is kept
    assert marker.exists()


def test_code_of_the_users_own_that_is_gone_is_named(manifest: Path, tmp_path: Path) -> None:
    own = write_own(tmp_path)
    cache = plant(want(tmp_path / "own.lmdb", f"{own}:Own"), manifest)
    own.unlink()
    assert_unknown(assess(cache), f"its extractor {own} is gone")
    assert_unknown(assess(cache, trusted=frozenset([str(own)])), f"{own}: no such file")


def test_new_weights_for_code_that_may_not_run_do_not_pass_unnoticed(manifest: Path, tmp_path: Path) -> None:
    cache = plant(want(tmp_path / "own.lmdb", f"{write_own(tmp_path)}:Own"), manifest)
    found = assess(cache, weights={"own": "random:1"})
    assert_all_stale(found, "its weights are to be random:1")
    assert "--trust" in found.remarks[-1]


# --- clips and their files


def test_clips_that_were_added_dropped_or_moved_are_told_apart(manifest: Path, color: Path) -> None:
    edit(manifest, "b", c={"start": 0.2, "end": 0.6})
    add(manifest, Clip("d", manifest.with_name("a.mp4")))
    found = assess(color)
    assert (found.state, found.fresh, found.missing, found.dropped) == ("stale", ("a",), ("d",), ("b",))
    assert dict(found.stale) == {"c": "its times were 0 to the end, now 0.2 to 0.6 s"}
    assert found.wanted == {"c", "d"}
    for text in ("'c': its times were", "1 clips not in it, such as 'd'", "1 clips no longer in the manifest, such as"):
        assert text in "; ".join(found.remarks)


def test_a_cache_that_only_lacks_clips_is_incomplete(manifest: Path, color: Path) -> None:
    add(manifest, Clip("d", manifest.with_name("a.mp4")))
    assert (assess(color).state, assess(color).wanted) == ("incomplete", {"d"})


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
        assert assess(cache, digest=True).stale["b"] == "its file has another content"


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
    assert (found.state, found.wanted, dict(found.failed)) == ("fresh", frozenset(), {"b": "broken"})
    assert found.remarks == ["1 clips failed before and are unchanged; --retry-failed tries them"]
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
    assert assess(cache).wanted == {"a", "b", "c"}


@pytest.mark.parametrize("retry", [True, False])
def test_a_list_of_failures_that_is_no_manifest_any_more_is_named(color: Path, retry: bool) -> None:
    Path(f"{color}.failed.csv").write_text("no,columns\n1,2\n")
    assert_unknown(assess(color, retry_failed=retry), "color.lmdb.failed.csv: no column 'id'")


# --- manifests


def test_a_manifest_that_is_gone_or_broken_is_named_and_another_can_be_given(manifest: Path, color: Path) -> None:
    there = manifest.rename(manifest.with_name("other.csv"))
    assert_unknown(assess(color), f"its manifest {manifest} is gone; bring it back, or name another with --manifest")
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
        patch.setattr("egotools.stores.store.VERSION", 2)
        plant(want(cache, "color"), manifest)
    assert_unknown(assess(cache), "a cache of layout 2; this egotools reads layout 1, so update it")


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
    assert "an interrupted pass left clips that are not sealed" in found.remarks


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
    with pytest.raises(StoreError, match="empty: no caches there"):
        targets([tmp_path / "empty"])
    with pytest.raises(StoreError, match="gone: no such cache or folder"):
        targets([tmp_path / "gone"])


def test_weights_for_a_cache_that_is_not_there_are_refused_with_those_that_are() -> None:
    with pytest.raises(StoreError, match="no cache 'resnet' for its --weights; there are color, resnet18"):
        check_names([Path("a/color.lmdb"), Path("resnet18.h5")], Order({"resnet": "random:1"}))


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


def test_a_package_that_is_not_trusted_is_judged_by_its_clips_alone(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").write_text("")
    source = tmp_path / "mine/odd.py"
    shutil.copy2(ODD, source)
    monkeypatch.syspath_prepend(tmp_path)
    cache = plant(want(tmp_path / "brightness.lmdb", "mine.odd:Brightness"), manifest)
    assert assess(cache).state == "fresh"
    source.write_text(source.read_text() + "# changed\n")
    assert assess(cache).state == "fresh"
    assert_all_stale(assess(cache, trusted=frozenset(["mine.odd"])), "the digest of its extractor's source")
