"""The usual layout of temporal segmentation: features `.npy`, a label a frame in `.txt`, a mapping, split bundles.

Source:
    the data that came with MS-TCN (Abu Farha and Gall, CVPR 2019), for GTEA, 50Salads and Breakfast.

Axes: T frames of a video, D features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from egotools.datasets.clips import DatasetClips
from egotools.errors import ManifestError
from egotools.files.text_files import numbered_lines
from egotools.manifests.classes import read_classes
from egotools.manifests.segments import Segment
from egotools.stores.arrays import shape_of
from egotools.stores.importing import Frames, list_arrays
from egotools.texts import tidy
from egotools.types import Clip

SPLITS = ("train", "test")
APART = 0.01  # of the frames: by how much features and labels of a video may differ in length


@dataclass(frozen=True)
class Layout:
    """The clips and segments of a split, and how the features of the folder become rows of a cache."""

    found: DatasetClips
    frames: Frames


@dataclass(frozen=True)
class _Video:
    features: Path
    shape: tuple[int, ...]  # [D, T], or [T, D]
    labels: list[str]  # [T]
    text: Path  # the file of the labels

    def is_along(self, axis: int) -> bool:
        """Whether the features have as many frames along an axis as there are labels, or nearly."""
        apart = abs(self.shape[axis] - len(self.labels))
        return apart <= max(1, int(APART * max(self.shape[axis], len(self.labels))))


def read_layout(
    features: Path, labels: Path, mapping: Path, bundles: Path, *, fps: float, split_number: int = 1
) -> Layout:
    """The videos of a split's bundles, as clips without files; labels become segments from frame / fps on.

    Args:
        features: folder with `<video>.npy` [D, T]; where all are [T, D], a remark says so.
        labels: folder with `<video>.txt`, a label a line.
        mapping: numbers and names of the classes.
        bundles: folder with `train.split<K>.bundle` and `test.split<K>.bundle`, a `<video>.txt` a line.
        fps: frames per second of features and labels.
        split_number: K.

    Raises:
        ManifestError: a file cannot be used, features and labels differ in length by more than 1 % and one frame, or
            no video exists; names file and row.
        StoreError: an array cannot be read.
    """
    classes = {*read_classes(mapping)}
    split_of, remarks = _bundled(bundles, split_number)
    arrays = list_arrays(features).arrays
    videos: dict[str, _Video] = {}
    missing = []
    for name in split_of:
        text = labels / f"{name}.txt"
        absent = [str(features / f"{name}.npy")] * (name not in arrays) + [str(text)] * (not text.is_file())
        missing += absent
        if not absent:
            videos[name] = _Video(arrays[name], _shape(arrays[name]), _labels(text, classes, mapping), text)
    if not videos:
        raise ManifestError(f"{bundles}: none of its {len(split_of)} videos has features and labels; no {missing[0]}")
    frames = Frames(fps, _are_columns(videos))
    clips = [Clip(name, Path(), split=split_of[name]) for name in videos]
    segments = [each for name, video in videos.items() for each in _segments(name, video, frames)]
    return Layout(DatasetClips(clips, missing, [*remarks, *_remarks(videos, frames)], segments), frames)


def _bundled(folder: Path, number: int) -> tuple[dict[str, str], list[str]]:
    """The split of each video, in the order of the bundles, and remarks."""
    paths = {split: folder / f"{split}.split{number}.bundle" for split in SPLITS}
    if not any(path.is_file() for path in paths.values()):
        there = ", ".join(sorted(path.name for path in folder.glob("*.bundle"))[:8]) if folder.is_dir() else ""
        raise ManifestError(f"{folder}: no {paths['train'].name}, nor of test; there are {there or 'no bundles'}")
    places: dict[str, tuple[str, str]] = {}  # video -> its split, and where that is said
    for split, path in paths.items():
        for row, line in numbered_lines(path) if path.is_file() else []:
            if not (name := line.strip().removesuffix(".txt")):
                continue
            if name in places:
                raise ManifestError(f"{path}, row {row}: {name!r} is also in {places[name][1]}")
            places[name] = (split, f"{path.name}, row {row}")
    if not places:
        raise ManifestError(f"{folder}: the bundles of split {number} are empty")
    absent = [f"{path} does not exist" for path in paths.values() if not path.is_file()]
    return {name: split for name, (split, _) in places.items()}, absent


def _shape(path: Path) -> tuple[int, ...]:
    shape = shape_of(path)
    if len(shape) != 2 or 0 in shape:
        raise ManifestError(f"{path}: the shape is {list(shape)}; features of a video must be [D, T]")
    return shape


def _labels(path: Path, classes: set[str], mapping: Path) -> list[str]:
    lines = [(row, tidy(line)) for row, line in numbered_lines(path)]
    while lines and not lines[-1][1]:
        del lines[-1]
    if not lines:
        raise ManifestError(f"{path}: no labels")
    for row, label in lines:
        if label not in classes:
            raise ManifestError(f"{path}, row {row}: the label {label!r} is not in {mapping}")
    return [label for _, label in lines]


def _are_columns(videos: Mapping[str, _Video]) -> bool:
    """Whether the features are [D, T], as usual; all videos must be alike, and fit their labels."""
    along = {axis: [video for video in videos.values() if video.is_along(axis)] for axis in (1, 0)}
    axis = max(along, key=lambda each: len(along[each]))  # the usual one if both fit
    for video in videos.values():
        if not video.is_along(axis):
            rows, columns = video.shape
            raise ManifestError(
                f"{video.features}: {rows} x {columns} features, but {len(video.labels)} labels in {video.text};"
                + (" it is transposed" if video.is_along(1 - axis) else f" the lengths differ by more than {APART:.0%}")
                + f": others are {'features x frames' if axis else 'frames x features'}" * (len(videos) > 1)
            )
    return axis == 1


def _segments(name: str, video: _Video, frames: Frames) -> list[Segment]:
    """The runs of equal labels, as far as there are features."""
    found, at = [], 0
    for label, run in groupby(video.labels[: video.shape[1 if frames.are_columns else 0]]):
        end = at + len([*run])
        found.append(Segment(name, at / frames.fps, end / frames.fps, label, name))
        at = end
    return found


def _remarks(videos: Mapping[str, _Video], frames: Frames) -> list[str]:
    axis = 1 if frames.are_columns else 0
    apart = [abs(video.shape[axis] - len(video.labels)) for video in videos.values()]
    cut: Sequence[int] = [each for each in apart if each]
    transposed = "the features are frames x features, not features x frames as usual: taken as they are"
    lengths = (
        f"features and labels of {len(cut)} videos differ in length, by up to {max(apart)} frames: the rest is cut"
    )
    return [*([] if frames.are_columns else [transposed]), *([lengths] if cut else [])]
