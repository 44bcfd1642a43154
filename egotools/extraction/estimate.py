"""Estimates the work of an extraction by opening clips and timing a few batches: `--dry-run`."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from egotools.errors import ClipError, NoSound
from egotools.extraction.forward import Network
from egotools.extraction.messages import Piece
from egotools.extraction.networks import network_of
from egotools.extraction.precision import sample_windows, without_bf16
from egotools.extraction.reading import Reader
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import CacheRequest, Resources
from egotools.machine import usable_cores
from egotools.manifests.check import measure
from egotools.media.audio import open_sound
from egotools.media.video import Video, VideoIndex, open_frames
from egotools.sampling import spread
from egotools.stores import check_same_recipe, open_store
from egotools.types import AudioExtractor, Clip, ClipExtractor

MOST_OPENED = 200  # clips; the others are extrapolated from these
TIMED_CLIPS = 4
TIMED_SECONDS = 10.0  # of each clip


@dataclass(frozen=True)
class CacheWork:
    """The work for one cache: clips to do and done, rows, their width and bytes, seconds of computing per row."""

    clips: int
    there: int
    rows: int
    width: int
    bytes: int
    seconds_a_row: float


@dataclass(frozen=True)
class Work:
    """The work of an extraction by cache, and the total seconds; how many of the opened clips were unreadable."""

    caches: dict[Path, CacheWork]
    seconds: float
    unreadable: int
    opened: int

    @property
    def remark(self) -> str:
        """What the figures do not include."""
        return f"; {self.unreadable} of {self.opened} opened clips cannot be read" if self.unreadable else ""


def estimate(clips: Sequence[Clip], requests: Sequence[CacheRequest], *, resources: Resources) -> Work:
    """Opens up to 200 clips, reads four and runs a few batches, and extrapolates from them. Writes nothing.

    Raises:
        RecipeError: a cache was made with another recipe.
        StoreError: the int8 network of a cache is gone or damaged.
        WeightsError: weights are not available or do not fit.
    """
    device, batch_size, workers = resources.chosen()
    works: dict[Path, CacheWork] = {}
    to_read: dict[str, Clip] = {}
    unreadable: set[str] = set()
    opened: set[str] = set()
    indexes: dict[Path, VideoIndex] = {}
    computing = 0.0
    for each in requests:
        if each.precision == "int8":
            from egotools.extraction.int8 import with_int8_network

            each = with_int8_network(each, clips, writes=False)
        missing, there = _missing(each, clips)
        to_read.update((clip.id, clip) for clip in missing)
        chosen = [missing[at] for at in spread(len(missing), MOST_OPENED)] if missing else []
        counts = {clip.id: _rows(each, clip, indexes) for clip in chosen}
        unreadable |= {id for id, count in counts.items() if count is None}
        opened |= counts.keys()
        windows = sum(count or 0 for count in counts.values()) * len(missing) / max(len(chosen), 1)
        per_window, width, seconds = _timed(each, missing, device, batch_size)
        rows = max(round(windows * per_window) - there, 0)
        computing += rows * seconds
        size = rows * (width * np.dtype(each.dtype).itemsize + 16)
        works[each.cache] = CacheWork(len(missing), len(clips) - len(missing), rows, width, size, seconds)
    reading = _reading_seconds(list(to_read.values()), requests, batch_size)
    share_cores = device.type == "cpu"
    seconds = computing + reading / usable_cores() if share_cores else max(computing, reading / workers)
    return Work(works, seconds, len(unreadable), len(opened))


def _missing(each: CacheRequest, clips: Sequence[Clip]) -> tuple[list[Clip], int]:
    """The clips that are to be computed, and how many of their rows are there: the first ones of unfinished clips."""
    if not each.cache.exists():
        return list(clips), 0
    store = open_store(each.cache)
    check_same_recipe(each.cache, store.recipe, recipe_of(each))
    missing, unfinished = [clip for clip in clips if clip.id not in store], getattr(store, "unfinished", {})
    return missing, sum(unfinished[clip.id].rows for clip in missing if clip.id in unfinished)


def _rows(each: CacheRequest, clip: Clip, indexes: dict[Path, VideoIndex]) -> int | None:
    """Rows of a clip, None if it cannot be read; `indexes` caches the indexes of videos."""
    extractor = each.extractor
    try:
        if isinstance(extractor, AudioExtractor):
            sound = open_sound(clip.path, getattr(extractor, "stream", None))
            try:
                return len(extractor.sound_windows(sound.info, clip).starts)
            finally:
                sound.close()
        if isinstance(extractor, ClipExtractor):
            return len(extractor.rows(clip).values)
        video = open_frames(clip.path, clip.fps, indexes.get(clip.path))
        if isinstance(video, Video):
            indexes[clip.path] = video.index
        try:
            return len(extractor.windows(video.info, clip).frames)
        finally:
            video.close()
    except NoSound:
        return 0
    except ClipError:
        return None


def _timed(each: CacheRequest, clips: Sequence[Clip], device: torch.device, batch_size: int) -> tuple[int, int, float]:
    """Rows of a window, width of a row, and seconds to compute one."""
    if not clips or isinstance(each.extractor, ClipExtractor):
        return 1, 0, 0.0
    windows = sample_windows(each, clips, most=TIMED_CLIPS, each=batch_size)
    if windows is None:
        return 1, 0, 0.0
    windows = windows[:batch_size]
    if each.extractor.place == "worker":
        return 1, np.asarray(each.extractor.network()(windows)).shape[1], 0.0  # its time counts as reading
    run = _network(each, clips, device)
    batch = torch.from_numpy(windows)
    try:
        shape = run(batch).cpu().shape
    except RuntimeError as error:
        if each.precision == "float32":
            raise
        raise without_bf16(each.found.name, error) from error
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        run(batch).cpu()
        best = min(best, time.perf_counter() - began)
    per_window = shape[1] if len(shape) == 3 else 1
    return per_window, shape[-1], best / len(windows) / per_window


def _network(each: CacheRequest, clips: Sequence[Clip], device: torch.device) -> Network:
    """The network of a request; in int8 calibrated on a few windows if its cache has none yet."""
    if each.precision != "int8" or each.quantized is not None:
        return network_of(each, device)
    from egotools.extraction.int8 import quantized_on
    from egotools.extraction.openvino_runtime import compiled

    return compiled(quantized_on(each, clips, most=TIMED_CLIPS), "int8", each.found.name)


def _reading_seconds(clips: Sequence[Clip], requests: Sequence[CacheRequest], batch_size: int) -> float:
    """Processor seconds of reading all clips once for all extractors, extrapolated from the start of a few."""
    if not clips:
        return 0.0
    reader = Reader([each.extractor for each in requests], batch_size)
    spent = 0.0
    covered = 0.0
    chosen = [clips[at] for at in spread(len(clips), TIMED_CLIPS)]
    for clip in chosen:
        end = clip.start + TIMED_SECONDS if clip.end is None else min(clip.end, clip.start + TIMED_SECONDS)
        began = time.process_time()
        pieces = list(reader.read(dataclasses.replace(clip, end=end), range(len(requests)), 0, 0))
        if not any(isinstance(piece, Piece) for piece in pieces):
            pieces = list(reader.read(clip, range(len(requests)), 0, 0))  # shorter than that
        spent += time.process_time() - began
        covered += _seconds_of(clip, end)
    reader.close()
    lengths = [_seconds_of(clip, None) for clip in (clips[at] for at in spread(len(clips), MOST_OPENED))]
    return spent / max(covered, 1e-9) * float(np.mean(lengths)) * len(clips)


def _seconds_of(clip: Clip, most: float | None) -> float:
    """Seconds of a clip, up to `most` of the file; 0 if its file cannot be opened."""
    end = clip.end
    if end is None:
        try:
            end = measure(clip.path, clip.fps).end
        except ClipError:
            return 0.0
    return max(min(end, most if most is not None else end) - clip.start, 0.0)
