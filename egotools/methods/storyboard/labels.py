"""Labels of the frames that are held: classes of a fixed length as they arrive, then segments that were found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from egotools.methods.storyboard.held import LabelsOf, State
from egotools.methods.storyboard.memories import TwoTier
from egotools.types import IntArray


def by_length(class_length: int) -> LabelsOf:
    """Default labels: a class each `class_length` frames of the stream, across borders of videos."""
    if class_length < 1:
        raise ValueError(f"--class-length must be 1 frame or more, not {class_length}")
    return lambda ids: ids // class_length


@dataclass(frozen=True, eq=False)
class Window:
    """What a segmentation of the short-term memory gave."""

    first: int  # label of its first segment
    last: int  # label of its last one, which goes on with the next window
    starts: IntArray  # [last - first + 1] the first frame of each segment


class Storyboard:
    """Gives the frames of both memories the labels of the segments that are found in the short-term memory.

    As many segments are found as there are default classes in the memory, and numbered as these, so that labels stay
    consistent from window to window. The last segment of a window is not over: the next one begins with it.

    Args:
        memory: whose labels change.
        default: its default labels, which must not decrease along the stream: those of `by_length`.
        segment_from: the first default class that is segmented; frames before it keep their default labels.
    """

    def __init__(self, memory: TwoTier, default: LabelsOf, *, segment_from: int = 0) -> None:
        self._memory, self._default = memory, default
        self.base = segment_from

    def due(self) -> bool:
        """Whether all that is in the short-term memory has come since the last window's last segment began.

        To be asked after each step. With classes that are longer than the memory it often is, for a single segment.
        """
        return self._labels()[0] >= self.base

    def update(self, change_points: Callable[[int], IntArray]) -> Window:
        """Segments the short-term memory and relabels both.

        Frames of the long-term memory from before this window keep their labels, and, as published, so does the
        window's very first.

        Args:
            change_points: k to the k - 1 places, ascending, in the short-term memory (`memory.short.ids`) at which
                segments begin, the first one's left out. Not asked for a single segment.

        Raises:
            ValueError: other than k - 1 places.
        """
        short, long = self._memory.short, self._memory.long
        first, last = self._labels()
        count = last - first + 1
        points = change_points(count) if count > 1 else np.empty(0, np.int64)
        if len(points) != count - 1:
            raise ValueError(f"{count} segments have {count - 1} change points, not {len(points)}")
        starts = short.ids[np.concatenate([[0], points]).astype(np.int64)]
        short.relabel(slice(None), first + np.searchsorted(points, np.arange(len(short.ids)), side="right"))
        later = long.ids > starts[0]  # strictly: the reference's
        long.relabel(later, first + np.searchsorted(starts, long.ids[later], side="right") - 1)
        self.base = last
        return Window(first, last, starts)

    def state_dict(self) -> State:
        """What changes beside the memories."""
        return {"base": self.base}

    def load_state_dict(self, state_dict: State) -> None:
        self.base = state_dict["base"]

    def _labels(self) -> tuple[int, int]:
        """Default labels of the earliest and the latest frame of the short-term memory."""
        first, last = self._default(self._memory.short.ids[[0, -1]])
        return int(first), int(last)
