"""Imports the features that Ego4D and Ego-Exo4D released, a file a video, as a cache with the times of every row.

Row i is of the window of frames [i S, i S + W), S the stride and W the window. The last one would reach past the end
of most videos: it is moved back, so that it ends with the last frame. So its place depends on the number of frames.

Source:
    ego4d-data.org/docs/data/features and docs.ego-exo4d-data.org/data/features: W = 32, S = 16 at 30 per second.

Axes: T rows of one video, D features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from egotools.config import check_positive, digest, plain
from egotools.datasets.ego4d_files import read_file
from egotools.errors import EgotoolsError, ManifestError, StoreError
from egotools.files.csv_files import read_csv
from egotools.files.json_files import check_shape
from egotools.progress import Progress, no_progress
from egotools.stores.arrays import Array, read_array
from egotools.stores.aside import aside
from egotools.stores.copying import check_space
from egotools.stores.importing import EGO4D, LAYOUT, Imported, imported_digest, list_arrays, rows_of, source_of
from egotools.stores.opening import open_store, open_writer
from egotools.stores.publish import check_free, place_gathered
from egotools.stores.store import Recipe, Writer, differences
from egotools.texts import is_whole

VERSION = 1
SUFFIXES = (".pt", ".npy")
CLIPS_PER_COMMIT = 5  # videos of half an hour have 25 MB, which stay in memory until then
SAME_RATE = 0.01  # frames per second


@dataclass(frozen=True)
class Windows:
    """How the rows of a file lie in its video."""

    window: int = 32  # frames that a row is computed from
    stride: int = 16  # frames from one row to the next
    fps: float = 30.0  # frames per second of the videos

    def __post_init__(self) -> None:
        check_positive(self, "window", "stride", "fps")

    def count(self, frames: int) -> int:
        """How many rows a video of so many frames has.

        >>> Windows().count(39), Windows().count(48), Windows().count(20)
        (2, 2, 1)
        """
        return 1 + max(-(-(frames - self.window) // self.stride), 0)

    def times(self, frames: int) -> npt.NDArray[np.float64]:
        """The times of the rows [T, 2], seconds; of a video shorter than a window the whole video.

        >>> Windows(fps=1).times(39).tolist()
        [[0.0, 32.0], [7.0, 39.0]]
        """
        starts = np.arange(self.count(frames)) * self.stride
        starts[-1] = max(frames - self.window, 0)
        return np.stack([starts, np.minimum(starts + self.window, frames)], axis=1) / self.fps


class Length(NamedTuple):
    """How long a video is: frames, or seconds if only these are known."""

    frames: int | None
    seconds: float | None = None
    fps: float | None = None


class _Metadata(TypedDict, total=False):
    num_frames: int | None
    fps: float | None


class _Video(TypedDict):
    video_uid: str
    video_metadata: _Metadata


class _Videos(TypedDict):
    """`ego4d.json`."""

    videos: list[_Video]


class _Take(TypedDict):
    """An entry of `takes.json`; `frame_aligned_videos` by camera and stream."""

    take_uid: str
    duration_sec: float | None
    frame_aligned_videos: dict[str, dict[str, Any]]


def read_lengths(path: Path) -> dict[str, Length]:
    """How long each video is, by the name of its file of features.

    Args:
        path: `ego4d.json`, Ego-Exo4D's `takes.json`, or a CSV with the columns id and frames.

    Raises:
        ManifestError: it cannot be read, or is none of these.
    """
    if path.suffix.lower() != ".json":
        return _of_csv(path)
    content = read_file(path)
    try:
        if isinstance(content, list):
            check_shape(content, list[_Take], "takes")
            return {
                f"{take['take_uid']}_{camera}_{stream}": Length(None, take["duration_sec"])
                for take in content
                for camera, streams in take["frame_aligned_videos"].items()
                for stream in streams
            }
        check_shape(content, _Videos)
    except ValueError as error:
        raise ManifestError(f"{path}: {error}; is it ego4d.json or takes.json?") from error
    found = {video["video_uid"]: video["video_metadata"] for video in content["videos"]}
    return {uid: Length(each.get("num_frames"), fps=each.get("fps")) for uid, each in found.items()}


def _of_csv(path: Path) -> dict[str, Length]:
    columns, rows = read_csv(path, known=("frames",))
    if missing := [name for name in ("id", "frames") if name not in columns]:
        raise ManifestError(f"{path}: no column {missing[0]!r}; there are {', '.join(columns)}")
    found: dict[str, Length] = {}
    for row, cells in rows:
        frames, id = cells["frames"].strip(), cells["id"].strip()
        if not is_whole(frames) or not int(frames):
            raise ManifestError(f"{path}, row {row}: {frames!r} is not a number of frames")
        if id in found:
            raise ManifestError(f"{path}, row {row}: the id {id!r} comes twice")
        found[id] = Length(int(frames))
    return found


def import_released(
    source: Path,
    out: Path,
    lengths: Path,
    windows: Windows,
    *,
    origin: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Imported:
    """Writes the rows of released features as a cache; the id of a clip is the name of its file without suffix.

    A file that cannot be used (of another shape or number of rows than its video's length gives, damaged, or of a video
    of unknown length) is left out, and recorded in the recipe's origin as `left_out`.

    Args:
        source: a folder with a `.pt` or `.npy` [T, D] per video.
        out: `.lmdb` or `.h5`.
        lengths: the file of `read_lengths`.
        windows: how rows lie in a video.
        origin: further provenance for the recipe: the command.
        overwrite: whether to replace an existing cache; one that was imported from the same source is left unchanged.
        progress: reports files.

    Raises:
        StoreError: the source cannot be listed, none of its files can be used, or the cache cannot be written.
        ManifestError: as `read_lengths`.
    """
    if not source.is_dir():
        raise StoreError(f"{source}: not a folder of released features, a .pt or .npy a video")
    folder, known = list_arrays(source, SUFFIXES), read_lengths(lengths)
    left, files = (folder.passed_over, folder.refused), folder.arrays
    identity = _identity(source, windows, {id: known[id] for id in files if id in known})
    if out.is_file() and not overwrite:
        store = open_store(out)
        if any(differences(store.recipe.identity, plain(identity))):
            raise StoreError(
                f"{out} exists and was made differently; choose another --out, or replace it with --overwrite"
            )
        return _imported(out, store.recipe.origin, left, is_new=False)
    check_free(out, overwrite=overwrite)
    # The origin is written when the writer commits: files that turn out to be unusable are in it, too.
    found = {"source": str(source.absolute()), "lengths": str(lengths.absolute()), **(origin or {}), "left_out": {}}
    recipe = Recipe(identity, found)
    with aside(out) as temporary:
        check_free(out, overwrite=overwrite)
        check_space(temporary, sum(path.stat().st_size for path in files.values()) * (2 if out.suffix == ".h5" else 1))
        gathered = temporary / out.with_suffix(".lmdb").name
        with open_writer(gathered, recipe) as writer:
            _write(writer, files, known, windows, found["left_out"], progress)
            if len(found["left_out"]) == len(files):
                id, why = next(iter(found["left_out"].items()))
                raise StoreError(f"{source}: none of its {len(files)} files can be imported: {id}: {why}")
            writer.seal()
        place_gathered(out, gathered, recipe, progress=progress)
    return _imported(out, found, left, is_new=True)


def _identity(source: Path, windows: Windows, lengths: Mapping[str, Length]) -> dict[str, Any]:
    """What makes a cache of released features another one."""
    try:
        content = imported_digest(source, EGO4D)
    except OSError as error:
        raise StoreError(f"{source}: cannot be read: {error.strerror}") from error
    imported = {LAYOUT: EGO4D, **plain(windows), "frames": digest(lengths)}
    return {"imported": imported, "version": VERSION, "content": content, "dtype": "float32"}


def _imported(
    out: Path, origin: Mapping[str, Any], left: tuple[tuple[str, ...], tuple[str, ...]], *, is_new: bool
) -> Imported:
    store = open_store(out)
    left_out = tuple(f"{id}: {why}" for id, why in origin.get("left_out", {}).items())
    return Imported(out, len(store), store.rows, store.width, is_new, *left, left_out=left_out)


def _write(
    writer: Writer,
    files: Mapping[str, Path],
    lengths: Mapping[str, Length],
    windows: Windows,
    left_out: dict[str, str],
    progress: Progress,
) -> None:
    """Writes each file's rows; those that cannot be used are added to `left_out`, with why."""
    first: tuple[str, int] | None = None
    for number, (id, path) in enumerate(files.items(), 1):
        try:
            frames = _frames(lengths.get(id), windows)
            rows = rows_of(_values(path, windows, frames), windows.times(frames), str(path))
        except EgotoolsError as error:
            left_out[id] = str(error)
            continue
        first = first or (id, rows.values.shape[1])
        if rows.values.shape[1] != first[1]:
            left_out[id] = f"{path} has {rows.values.shape[1]} features, {first[0]} has {first[1]}"
            continue
        writer.append(id, rows)
        writer.finish(id, source_of(path))
        if number % CLIPS_PER_COMMIT == 0:
            writer.commit()
        progress("importing", number, len(files))


def _frames(length: Length | None, windows: Windows) -> int:
    """The number of a video's frames; a StoreError if it is not known."""
    if length is None:
        raise StoreError("the file of --frames does not have it, so that the place of its last row is not known")
    if length.fps is not None and abs(length.fps - windows.fps) > SAME_RATE:
        raise StoreError(f"its video has {length.fps:g} frames per second, not {windows.fps:g} (--fps)")
    frames = length.frames
    if length.seconds is not None and isfinite(length.seconds):
        frames = round(length.seconds * windows.fps)
    if frames is None or frames < 1:
        raise StoreError(f"the file of --frames says that it has {frames} frames")
    return frames


def _values(path: Path, windows: Windows, frames: int) -> Array:
    """The rows of a file [T, D]; a StoreError if they are not those of a video of so many frames."""
    values = read_array(path) if path.suffix.lower() == ".npy" else _tensor(path)
    if values.ndim != 2:
        raise StoreError(f"{path} has the shape {list(values.shape)}, not [rows, features]")
    if len(values) != windows.count(frames):
        raise StoreError(
            f"{path} has {len(values)} rows; a video of {frames} frames has {windows.count(frames)} with --window"
            f" {windows.window} --stride {windows.stride}"
        )
    return values


def _tensor(path: Path) -> Array:
    import torch

    from egotools.weights.tensors import read_content

    content = read_content(path)
    if not isinstance(content, torch.Tensor) or content.layout != torch.strided or not content.is_floating_point():
        what = f"{content.dtype}, {content.layout}" if isinstance(content, torch.Tensor) else type(content).__name__
        raise StoreError(f"{path}: holds {what}, not a dense tensor of floating-point numbers [rows, features]")
    array: Array = content.detach().to(torch.float32).numpy()
    return array
