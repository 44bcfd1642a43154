"""Fills batches with windows of many clips, and returns the rows to their clips."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from egotools.errors import ExtractorError
from egotools.extraction.forward import Network
from egotools.extraction.messages import Piece, repeated, windows_of

Part = tuple[Piece, int, int]  # windows first..last of a piece
Array = np.ndarray[Any, Any]
RowTimes = Callable[[Array, int], Array]  # from the times [n, 2] of windows and rows a window to those [n * rows, 2]


class Batcher:
    """Runs one network on batches of exactly `size` windows, except the last one; yields computed pieces.

    Windows of another length (an image among videos, sound of another rate) start a new batch. A result is copied to
    the host one batch later, when the next one is running, so that a GPU never waits for it. `most_frames` limits the
    frames of a batch, so that long windows make it smaller. `row_times` gives the times of the rows of windows, where a
    network gives several; by default they are the window's.
    """

    def __init__(
        self, name: str, run: Network, size: int, *, most_frames: int | None = None, row_times: RowTimes | None = None
    ) -> None:
        self.name, self.run, self.size = name, run, size
        self._row_times = row_times or repeated
        self._most_frames = most_frames
        self._waiting: deque[Part] = deque()
        self._count = 0
        self._length = 0  # frames, or samples, of each pending window
        self._running: deque[tuple[list[Part], Tensor]] = deque()

    def add(self, piece: Piece) -> Iterator[Piece]:
        """Adds the windows of a piece; yields the rows that are ready."""
        length = (piece.units if piece.windows is None else piece.windows).shape[1]
        if self._count and length != self._length:
            self._launch(self._count)
            yield from self._finished(1)
        self._length = length
        self._waiting.append((piece, 0, len(piece.rows)))
        self._count += len(piece.rows)
        size = full_size(self.size, length, self._most_frames if piece.windows is not None else None)
        while self._count >= size:
            self._launch(size)
            yield from self._finished(1)

    def flush(self) -> Iterator[Piece]:
        """Runs the rest, and yields all rows."""
        if self._count:
            self._launch(self._count)
        yield from self._finished(0)

    def _launch(self, count: int) -> None:
        parts: list[Part] = []
        self._count -= count
        while count:
            piece, first, last = self._waiting.popleft()
            taken = min(last - first, count)
            parts.append((piece, first, first + taken))
            count -= taken
            if first + taken < last:
                self._waiting.appendleft((piece, first + taken, last))
        windows = [windows_of(*part) for part in parts]
        batch = torch.from_numpy(windows[0] if len(windows) == 1 else np.concatenate(windows))
        try:
            self._running.append((parts, self.run(batch)))
        except AssertionError as error:  # raised by torchvision's transformers for an unsupported size
            raise ExtractorError(f"{self.name}: its network refuses windows {tuple(batch.shape)}: {error}") from error
        except torch.OutOfMemoryError as error:
            raise ExtractorError(
                f"{self.name}: {len(batch)} windows per batch do not fit in memory; lower --batch-size"
            ) from error

    def _finished(self, most_running: int) -> Iterator[Piece]:
        while len(self._running) > most_running:
            parts, result = self._running.popleft()
            values = result.cpu().numpy()
            expected = sum(last - first for _, first, last in parts)
            check_rows(self.name, values.shape, expected)
            at = 0
            for part in parts:
                count = part[2] - part[1]
                yield _computed(part, values[at : at + count], self._row_times)
                at += count


def check_rows(name: str, shape: tuple[int, ...], windows: int) -> None:
    """Checks the shape that a network gives for a number of windows.

    Raises:
        ExtractorError: it is not [B, D] or [B, N, D].
    """
    if len(shape) not in (2, 3) or shape[0] != windows:
        raise ExtractorError(f"{name}: its network gives {tuple(shape)} for {windows} windows, not [B, D] or [B, N, D]")


def full_size(size: int, length: int, most_frames: int | None) -> int:
    """Windows of a full batch: `size`, or fewer if windows of `length` frames would make more than `most_frames`."""
    return size if most_frames is None else max(1, min(size, most_frames // length))


def _computed(part: Part, values: Array, row_times: RowTimes) -> Piece:
    """The rows of a part: a row a window, or, of values [B, N, D], N rows a window."""
    piece, first, last = part
    each = values.shape[1] if values.ndim == 3 else 1
    rows = piece.rows[first:last]
    return replace(
        piece,
        rows=(rows[:, None] * each + np.arange(each)).reshape(-1),
        times=piece.times[first:last] if values.ndim == 2 else row_times(piece.times[first:last], each),
        units=values.reshape(-1, values.shape[-1]),
        windows=None,
        total=piece.total * each,
        is_computed=True,
        each=each,
    )
