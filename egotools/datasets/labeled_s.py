"""Labeled-S: frames of SAYCam's child S in 26 classes.

Source:
    Orhan, Gupta, Lake, "Self-supervised learning through the eyes of a child", NeurIPS 2020; the split file is Memory
    Storyboard's.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from egotools.config import check_positive, option
from egotools.datasets.clips import DatasetClips
from egotools.datasets.images import class_folders, image_clip, sorted_images
from egotools.datasets.split_file import Line, clips_of_lines, first_lines, read_split_file
from egotools.errors import ManifestError
from egotools.manifests.folders import natural

LINES, TRAIN_LINES, CLASSES = 5_787, 2_886, 26


@dataclass(frozen=True)
class LabeledS:
    """Labeled-S: ROOT/<class>/img_<n>.jpeg.

    Of the published split file's 5,787 lines the first 2,886 are train. Of another file, or without one, the first half
    of each class is train, rounded down; without one in the order of the numbers. The label is the class.

    \b
    egotools manifest labeled-s ROOT --split-file labeledS_train_val.txt --out s.csv
    egotools manifest labeled-s ROOT --out s.csv
    """

    split_file: Path | None = option(None, "labeledS_train_val.txt: a path and a number a line.")  # noqa: RUF009
    train_lines: int | None = option(None, "How many lines are train; by default see above.")

    def __post_init__(self) -> None:
        check_positive(self, "train_lines")
        if self.train_lines and self.split_file is None:
            raise ValueError("--train-lines is for --split-file")

    def clips(self, root: Path) -> DatasetClips:
        """The images that exist, sorted by id, with the label `label`; of a split file `number`, too.

        Raises:
            ManifestError: a list that cannot be used, or not a single image.
        """
        if self.split_file is None:
            return _of_folders(root)
        lines = read_split_file(self.split_file)
        count = self.train_lines or (TRAIN_LINES if len(lines) == LINES else None)
        trained = _first_halves([line.number for line in lines]) if count is None else first_lines(lines, count)
        return sorted_images(clips_of_lines(lines, trained, root), root, _remarks(lines), classes=CLASSES)


def _of_folders(root: Path) -> DatasetClips:
    remarks: list[str] = []
    if not root.is_dir():
        raise ManifestError(f"{root}: not a folder")
    images = sorted(class_folders(root, "", remarks), key=lambda image: natural(image[1]))
    if not images:
        raise ManifestError(f"{root}: no images in class folders; is this the folder of the classes?")
    trained = _first_halves([label for label, _ in images])
    clips = [
        image_clip(root, place, "train" if is_train else "test", label)
        for (label, place), is_train in zip(images, trained, strict=True)
    ]
    return sorted_images(clips, root, remarks, classes=CLASSES)


def _first_halves(labels: list[str]) -> list[bool]:
    """Which are of the first half of their class, rounded down."""
    counts, seen = Counter(labels), defaultdict[str, int](int)
    found = []
    for label in labels:
        found.append(seen[label] < counts[label] // 2)
        seen[label] += 1
    return found


def _remarks(lines: list[Line]) -> list[str]:
    return [] if len(lines) == LINES else [f"the split file has {len(lines)} lines, the published one {LINES}"]
