"""Whether what made a cache is still what would make it: options, weights, code; each with its reason in words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from planted import (
    ODD,
    assert_all_stale,
    assert_unknown,
    assess,
    changed,
    plant,
    want,
    write_own,
)

from egotools.extraction.recipes import recipe_of
from egotools.extractors.backbone import View, write_backbone
from egotools.extractors.color import Color
from egotools.stores import Recipe

SUFFIXES = [".lmdb", ".h5"]


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


def test_a_network_may_get_the_backbone_of_a_run_or_none_that_is_trained(weighted: Path, tmp_path: Path) -> None:
    write_backbone(tmp_path / "run", {"default": View("torchvision:squeezenet1_1", {})}, {"x": torch.zeros(1)})
    assert_all_stale(assess(weighted, weights={"net": f"run:{tmp_path / 'run'}"}), "the digest of its weights was")
    assert_all_stale(assess(weighted, weights={"net": "random:1"}), "is now 'random:1'")


def test_weights_for_an_extractor_without_any_are_refused(color: Path) -> None:
    assert_unknown(assess(color, weights={"color": "random:1"}), "color has no weights that 'random:1' could replace")


@pytest.mark.parametrize("as_extractor", [True, False])
def test_a_cache_follows_the_backbone_of_its_run(manifest: Path, tmp_path: Path, as_extractor: bool) -> None:
    run = tmp_path / "run"
    write_backbone(run, {"default": View("torchvision:squeezenet1_1", {"resize": "40x40"})}, {"x": torch.zeros(1)})
    name, options = (f"run:{run}", {}) if as_extractor else ("torchvision:squeezenet1_1", {"weights": f"run:{run}"})
    cache = plant(want(tmp_path / "net.lmdb", name, **options), manifest)
    assert assess(cache).state == "fresh"
    write_backbone(run, {"default": View("torchvision:squeezenet1_1", {"resize": "48x48"})}, {"x": torch.zeros(1)})
    if as_extractor:
        assert_all_stale(assess(cache), "options.resize was '40x40', is now '48x48'")
    else:
        assert assess(cache).state == "fresh"  # how frames are prepared is the cache's own matter
    write_backbone(run, {"default": View("torchvision:squeezenet1_1", {"resize": "40x40"})}, {"x": torch.ones(1)})
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
    assert_unknown(assess(cache), "its recipe does not name a manifest; give one with --manifest")
    assert assess(cache, manifest=manifest).state == "fresh"
    imported = plant(want(tmp_path / "i.lmdb", "color"), manifest, recipe=Recipe(identity, {"manifest": str(manifest)}))
    assert_unknown(assess(imported), "its recipe does not name an extractor")


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
    assert_unknown(assess(cache), f"its extractor {own} is gone; restore it")
    assert_unknown(assess(cache, trusted=frozenset([str(own)])), f"{own}: no such file")


def test_new_weights_for_code_that_may_not_run_do_not_pass_unnoticed(manifest: Path, tmp_path: Path) -> None:
    cache = plant(want(tmp_path / "own.lmdb", f"{write_own(tmp_path)}:Own"), manifest)
    found = assess(cache, weights={"own": "random:1"})
    assert_all_stale(found, "its weights are to be random:1")
    assert "--trust" in found.remarks[-1]


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
