"""UCF101: videos in class folders, and three official pairs of lists.

Source:
    Soomro, Zamir, Shah, "UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild", 2012.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from egotools.config import option
from egotools.datasets.action_clips import VAL_FROM, Entry, Held, check_official, checked_name, clips_of, file_of
from egotools.datasets.clips import DatasetClips
from egotools.errors import ManifestError
from egotools.files.text_files import numbered_lines

GROUP = re.compile(r"_(g\d\d)_c\d\d$")  # v_ApplyEyeMakeup_g08_c01


@dataclass(frozen=True)
class UCF101:
    """UCF101: ROOT/<class>/<name>.avi, or folders of frames of these names; the official lists make the splits.

    The label is the class; `group` is g01 to g25, whose videos have a background and persons in common.

    \b
    egotools manifest ucf101 ROOT --lists ucfTrainTestlist --split 1 --out u.csv
    egotools manifest ucf101 ROOT --lists ucfTrainTestlist --val-from train --out u.csv
    """

    lists: Path | None = option(None, "Folder of trainlist01.txt, testlist01.txt, ...")  # noqa: RUF009 - frozen
    split: int = option(1, "Which of the three splits.")
    val_from: Literal["none", "train", "test"] = option("none", VAL_FROM)
    val_share: float = option(0.1, "Fraction of train that --val-from train holds out.")
    val_seed: int = option(0, "Seed of what is held out.")
    fps: float = option(25.0, "Frame rate of folders of frames.")

    def __post_init__(self) -> None:
        check_official(self.lists, self.fps, self.val_share, self.split)

    def clips(self, root: Path) -> DatasetClips:
        """The clips with the labels `label` and `group`.

        Raises:
            ManifestError: lists that cannot be used, or not a single video.
        """
        entries, numbers = [], dict[str, tuple[str, str]]()
        for split in ("train", "test"):
            path = file_of(self.lists or root, f"{split}list{self.split:02d}.txt")
            for entry, number in _entries(path, split):
                known, where = numbers.setdefault(entry.label, (number, entry.where)) if number else ("", "")
                if known != number:
                    raise ManifestError(f"{entry.where}: {entry.label!r} has the number {number}, {known} in {where}")
                entries.append(entry)
        held = Held(self.val_from, self.val_share, self.val_seed, "group")
        return clips_of(entries, root, held, fps=self.fps)


def _entries(path: Path, split: str) -> Iterator[tuple[Entry, str]]:
    """The lines `<class>/<name>.avi <number>`, the number in train only, and the numbers."""
    found = False
    for row, line in numbered_lines(path):
        if not line.strip():
            continue
        found, where = True, f"{path}, row {row}"
        name, _, number = line.strip().rpartition(" ") if line.strip()[-1].isdigit() else (line.strip(), "", "")
        label, slash, file = name.strip().partition("/")
        if not slash or not file.lower().endswith(".avi"):
            raise ManifestError(f"{where}: {line.strip()!r} is not <class>/<name>.avi, with a number in train")
        stem = checked_name(file, where)[: -len(".avi")]
        group = GROUP.search(stem)
        if group is None:
            raise ManifestError(f"{where}: {file!r} names no group, as in v_{label}_g01_c01.avi")
        place = f"{checked_name(label, where)}/{stem}"
        yield Entry(place, place, file[-len(".avi") :], label, split, where, group[1]), number
    if not found:
        raise ManifestError(f"{path}: the list is empty")
