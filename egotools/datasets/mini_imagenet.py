"""Mini-ImageNet as Memory Storyboard evaluates on it: 100 classes of ImageNet, 200 images to learn and 50 to test.

Source:
    Vinyals et al., "Matching Networks for One Shot Learning", NIPS 2016; the split file is Memory Storyboard's.
"""

from dataclasses import dataclass
from pathlib import Path

from egotools.config import check_positive, option
from egotools.datasets.clips import DatasetClips
from egotools.datasets.images import images_root, sorted_images
from egotools.datasets.split_file import by_folder, clips_of_lines, first_lines, read_split_file

LINES, TRAIN_LINES, CLASSES = 25_000, 20_000, 100


@dataclass(frozen=True)
class MiniImageNet:
    """Mini-ImageNet: images of a split file below ROOT, ILSVRC's folder: train/<wnid>/<file>.JPEG, val/<wnid>/...

    The label is the wnid, `number` ImageNet's number of the class. Of 25,000 lines the first 20,000 are train; of
    another file the images below train/.

    \b
    egotools manifest mini-imagenet ROOT --split-file miniinet_train_val.txt --out mini.csv
    """

    split_file: Path | None = option(None, "miniinet_train_val.txt: a path and a number a line.")  # noqa: RUF009
    train_lines: int | None = option(None, "How many lines are train; by default see above.")

    def __post_init__(self) -> None:
        if self.split_file is None:
            raise ValueError("--split-file is needed, such as miniinet_train_val.txt")
        check_positive(self, "train_lines")

    def clips(self, root: Path) -> DatasetClips:
        """The images that exist, sorted by id, with the labels `label` and `number`.

        Raises:
            ManifestError: a list that cannot be used, or not a single image.
        """
        lines = read_split_file(self.split_file or root)
        count = self.train_lines or (TRAIN_LINES if len(lines) == LINES else None)
        trained = by_folder(lines) if count is None else first_lines(lines, count)
        folder = images_root(root)
        return sorted_images(clips_of_lines(lines, trained, folder), folder, [], classes=CLASSES)
