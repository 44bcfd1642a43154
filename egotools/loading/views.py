"""All views of clips, to evaluate by: squares of their frames, as they are and mirrored, of overlapping spans.

Axes: V views, K spans of T frames, S side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.errors import ClipError
from egotools.loading.files import OpenFiles
from egotools.loading.items import unread
from egotools.loading.spans import Spans, Stretch
from egotools.pixels.augmentation import Jitter, draw_jitter
from egotools.pixels.crops import Interpolation, cropped, enlarged, five_boxes
from egotools.types import Frame, IntArray

View = tuple[int, bool]  # number of a square among `five_boxes`, and whether the frame is mirrored before it is cut
MOST = 256 << 20  # bytes of an example


@dataclass(frozen=True, eq=False)
class ViewExamples:
    """An example is all views of a clip, of so many of its spans as fit into memory: mostly all of them.

    Its frames are decoded in one pass, each once for all spans and views. Entries: `frames` uint8 [V, K, T, S, S, 3],
    those of `Draw` [V, K, T, ...], and `clip` [], its number; for a clip that cannot be decoded, only `failed` uint8
    [bytes], why, and `clip`. Batches are of one example.
    """

    stretches: Sequence[Stretch]
    spans: Spans
    views: Sequence[View]
    side: int  # S
    jitter: Jitter | None = None
    seed: int = 0  # of the jitter, drawn for each clip and view
    crop: int = 224  # side of a square; smaller frames are enlarged first
    interpolation: Interpolation = "nearest"  # from a square to what the network sees
    most: int = MOST
    _parts: list[tuple[int, IntArray]] = field(init=False, repr=False)  # number of the clip, and frames [K, T]
    _open: OpenFiles = field(default_factory=OpenFiles, repr=False)

    def __post_init__(self) -> None:
        at_once = max(self.most // (len(self.views) * self.spans.frames * self.side**2 * 3), 1)
        parts = []
        for number, stretch in enumerate(self.stretches):
            found = self.spans.overlapping(stretch.count)
            parts += [(number, found[at : at + at_once]) for at in range(0, len(found), at_once)]
        object.__setattr__(self, "_parts", parts)  # the class is frozen

    def __len__(self) -> int:
        return len(self._parts)

    def example(self, index: int, _: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """As `Examples.example`, but that nothing is left to chance."""
        number, indices = self._parts[index]
        try:
            return {
                "frames": self._pixels(self.stretches[number], indices),
                **self._draws(number, indices),
                "clip": np.array(number),
            }
        except ClipError as error:
            return unread(error, number)

    def _pixels(self, stretch: Stretch, indices: IntArray) -> Frame:
        """[V, K, T, S, S, 3]."""
        needed, places = np.unique(indices, return_inverse=True)
        found = np.empty((len(self.views), len(needed), self.side, self.side, 3), np.uint8)
        frames = self._open.frames(stretch.source).frames(stretch.first + needed)
        for at, frame in enumerate(frames):
            found[:, at] = self.seen(frame)
        return found[:, places.reshape(indices.shape)]

    def seen(self, frame: Frame) -> Frame:
        """The views [V, S, S, 3] of a frame [H, W, 3]."""
        whole = enlarged(frame[None], self.crop)
        boxes = five_boxes(whole.shape[1], whole.shape[2], self.crop)
        found = np.empty((len(self.views), self.side, self.side, 3), np.uint8)
        as_is, reduced = np.zeros(1, bool), partial(cropped, between=self.crop, interpolation=self.interpolation)
        for at, (place, flip) in enumerate(self.views):
            shown = whole[:, :, ::-1] if flip else whole
            found[at] = reduced(shown, boxes[place][None], as_is, self.side)[0]
        return found

    def _draws(self, number: int, indices: IntArray) -> dict[str, npt.NDArray[Any]]:
        """The entries of `Draw` that change colors, and which views are mirrored."""
        shape = (len(self.views), *indices.shape)
        drawn = [
            draw_jitter(1, np.random.default_rng([self.seed, number, view]), self.jitter)
            for view in range(len(self.views))
        ]
        return {
            "boxes": np.zeros((*shape, 4), np.int64),
            "flips": np.broadcast_to(np.array([flip for _, flip in self.views])[:, None, None], shape).copy(),
            "channels": np.full(shape, -1, np.int64),
            "factors": np.stack([np.broadcast_to(factors[0], (*shape[1:], 4)) for factors, _ in drawn]),
            "order": np.stack([np.broadcast_to(order[0], (*shape[1:], 4)) for _, order in drawn]),
        }
