"""Runs with a backbone, and recipes of extractors as caches give them back: for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root
from torchvision import models

from egotools.config import to_json
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import CacheRequest
from egotools.extractors.backbone import View, write_backbone
from egotools.extractors.lookup import find_extractor
from egotools.manifests.table import write_manifest
from egotools.stores import Recipe
from egotools.types import Clip

TRAINED = {"resize": "40x40", "fps": 2.0}


def tensors(seed: int = 1) -> dict[str, torch.Tensor]:
    """Those of a ResNet-18 without its classifier, which nothing published has."""
    torch.manual_seed(seed)
    network = models.resnet18(weights=None)
    return {name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}


def extract(manifest: Path, *words: object) -> Result:
    line = ["extract", "--manifest", manifest, "--out", manifest.parent / "caches", "--workers", 1, *words]
    return CliRunner().invoke(root, [str(word) for word in line])


def recipe_in_json(name: str, **options: Any) -> Recipe:
    """The recipe of an extractor with options, as a cache gives it back."""
    found = find_extractor(name)
    recipe = recipe_of(
        CacheRequest(Path("c.lmdb"), found.built(**options), found, "bf16", "float16"), {"manifest": "m.csv"}
    )
    return Recipe(**json.loads(to_json(recipe)))


def identity_of(remaking: tuple[Any, Any]) -> Any:
    """The identity that a cache of it would have now, as JSON has it."""
    found, extractor = remaking
    recipe = recipe_of(CacheRequest(Path("other.lmdb"), extractor, found, "bf16", "float16"))
    return json.loads(to_json(recipe.identity))


def write_trained(run: Path) -> Path:
    """A run whose backbone is a ResNet-18 for frames of 40x40 pixels."""
    with torch.random.fork_rng():
        write_backbone(run, {"default": View("torchvision:resnet18", TRAINED)}, tensors())
    return run


def write_clip(folder: Path) -> Path:
    """A manifest of one video."""
    write_video(folder / "a.mp4", 20)
    write_manifest(folder / "m.csv", [Clip("a", folder / "a.mp4")])
    return folder / "m.csv"
