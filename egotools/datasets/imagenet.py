"""ImageNet-1K: images in class folders of train and val.

Source:
    Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015.
"""

from dataclasses import dataclass
from pathlib import Path

from egotools.datasets.clips import DatasetClips
from egotools.datasets.images import class_folders, image_clip, images_root, sorted_images
from egotools.errors import ManifestError
from egotools.texts import named
from egotools.types import Clip

SPLITS, CLASSES = ("train", "val"), 1000


@dataclass(frozen=True)
class ImageNet:
    """ImageNet: ROOT/train/<class>/<image> and ROOT/val/<class>/<image>.

    The label is the class folder's name. val is what is evaluated on: there is no test.

    \b
    egotools manifest imagenet ROOT --out imagenet.csv
    """

    def clips(self, root: Path) -> DatasetClips:
        """The images, sorted by id, with the label `label`.

        Raises:
            ManifestError: no folder of a split, or not a single image.
        """
        root = images_root(root)
        there = [split for split in SPLITS if (root / split).is_dir()]
        if not there:
            raise ManifestError(f"{root}: no train/ and no val/; is this the folder that has them?")
        remarks = [f"{split}/ does not exist" for split in SPLITS if split not in there]
        clips: list[Clip] = []
        for split in there:
            images = class_folders(root / split, f"{split}/", remarks)
            clips += [image_clip(root, place, split, label) for label, place in images]
        if not clips:
            raise ManifestError(f"{root}: no images in class folders of train/ and val/")
        known = {clip.labels["label"] for clip in clips if clip.split == "train"}
        if strange := sorted({clip.labels["label"] for clip in clips} - known if known else ()):
            remarks.append(f"{len(strange)} classes of val are not in train: {named(strange, 3)}")
        return sorted_images(clips, root, remarks, classes=CLASSES)
