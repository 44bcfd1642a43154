"""LaMem: images, and five splits as lists of names and scores.

Source:
    Khosla et al., "Understanding and Predicting Image Memorability at a Large Scale", ICCV 2015.
"""

from __future__ import annotations

from pathlib import Path

from egotools.datasets import DatasetClips, check_differ, checked_score, present
from egotools.errors import ManifestError
from egotools.types import Clip

SPLITS = ("train", "val", "test")


def lamem(root: Path, *, number: int = 1) -> DatasetClips:
    """The images of LaMem as clips of one frame; the score is the label `memorability`.

    Args:
        root: the dataset's folder.
        number: which of the splits, from 1.

    Raises:
        ManifestError: no such split, unusable scores, or not a single image.
    """
    paths = {split: root / "splits" / f"{split}_{number}.txt" for split in SPLITS}
    if not any(path.is_file() for path in paths.values()):
        raise ManifestError(f"{root}: no splits/train_{number}.txt, nor of val or test; is this the dataset's folder?")
    remarks = [f"{path.name} is not there" for path in paths.values() if not path.is_file()]
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
