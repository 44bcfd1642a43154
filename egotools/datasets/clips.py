"""The clips of a dataset, and checks of annotations."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from egotools.errors import ManifestError
from egotools.manifests.segments import Segment
from egotools.types import Clip


@dataclass(frozen=True)
class DatasetClips:
    """The clips of a dataset, the files that its annotations name but that do not exist, remarks, and labels at times.

    `refused` are rows of annotations that cannot be used, each with file, row, column and why: the rest goes on.
    Segments are written beside the manifest, `m.segments.csv` beside `m.csv`; None: the dataset has none.
    """

    clips: list[Clip]
    missing: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    segments: list[Segment] | None = None
    refused: list[str] = field(default_factory=list)


def present(clips: Sequence[Clip], root: Path, remarks: Sequence[str] = ()) -> DatasetClips:
    """The clips whose files exist.

    Raises:
        ManifestError: not one of them is.
    """
    found = [clip for clip in clips if os.path.isfile(clip.path)]  # no error for names that no file can have
    missing = [str(clip.path) for clip in clips if not os.path.isfile(clip.path)]
    if not found:
        raise ManifestError(
            f"{root}: none of the {len(clips)} files that its annotations name exists, such as {missing[0]};"
            " for features without videos use 'egotools manifest table'"
        )
    return DatasetClips(found, missing, list(remarks))


def files_of_splits(root: Path, pattern: str) -> tuple[dict[str, Path], list[str]]:
    """The annotation files that exist, by split, and remarks on the others; `{}` in the pattern stands for the split.

    Raises:
        ManifestError: none exists.
    """
    paths = {split: root / pattern.format(split) for split in ("train", "val", "test")}
    found = {split: path for split, path in paths.items() if path.is_file()}
    if not found:
        raise ManifestError(f"{root}: no {pattern.format('train')}, nor of val or test; is this the dataset's folder?")
    return found, [f"{path.name} does not exist" for split, path in paths.items() if split not in found]


def checked_score(score: Any, where: str) -> float:
    """A score as a number from 0 to 1. Any: a JSON value, or text.

    Raises:
        ManifestError: it is none.
    """
    try:
        value = float(score)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 <= value <= 1 or isinstance(score, bool):
        raise ManifestError(f"{where}: the score {score!r} is not a number from 0 to 1")
    return value


def check_differ(clips: Sequence[Clip], where: Path) -> None:
    """Refuses clips that share an id.

    Raises:
        ManifestError: names the first of them.
    """
    twice = [id for id, count in Counter(clip.id for clip in clips).items() if count > 1]
    if twice:
        raise ManifestError(f"{where}: {twice[0]!r} appears twice")


def read_json(path: Path) -> Any:  # Any: what JSON can hold
    """What a JSON file holds.

    Raises:
        ManifestError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ManifestError(f"{path}: not JSON: {error}") from error
