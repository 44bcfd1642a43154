"""LaMem: images, and five splits as lists of names and scores.

Source:
    Khosla et al., "Understanding and Predicting Image Memorability at a Large Scale", ICCV 2015.
"""

from dataclasses import dataclass
from pathlib import Path

from egotools.config import check_positive, option
from egotools.datasets.clips import DatasetClips, check_differ, checked_score, files_of_splits, present
from egotools.errors import ManifestError
from egotools.types import Clip


@dataclass(frozen=True)
class LaMem:
    """LaMem: images as clips of one frame; scores become the label memorability.

    \b
    egotools manifest lamem ROOT --split-number 1 --out m.csv
    """

    split_number: int = option(1, "Which of the five splits.")

    def __post_init__(self) -> None:
        check_positive(self, "split_number")

    def clips(self, root: Path) -> DatasetClips:
        """The images of LaMem as clips of one frame; the score is the label `memorability`.

        Raises:
            ManifestError: no such split, unusable scores, or not a single image.
        """
        paths, remarks = files_of_splits(root, f"splits/{{}}_{self.split_number}.txt")
        clips = [clip for split, path in paths.items() for clip in _clips(root, split, path)]
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
