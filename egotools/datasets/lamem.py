"""LaMem: images, and five splits as lists of names and scores.

Source:
    Khosla et al., "Understanding and Predicting Image Memorability at a Large Scale", ICCV 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from egotools.config import option
from egotools.datasets.clips import DatasetClips, check_differ, checked_score, present
from egotools.errors import ManifestError
from egotools.types import Clip

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class LaMem:
    """LaMem: images as clips of one frame; scores become the label memorability.

    \b
    egotools manifest lamem ROOT --split-number 1 --out m.csv
    """

    split_number: int = option(1, "Which of the five splits.")

    def __post_init__(self) -> None:
        if self.split_number < 1:
            raise ValueError(f"--split-number must be 1 or more, not {self.split_number}")

    def clips(self, root: Path) -> DatasetClips:
        """The images of LaMem as clips of one frame; the score is the label `memorability`.

        Raises:
            ManifestError: no such split, unusable scores, or not a single image.
        """
        paths = {split: root / "splits" / f"{split}_{self.split_number}.txt" for split in SPLITS}
        if not any(path.is_file() for path in paths.values()):
            name = f"splits/train_{self.split_number}.txt"
            raise ManifestError(f"{root}: no {name}, nor of val or test; is this the dataset's folder?")
        remarks = [f"{path.name} does not exist" for path in paths.values() if not path.is_file()]
        clips = [clip for split, path in paths.items() if path.is_file() for clip in _clips(root, split, path)]
        check_differ(clips, root / "splits")
        return present(clips, root, remarks)


def _clips(root: Path, split: str, path: Path) -> list[Clip]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error
    clips = []
    for row, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, score = line.strip().rpartition(" ")
        labels = {"memorability": repr(checked_score(score, f"{path}, row {row}"))}
        clips.append(Clip(Path(name).stem, root / "images" / Path(name).name, split=split, labels=labels))
    return clips
