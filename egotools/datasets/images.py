"""What datasets of labeled images share: a clip of one frame an image, and paths that stay below the dataset."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from egotools.datasets.clips import DatasetClips, check_differ, present
from egotools.errors import ManifestError
from egotools.media.stills import IMAGE_SUFFIXES
from egotools.texts import named
from egotools.types import Clip

NAMED = 3
ILSVRC = Path("Data/CLS-LOC")  # where the challenge's archives have train and val


def checked_place(text: str, where: str) -> str:
    """A path as a list names it, relative to the dataset's folder.

    Raises:
        ManifestError: it leads elsewhere.
    """
    place = PurePosixPath(text)
    if not text or place.is_absolute() or ".." in place.parts or "\\" in text or place == PurePosixPath("."):
        raise ManifestError(f"{where}: {text!r} does not stay below the dataset's folder")
    return place.as_posix()


def image_clip(root: Path, place: str, split: str, label: str, **more: str) -> Clip:
    """An image at a place below the root; its id is that place without suffix."""
    id = place.removesuffix(PurePosixPath(place).suffix)
    return Clip(id, root / place, split=split, labels={"label": label, **more})


def sorted_images(clips: Sequence[Clip], root: Path, remarks: Sequence[str], *, classes: int) -> DatasetClips:
    """The images that exist, sorted by id; a remark if there are not as many classes as were published.

    Raises:
        ManifestError: two of one id, or none exists.
    """
    check_differ(clips, root)
    there = len({clip.labels["label"] for clip in clips})
    said = [] if there == classes else [f"images of {there} {'class' if there == 1 else 'classes'}, not of {classes}"]
    return present(sorted(clips, key=lambda clip: clip.id), root, [*remarks, *said])


def images_root(root: Path) -> Path:
    """The folder that has train and val: this one, or that of the challenge's archives in it."""
    return root / ILSVRC if (root / ILSVRC).is_dir() and not (root / "train").is_dir() else root


def class_folders(folder: Path, prefix: str, remarks: list[str]) -> Iterator[tuple[str, str]]:
    """Each image of each class folder: the class, and the image's place with `prefix` before it.

    Args:
        folder: of the class folders.
        prefix: of the places: empty, or `train/`.
        remarks: gets what was odd: files of other kinds, files beside the class folders, empty folders.

    Raises:
        ManifestError: it cannot be listed.
    """
    others, beside, empty = [], [], []
    for entry in _entries(folder):
        if not entry.is_dir():
            beside.append(prefix + entry.name)
            continue
        names = sorted(each.name for each in _entries(Path(entry.path)))
        images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
        others += [f"{prefix}{entry.name}/{name}" for name in names if not name.lower().endswith(IMAGE_SUFFIXES)]
        empty += [] if images else [prefix + entry.name]
        yield from ((entry.name, f"{prefix}{entry.name}/{name}") for name in images)
    for names, what in (
        (others, "files of other kinds ignored"),
        (beside, "files beside the class folders ignored"),
        (empty, "class folders without images"),
    ):
        if names:
            remarks.append(f"{len(names)} {what}: {named(names, NAMED)}")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((each for each in entries if not each.name.startswith(".")), key=lambda each: each.name)
    except OSError as error:
        raise ManifestError(f"{folder}: cannot be listed: {error.strerror}") from error
