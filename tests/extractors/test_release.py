"""Caches of release 0.1.0 stay up to date when extractors get further options."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from egotools.cli.main import root

from egotools.config import option
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import CacheRequest
from egotools.extractors.color import Color
from egotools.extractors.names import BUILT_IN
from egotools.extractors.reproduction import numbers_in, reproduced
from egotools.stores import open_store
from egotools.stores.store import differences

RELEASE = Path(__file__).parents[1] / "data" / "release"


@dataclass(frozen=True)
class Later(Color):
    """Color as it may be one day: with an option whose default is not what was computed before."""

    levels: int = option(16, "Brightness levels.", absent=256)
    order: tuple[str, ...] = option(("r", "g"), "Of the colors.", absent=("r", "g", "b"))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A copy, for reading locks a cache."""
    shutil.copytree(RELEASE, tmp_path / "release")
    return tmp_path / "release"


def of_today(cache: Path, **options: object) -> list[str]:
    """Where the recipe of a cache differs from that of the same extractor today."""
    recipe = open_store(cache).recipe
    found, extractor = reproduced(recipe)
    extractor = found.built(**options) if options else extractor
    precision, dtype = numbers_in(recipe)
    wanted = recipe_of(CacheRequest(cache, extractor, found, precision, dtype))  # type: ignore[arg-type]
    return [name for name, _, _ in differences(recipe.identity, wanted.identity)]


@pytest.mark.parametrize("name", ["color.lmdb", "color.h5", "resnet18.lmdb"])
def test_recipes_of_the_release_are_those_of_today(release: Path, name: str) -> None:
    assert of_today(release / "caches" / name) == []


@pytest.mark.parametrize("name", ["color.lmdb", "color.h5"])
def test_an_option_that_was_added_leaves_them_equal(release: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_IN, "color", (f"{__name__}:Later", ""))
    cache = release / "caches" / name
    extractor = reproduced(open_store(cache).recipe)[1]
    assert extractor == Later(fps=2.0, bins=2, levels=256, order=("r", "g", "b"))
    assert of_today(cache) == []
    assert of_today(cache, fps=2.0, bins=2) == ["options.levels", "options.order"]  # with today's defaults


def test_rebuild_and_extract_find_the_cache_up_to_date(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_IN, "color", (f"{__name__}:Later", ""))
    manifest, cache = str(release / "m.csv"), release / "caches" / "color.lmdb"
    line = ["rebuild", str(cache), "--dry-run", "--digest", "--manifest", manifest]
    done = CliRunner().invoke(root, line)
    assert done.exit_code == 0, done.output
    common = ["extract", "--manifest", manifest, "--workers", "1", "--out", str(cache.parent), "--json"]
    line = [*common, "color", "--fps", "2", "--bins", "2"]
    refused = CliRunner().invoke(root, line)
    assert refused.exit_code == 1
    assert "levels" in str(refused.exception)
    done = CliRunner().invoke(root, [*line, "--levels", "256", "--order", "r,g,b"])  # 1: its video is a newer checkout
    assert json.loads(done.stdout)["caches"][str(cache)]["there_already"] == 8
