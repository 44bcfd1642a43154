"""Memory Storyboard's split files: an image and the number of its class a line, the training images first.

Source:
    Yang, Ren, "Memory Storyboard: Leveraging Temporal Segmentation for Streaming Self-Supervised Learning from
    Egocentric Videos", CoLLAs 2025.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from egotools.config import check_positive, option
from egotools.datasets.clips import DatasetClips, check_differ, present
from egotools.datasets.images import checked_place, image_clip
from egotools.errors import ManifestError
from egotools.files.text_files import numbered_lines
from egotools.types import Clip


class Line(NamedTuple):
    """A line of a split file."""

    place: str  # below the dataset's folder
    number: str  # of the class
    where: str  # file and row


@dataclass(frozen=True)
class SplitFile:
    """Images of a list of `path number` lines: the first ones are train, the others test.

    The label is the number. Without --train-lines, images below train/ are train, those below val/ or test/ test.

    \b
    egotools manifest split-file ROOT --split-file miniinet_train_val.txt --train-lines 20000 --out mini.csv
    """

    split_file: Path | None = option(None, "The list: a path below ROOT and a whole number a line.")  # noqa: RUF009
    train_lines: int | None = option(None, "How many lines are train; by default by the first folder.")

    def __post_init__(self) -> None:
        if self.split_file is None:
            raise ValueError("--split-file is needed, the list of images")
        check_positive(self, "train_lines")

    def clips(self, root: Path) -> DatasetClips:
        """The images that exist, sorted by id, with the label `label`.

        Raises:
            ManifestError: a list that cannot be used, or not a single image.
        """
        lines = read_split_file(self.split_file or root)
        trained = first_lines(lines, self.train_lines) if self.train_lines else by_folder(lines)
        clips = clips_of_lines(lines, trained, root, by_number=True)
        check_differ(clips, root)
        return present(sorted(clips, key=lambda clip: clip.id), root)


def read_split_file(path: Path) -> list[Line]:
    """The lines of a split file.

    Raises:
        ManifestError: it cannot be read, is empty, or a line is no path with a whole number, or a path twice.
    """
    found: list[Line] = []
    first: dict[str, str] = {}
    for row, text in numbered_lines(path):
        if not text.strip():
            continue
        where = f"{path}, row {row}"
        place, number = [*text.rsplit(None, 1), ""][:2]
        if not re.fullmatch(r"\d+", number):
            raise ManifestError(f"{where}: {text.strip()!r} is not a path and a whole number")
        line = Line(checked_place(place.strip(), where), str(int(number)), where)
        if line.place in first:
            raise ManifestError(f"{where}: {line.place!r} is also in {first[line.place]}")
        first[line.place] = where
        found.append(line)
    if not found:
        raise ManifestError(f"{path}: the list is empty")
    return found


def first_lines(lines: Sequence[Line], count: int) -> list[bool]:
    """Which lines are train: the first ones.

    Raises:
        ManifestError: none is left for test.
    """
    if count >= len(lines):
        raise ManifestError(f"{lines[0].where}: {len(lines)} lines in all, and --train-lines {count} leaves no test")
    return [at < count for at in range(len(lines))]


def by_folder(lines: Sequence[Line]) -> list[bool]:
    """Which lines are train: those below `train/`.

    Raises:
        ManifestError: a line is below none of train/, val/ and test/.
    """
    for line in lines:
        if not line.place.startswith(("train/", "val/", "test/")):
            raise ManifestError(f"{line.where}: {line.place!r} is not below train/, val/ or test/; give --train-lines")
    return [line.place.startswith("train/") for line in lines]


def clips_of_lines(
    lines: Sequence[Line], trained: Sequence[bool], root: Path, *, by_number: bool = False
) -> list[Clip]:
    """A clip a line. The label is the folder that the image lies in, and `number` the class's; or the number alone.

    Raises:
        ManifestError: a folder has two numbers.
    """
    clips = []
    numbers: dict[str, Line] = {}
    for line, is_train in zip(lines, trained, strict=True):
        split = "train" if is_train else "test"
        if by_number:
            clips.append(image_clip(root, line.place, split, line.number))
            continue
        label = Path(line.place).parent.name
        known = numbers.setdefault(label, line)
        if known.number != line.number:
            raise ManifestError(
                f"{line.where}: {label!r} has the number {line.number}, {known.number} in {known.where}"
            )
        clips.append(image_clip(root, line.place, split, label, number=line.number))
    return clips
