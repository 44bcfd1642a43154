"""Datasets by name: each a frozen dataclass of options, whose command is generated."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from egotools.cli.main import root

from egotools.datasets.names import BUILT_IN, find_dataset
from egotools.errors import ManifestError
from egotools.manifests.table import read_manifest

OWN = """
from dataclasses import dataclass
from pathlib import Path
from egotools.config import option
from egotools.datasets.clips import DatasetClips
from egotools.types import Clip

@dataclass(frozen=True)
class Mine:
    '''My clips.'''

    suffix: str = option(".mp4", "Of the files.")

    def clips(self, root: Path) -> DatasetClips:
        return DatasetClips([Clip(path.stem, path) for path in sorted(root.glob("*" + self.suffix))])

@dataclass(frozen=True)
class Bare:
    suffix: str

    def clips(self, root: Path) -> DatasetClips:
        return DatasetClips([])

class Plain:
    pass
"""


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_of_a_dataset_is_a_flag_with_help(name: str) -> None:
    text = CliRunner().invoke(root, ["manifest", name, "--help"], terminal_width=120).output
    for field in fields(find_dataset(name)):  # type: ignore[arg-type]
        assert "--" + field.name.replace("_", "-") in text
        assert field.metadata["help"].split()[0] in text
    assert f"egotools manifest {name} ROOT " in text


def test_a_dataset_of_the_users_own_is_a_class_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "a.avi").touch()
    name, out = f"{tmp_path / 'mine.py'}:Mine", tmp_path / "m.csv"
    done = CliRunner().invoke(root, ["manifest", name, str(tmp_path), "--suffix", ".avi", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert [clip.id for clip in read_manifest(out)] == ["a"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mine.py:Absent", "not a dataset; it must be a frozen dataclass"),
        ("mine.py:Plain", "not a dataset; it must be a frozen dataclass"),
        ("mine.py:Bare", "the field 'suffix' needs a default"),
    ],
)
def test_what_is_no_dataset_is_refused(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    with pytest.raises(ManifestError, match=says):
        find_dataset(str(tmp_path / name))


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ManifestError, match=r"choose from memento10k, videomem, lamem, .*, or FILE.py:CLASS"):
        find_dataset("imagenet-21k")


@pytest.mark.parametrize(
    "words", [["memento10k", "--fps", "0"], ["lamem", "--split-number", "0"], ["memento10k", "--videos", "gif"]]
)
def test_an_option_that_means_nothing_is_wrong_usage(tmp_path: Path, words: list[str]) -> None:
    name, *flags = words
    done = CliRunner().invoke(root, ["manifest", name, str(tmp_path), *flags, "--out", str(tmp_path / "m.csv")])
    assert done.exit_code == 2
    assert flags[0] in done.output


def test_listing_the_datasets_loads_none_of_them() -> None:
    group = root.get_command(click.Context(root), "manifest")
    assert isinstance(group, click.Group)
    assert set(BUILT_IN) <= set(group.list_commands(click.Context(group)))
