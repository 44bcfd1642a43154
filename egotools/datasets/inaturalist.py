"""iNaturalist 2018: images of species, with annotations in JSON.

Source:
    Van Horn et al., "The iNaturalist Species Classification and Detection Dataset", CVPR 2018.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egotools.datasets.clips import DatasetClips, files_of_splits, read_json
from egotools.datasets.images import checked_place, image_clip, sorted_images
from egotools.errors import ManifestError
from egotools.texts import named
from egotools.types import Clip

CLASSES = 8142
Ids = Mapping[int | str, str]  # of images to what belongs to them


@dataclass(frozen=True)
class INaturalist:
    """iNaturalist 2018: ROOT/train2018.json, ROOT/val2018.json, and the images that they name below ROOT.

    Images and their categories are joined by `image_id`. The label is the category's number, 0 to 8141. val is what is
    evaluated on.

    \b
    egotools manifest inaturalist ROOT --out inat.csv
    """

    def clips(self, root: Path) -> DatasetClips:
        """The images that exist, sorted by id, with the label `label`.

        Raises:
            ManifestError: annotations that cannot be used, or not a single image.
        """
        paths, remarks = files_of_splits(root, "{}2018.json")
        remarks = [each for each in remarks if not each.startswith("test")]  # its categories are not public
        clips: list[Clip] = []
        for split, path in paths.items():
            if split != "test":
                clips += _clips(root, split, path, remarks)
        if not clips:
            raise ManifestError(f"{root}: no image of its annotations has a category")
        return sorted_images(clips, root, remarks, classes=CLASSES)


def _clips(root: Path, split: str, path: Path, remarks: list[str]) -> Iterator[Clip]:
    content = read_json(path)
    files = _by_image(content, "images", "id", "file_name", path)
    categories = _by_image(content, "annotations", "image_id", "category_id", path)
    for ids, what in (
        ([file for id, file in files.items() if id not in categories], "images without a category left out"),
        ([f"image {id}" for id in categories if id not in files], "annotations of images that it does not list"),
    ):
        if ids:
            remarks.append(f"{path.name}: {len(ids)} {what}: {named(ids, 3)}")
    for id, file in files.items():
        if id in categories:
            place = checked_place(file, f"{path}, image {id}")
            yield image_clip(root, place, split, categories[id])


def _by_image(content: Any, name: str, key: str, value: str, path: Path) -> Ids:  # Any: JSON values
    """What a list of a file says of each image, as text.

    Raises:
        ManifestError: no such list, an entry without these two, or an image that is said two different things of.
    """
    entries = content.get(name) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ManifestError(f"{path}: has no list {name!r}")
    found: dict[int | str, str] = {}
    for at, entry in enumerate(entries):
        where = f"{path}: {name}[{at}]"
        if not isinstance(entry, dict) or not all(_is_plain(entry.get(each)) for each in (key, value)):
            raise ManifestError(f"{where} has no {key} and {value}")
        said = str(entry[value])
        if found.setdefault(entry[key], said) != said:
            raise ManifestError(f"{where}: image {entry[key]} has {value} {said!r}, {found[entry[key]]!r} before")
    return found


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool) and value != ""
