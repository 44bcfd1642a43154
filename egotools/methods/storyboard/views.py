"""Views of frames that Memory Storyboard trains on, clusters by, and is evaluated by.

Axes: B frames, V views, S side. Frames are uint8 [H, W, 3], of any sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from egotools.types import Frame, IntArray

if TYPE_CHECKING:  # options are parsed without torch
    import torch

    from egotools.pixels.preprocessing import Preprocessing
    from egotools.pixels.view_augmentation import ViewDraws


@dataclass(frozen=True)
class Viewing:
    """How frames become views.

    Raises:
        ValueError: an option out of range.
    """

    crop_size: int = 112  # S
    scale_min: float = 0.08  # of the frame's area
    scale_max: float = 1.0
    ensure_overlap: bool = False  # both boxes of a frame have pixels in common
    flip: float = 0.5  # probability of swapping left and right
    vertical_flip: bool = False  # training and clustering views are turned upside down: SAYCam's frames are stored so

    def __post_init__(self) -> None:
        if self.crop_size < 1:
            raise ValueError(f"--crop-size must be 1 or above, not {self.crop_size}")
        if not 0 < self.scale_min <= self.scale_max <= 1:
            raise ValueError(
                f"0 < --scale-min <= --scale-max <= 1 is needed, not {self.scale_min} and {self.scale_max}"
            )
        if not 0 <= self.flip <= 1:
            raise ValueError(f"--flip is a probability, 0 to 1, not {self.flip}")

    def draw(self, frames: Sequence[Frame], random: np.random.Generator) -> ViewDraws:
        """Draws for two views of each frame: the first views of all frames, then the second ones."""
        from egotools.pixels.random_boxes import draw_overlapping_boxes, draw_resized_boxes
        from egotools.pixels.view_augmentation import ViewColors

        sizes: IntArray = np.array([frame.shape[:2] for frame in frames], np.int64).reshape(-1, 2)
        scale = (self.scale_min, self.scale_max)
        if self.ensure_overlap:
            boxes = draw_overlapping_boxes(sizes[:, 0], sizes[:, 1], random, scale=scale).reshape(-1, 4)
        else:
            twice = np.tile(sizes, (2, 1))
            boxes = draw_resized_boxes(twice[:, 0], twice[:, 1], random, scale=scale)
        return ViewColors(flip_p=self.flip, vertical_flip_p=float(self.vertical_flip)).draw(boxes, random)

    def training(self, frames: Sequence[Frame], random: np.random.Generator, device: torch.device) -> torch.Tensor:
        """Two views of each frame, drawn independently but for `ensure_overlap`: float32 [2, B, 3, S, S], normalized.

        Args:
            frames: those of a step.
            random: all chance comes from it, see `random_of`.
            device: where the work is done, and of the result.
        """
        from egotools.pixels.view_augmentation import augmented

        places = np.tile(np.arange(len(frames)), 2)
        views = augmented(frames, places, self.draw(frames, random), self.crop_size, device)
        return views.reshape(2, len(frames), *views.shape[1:])

    def clustering_pixels(self, frames: Sequence[Frame]) -> Frame:
        """Whole frames, uint8 [B, S, S, 3], squeezed into a square, by which they are segmented."""
        from egotools.pixels.preprocessing import squeezed

        return self._plain(frames, squeezed(self.crop_size), upside_down=self.vertical_flip)

    def evaluation_pixels(self, frames: Sequence[Frame]) -> Frame:
        """Middles of frames, uint8 [B, S, S, 3], never turned, by which the network is evaluated."""
        from egotools.pixels.preprocessing import central

        return self._plain(frames, central(self.crop_size), upside_down=False)

    def normalized(self, pixels: Frame, device: torch.device) -> torch.Tensor:
        """What a network takes, float32 [B, 3, S, S] on a device, of uint8 [B, S, S, 3]."""
        import torch

        from egotools.pixels.preprocessing import Normalize, central

        own = central(self.crop_size)
        found: torch.Tensor = Normalize(own.mean, own.std)(torch.from_numpy(pixels).to(device))
        return found.contiguous()

    def _plain(self, frames: Sequence[Frame], preprocessing: Preprocessing, *, upside_down: bool) -> Frame:
        side = self.crop_size
        pixels = np.empty((len(frames), side, side, 3), np.uint8)
        for place, frame in enumerate(frames):
            found = preprocessing(frame)
            pixels[place] = found[::-1] if upside_down else found
        return pixels


def random_of(seed: int, step: int) -> np.random.Generator:
    """The chance of one step's views: the same when a training is resumed."""
    return np.random.default_rng([seed, step])
