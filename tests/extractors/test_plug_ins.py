"""Extractors and datasets of other packages: listed without being imported, and imported only by who names them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root
from typing_commands import complaint

from egotools.errors import ExtractorError
from egotools.extractors.lookup import find_extractor
from egotools.extractors.own_code import code_of
from egotools.manifests import read_manifest
from egotools.stores import open_store

MODULE = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from egotools.config import option
from egotools.datasets.clips import DatasetClips
from egotools.sampling import single_frames
from egotools.types import Clip

Path({canary!r}).touch()

@dataclass(frozen=True)
class Brightness:
    '''Mean brightness of a frame.'''

    place: ClassVar[str] = "worker"
    fps: float = option(1.0, "Rows per second.")

    def windows(self, video, clip):
        return single_frames(video, clip, fps=self.fps, frames=None, stride=None)

    def prepare(self, frame):
        return np.array([frame.mean()]).astype(np.uint8)

    def network(self):
        return lambda windows: windows[:, 0].astype(np.float32)

@dataclass(frozen=True)
class Kitchen:
    '''Kitchen: videos of a kitchen.'''

    suffix: str = option(".mp4", "Of the files.")

    def clips(self, root):
        return DatasetClips([Clip(path.stem, path) for path in sorted(root.glob("*" + self.suffix))])
"""


class Site:
    """A folder on the path, in which packages are installed; their modules leave a canary when they are imported."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.canary = folder, folder / "CANARY"

    def install(self, package: str, entry_points: str, **modules: str) -> None:
        facts = self.folder / f"{package}-1.0.dist-info"
        facts.mkdir(parents=True)
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(entry_points)
        for name, text in modules.items():
            (self.folder / f"{name}.py").write_text(text.format(canary=str(self.canary)))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for name in ("kitchen_nets", "kitchen_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return Site(tmp_path / "site")


ENTRIES = """
[egotools.extractors]
kitchen-light = kitchen_nets:Brightness
[egotools.datasets]
kitchen = kitchen_nets:Kitchen
"""


@pytest.fixture
def kitchen(site: Site) -> Site:
    site.install("kitchen-nets", ENTRIES, kitchen_nets=MODULE)
    return site


def typed(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words], terminal_width=110)


def made(place: Path, *words: object) -> Path:
    """The cache of the plug-in's extractor, of a video `a`."""
    (place / "videos").mkdir()
    write_video(place / "videos/a.mp4")
    line = ("extract", "--manifest", place / "videos", "--out", place / "caches", "--workers", 1, "kitchen-light")
    done = typed(*line, *words)
    assert done.exit_code == 0, done.output
    return place / "caches/kitchen-light.lmdb"


def test_help_names_the_package_and_imports_nothing_of_it(kitchen: Site) -> None:
    listed = typed("extract", "--help").output
    assert "kitchen-light" in listed.partition("Extractors of other packages")[2]
    assert "kitchen-nets 1.0" in listed
    assert "kitchen-nets 1.0" in typed("manifest", "--help").output
    assert not kitchen.canary.exists()
    assert "Rows per second." in typed("extract", "kitchen-light", "--help").output


def test_an_extractor_of_a_package_extracts_and_its_recipe_has_the_digest_of_its_source(
    kitchen: Site, tmp_path: Path
) -> None:
    store = open_store(made(tmp_path, "--fps", 2))
    assert store["a"].values[:, 0] == pytest.approx([26, 41, 56, 71], abs=8)
    assert store.recipe.identity["extractor"] == store.recipe.origin["extractor"] == "kitchen-light"
    assert len(store.recipe.identity["source"]) == 16


def test_a_recipe_runs_code_of_a_package_only_if_the_user_trusts_it(
    kitchen: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = made(tmp_path)
    monkeypatch.delitem(sys.modules, "kitchen_nets")
    kitchen.canary.unlink()
    assert code_of("kitchen-light") == "kitchen_nets"
    with pytest.raises(ExtractorError, match="only if you allow it: --trust kitchen_nets"):
        find_extractor("kitchen-light", trusted=[])
    module, before = kitchen.folder / "kitchen_nets.py", open_store(cache).recipe.identity["source"]
    module.write_text(module.read_text() + "# changed\n")
    for words in (["cache", "ls", cache], ["rebuild", cache, "--dry-run"], ["rebuild", cache]):
        done = typed(*words)
        assert done.exit_code == 0, done.output
        assert not kitchen.canary.exists(), words
    done = typed("rebuild", cache, "--trust", "kitchen_nets", "--workers", 1)
    assert done.exit_code == 0, done.output
    assert open_store(cache).recipe.identity["source"] != before
    assert kitchen.canary.exists()


def test_a_dataset_of_a_package_is_listed_by_its_name(kitchen: Site, tmp_path: Path) -> None:
    (tmp_path / "b.avi").touch()
    done = typed("manifest", "kitchen", tmp_path, "--suffix", ".avi", "--out", tmp_path / "m.csv")
    assert done.exit_code == 0, done.output
    assert [clip.id for clip in read_manifest(tmp_path / "m.csv")] == ["b"]


def test_a_built_in_name_stays_built_in_and_help_says_so(site: Site) -> None:
    entries = (
        "[egotools.extractors]\ncolor = thief:Color\na:b = thief:Color\n[egotools.datasets]\nfolder = thief:Folder\n"
    )
    site.install("thief", entries, thief="raise AssertionError('imported')")
    listed = typed("extract", "--help").output
    assert "color of thief 1.0" in listed
    assert "ignored: egotools has this name" in listed
    assert "a:b of thief 1.0" in listed
    assert "folder of thief 1.0" in typed("manifest", "--help").output
    assert find_extractor("color").kind.__module__ == "egotools.extractors.color"
    assert typed("manifest", "folder", "--help").exit_code == 0


def test_a_name_that_two_packages_offer_is_refused_with_both(kitchen: Site, tmp_path: Path) -> None:
    kitchen.install("other-nets", ENTRIES.replace("kitchen_nets", "other.nets"))
    assert "ambiguous: kitchen-nets 1.0" in typed("extract", "--help").output
    done = typed("extract", "--manifest", tmp_path, "--out", tmp_path, "kitchen-light")
    assert done.exit_code == 2
    says = "kitchen-nets 1.0 (kitchen_nets:Brightness) and other-nets 1.0 (other.nets:Brightness) offer it"
    assert says in " ".join(done.output.split())
    assert "kitchen-nets 1.0 (kitchen_nets:Kitchen) and" in complaint(
        typed("manifest", "kitchen", tmp_path, "--out", tmp_path / "m.csv")
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import a_module_that_is_missing", r"cannot be imported \(No module named 'a_module_that_is_missing'\)"),
        ("def", r"cannot be imported \(invalid syntax"),
        ("Brightness = 1", "the class does not exist"),
    ],
)
def test_a_broken_package_is_named_in_one_line(site: Site, text: str, says: str) -> None:
    site.install("kitchen-nets", ENTRIES.replace("kitchen_nets", "kitchen_broken"), kitchen_broken=text)
    with pytest.raises(ExtractorError, match=f"'kitchen-light of kitchen-nets 1.0'.*{says}") as error:
        find_extractor("kitchen-light")
    assert "\n" not in str(error.value)
