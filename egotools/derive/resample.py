"""Puts the rows of a cache on a given clock. Axes: T rows of a clip, W new windows, D features; times in seconds."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from egotools.config import check_positive, option
from egotools.derive.fitted import Learned
from egotools.errors import ManifestError, StoreError
from egotools.files.csv_files import another_delimiter, read_csv
from egotools.machine import available_memory
from egotools.stores.copying import intact
from egotools.stores.store import Store, StoredClip
from egotools.tables.joining import count_named
from egotools.texts import composed, counted
from egotools.types import FloatArray, IntArray, Rows

How = Literal["mean", "nearest", "linear"]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FASTEST = 1000.0  # Hz; more than any row is made for
GAP = 1.5  # spacings between neighboring rows; farther apart, there is a gap between them
BLOCK = 4096  # windows averaged at a time


@dataclass(frozen=True)
class Resample:
    """The same clips with a row for each window of a clock: even ones from each clip's start, or those of a file.

    mean: the mean of the rows whose middles lie in the window; a window without any takes the nearest row. nearest: the
    row whose middle is nearest to the window's. linear: between the two rows around the window's middle. Gaps between
    rows that are longer than their usual spacing stay gaps: no rows are made there.
    """

    version: ClassVar[int] = 1
    naming: ClassVar[str] = "{input}"

    hz: float | None = option(None, "Rows per second, from each clip's start.")
    times: Path | None = option(None, "CSV of the new windows instead: id, start, end; or id, time.")  # noqa: RUF009 - frozen
    how: How = option("mean", "How rows are found for a window.")  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        if (self.hz is None) == (self.times is None):
            raise ValueError("give one of --hz and --times: the clock of the new rows")
        check_positive(self, "hz")
        if self.hz is not None and not self.hz <= FASTEST:
            raise ValueError(f"--hz must be at most {FASTEST:g}, not {self.hz:g}")

    def learn(self, inputs: Mapping[str, Store]) -> Learned:
        """The windows of each clip, and lazily its rows.

        Raises:
            StoreError: no clip has a window, or the times of rows are not known.
            ManifestError: the file of times cannot be used.
        """
        (store,) = inputs.values()
        given = None if self.times is None else read_windows(self.times)
        there = {composed(id) for id in store}
        failed = {id: f"{store.path} has no such clip" for id in given or () if id not in there}
        if given is not None and len(failed) == len(given):
            example = next(iter(store), None)
            has = f"its ids are like {example!r}" if example else "it is empty"
            raise StoreError(f"{store.path} has none of the {len(given)} clips of {self.times}: {has}")
        remarks, bare, lost, wanted = [], [], 0, 0
        for id in store:
            times = _times(store, id)
            windows = self._windows(store, id, times, given)
            _check_memory(store, id, len(windows))
            if len(times) and not len(windows):
                bare.append(id)
            lost += int((~covered(times, windows, self.how)).sum())
            wanted += len(windows)
        if bare:
            remarks.append(count_named(bare, "without a window of the clock, so without rows"))
        if lost:
            remarks.append(f"{lost} of {counted(wanted, 'new window')} lie in gaps between rows, and have no row")
        return Learned(self._each(store, given), remarks=tuple(remarks), failed=failed)

    def _each(self, store: Store, given: Mapping[str, Floats] | None) -> Iterator[tuple[str, Rows]]:
        for id in store:
            clip = intact(store, id)
            windows = self._windows(store, id, clip.times, given)
            yield id, resampled(_values(store, clip), clip.times, windows, self.how)
            store.release()

    def _windows(self, store: Store, id: str, times: Floats, given: Mapping[str, Floats] | None) -> Floats:
        if given is not None:
            return given.get(composed(id), np.empty((0, 2)))
        if not len(times):
            return np.empty((0, 2))
        assert self.hz is not None  # __post_init__ refuses it
        source = store.source(id)
        start = source.start if source.path else float(times[:, 0].min())
        return even_windows(self.hz, start, float(times[:, 1].max()) if source.end is None else source.end)


def even_windows(hz: float, start: float, end: float) -> Floats:
    """Windows [W, 2] of 1 / hz seconds from `start` on; all whose middle lies before `end`.

    >>> even_windows(2, 1.0, 2.0).tolist()
    [[1.0, 1.5], [1.5, 2.0]]
    """
    edges = start + np.arange(max(math.ceil((end - start) * hz - 0.5), 0) + 1) / hz
    return np.stack([edges[:-1], edges[1:]], axis=1)


def covered(times: Floats, windows: Floats, how: How = "nearest") -> Mask:
    """Which windows [W] get a row: those that rows are near to, or for the mean, too, those that have rows.

    A window is near if its middle lies between rows no more than 1.5 usual spacings apart, or in a row's window, or
    within half a spacing of a row's middle. The usual spacing is the median.
    """
    if not len(times):
        return np.zeros(len(windows), bool)
    near = _Near(times, windows)
    is_near: Mask = near.is_bridged | (near.distance <= near.reach * (1 + 1e-9))  # times are rounded
    if how == "mean":
        is_near |= near.stop > near.first
    return is_near


def resampled(values: FloatArray, times: Floats, windows: Floats, how: How = "mean") -> Rows:
    """Rows [T, D] with times [T, 2] on new windows [W, 2]: those that are covered, with their own times; float32."""
    kept = windows[covered(times, windows, how)]
    if not len(kept):
        return Rows(np.empty((0, values.shape[1]), np.float32), np.empty((0, 2)))
    near = _Near(times, kept)
    found = values[near.nearest].astype(np.float32)
    with np.errstate(all="ignore"):  # rows may contain NaN and infinite values, and so may the result
        if how == "mean":
            _average(found, values, near)
        elif how == "linear":
            _interpolate(found, values, near)
    return Rows(found, kept)


class _Near:
    """The rows near the middles of windows; numbers of rows are in the order of their middles, except `nearest`."""

    def __init__(self, times: Floats, windows: Floats) -> None:
        middles = times.mean(axis=1)
        self.order: IntArray = np.argsort(middles, kind="stable")
        middles = middles[self.order]
        at, last = windows.mean(axis=1), len(middles) - 1
        right = np.searchsorted(middles, at)
        self.left, self.right = np.clip(right - 1, 0, last), np.clip(right, 0, last)
        before, after = at - middles[self.left], middles[self.right] - at
        nearest = np.where((before <= after) & (right > 0) | (right > last), self.left, self.right)
        self.nearest = self.order[nearest]  # [W] as the rows are numbered
        self.distance = np.abs(at - middles[nearest])  # [W]
        apart = middles[self.right] - middles[self.left]
        steps = np.diff(middles)
        steps = steps[steps > 0]
        lengths = times[:, 1] - times[:, 0]
        spacing = float(np.median(steps)) if len(steps) else 0.0
        self.reach = np.maximum(lengths[self.nearest], spacing) / 2
        self.is_bridged = (right > 0) & (right <= last) & (apart <= GAP * spacing)
        self.share = before / np.where(apart > 0, apart, 1)  # of the way from left to right
        self.first = np.searchsorted(middles, windows[:, 0])  # rows in the window: from this one
        self.stop = np.searchsorted(middles, windows[:, 1])  # up to this one


def _average(found: npt.NDArray[np.float32], values: FloatArray, near: _Near) -> None:
    """Replaces rows of windows that have rows in them by their mean; summed in float64."""
    full = np.flatnonzero(near.stop > near.first)
    for at in range(0, len(full), BLOCK):
        some = full[at : at + BLOCK]
        first, stop = near.first[some], near.stop[some]
        low, high = first.min(), stop.max()
        part = np.zeros((high - low + 1, values.shape[1]))  # float64; the last row is only an end
        part[:-1] = values[near.order[low:high]]
        borders = np.stack([first, stop], axis=1).ravel() - low
        found[some] = np.add.reduceat(part, borders, axis=0)[::2] / (stop - first)[:, np.newaxis]


def _interpolate(found: npt.NDArray[np.float32], values: FloatArray, near: _Near) -> None:
    """Replaces rows of windows between two rows by their mean, weighted by nearness; computed in float64."""
    between = np.flatnonzero(near.is_bridged)
    for at in range(0, len(between), BLOCK):
        some = between[at : at + BLOCK]
        left, right, share = near.order[near.left[some]], near.order[near.right[some]], near.share[some, np.newaxis]
        found[some] = values[left] * (1 - share) + values[right] * share


def read_windows(path: Path) -> dict[str, Floats]:
    """The windows [W, 2] of each clip, by time; a single `time` is a window without length.

    Raises:
        ManifestError: the file cannot be read, or a row is invalid; names it.
    """
    columns, rows = read_csv(path)
    names = ("time", "time") if "time" in columns else ("start", "end")
    if missing := [name for name in ("id", *names) if name not in columns]:
        raise ManifestError(
            f"{path}: no column {missing[0]!r}; times need id, start, end, or id, time{another_delimiter(columns)}"
        )
    found: dict[str, list[tuple[float, float]]] = {}
    for number, cells in rows:
        try:
            start, end = (float(cells[name]) for name in names)
        except ValueError:
            start, end = math.nan, math.nan
        if not (cells["id"] and 0 <= start <= end < math.inf):
            raise ManifestError(
                f"{path}, row {number}: a window needs an id, and times in seconds, 0 or more, in order"
            )
        found.setdefault(composed(cells["id"]), []).append((start, end))
    if not found:
        raise ManifestError(f"{path}: no times, only a header")
    return {id: np.array(sorted(windows)) for id, windows in found.items()}


def _times(store: Store, id: str) -> Floats:
    times = store.stored(id).times
    if len(times) > 1 and np.ptp(times) == 0:
        raise StoreError(
            f"{store.path}: the rows of clip {id!r} have no times of their own (imported without --times?), so they"
            " cannot be put on a clock"
        )
    return times


def _check_memory(store: Store, id: str, windows: int) -> None:
    """A clip is in memory as a whole, with a copy while it is written."""
    needed, free = 3 * windows * store.width * 4, available_memory()
    if free is not None and needed > free:
        raise StoreError(
            f"{store.path}: clip {id!r} would have {windows} rows, which need {needed / 1e9:.3g} GB of memory,"
            f" {free / 1e9:.3g} GB are free; take a lower --hz, or fewer times"
        )


def _values(store: Store, clip: StoredClip) -> FloatArray:
    return np.concatenate([np.empty((0, store.width), store.dtype), *clip.views])
