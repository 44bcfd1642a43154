"""Frames of clips for pictures, as thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.errors import ClipError, first_line
from egotools.media.video import open_frames
from egotools.plots import thumbnail
from egotools.types import Clip, Frame


def shown_at(video: Clip, seconds: Sequence[float] | npt.NDArray[np.floating[Any]]) -> list[Frame]:
    """Thumbnails of the frames that a file shows at these times, in any order; each frame is decoded once.

    Raises:
        ClipError: they cannot be read.
    """
    try:
        with closing(open_frames(video.path, video.fps)) as frames:
            indices = frames.info.at(np.asarray(seconds, np.float64))
            needed = np.unique(indices)
            small = dict(zip(needed.tolist(), map(thumbnail, frames.frames(needed)), strict=True))
    except OSError as error:
        raise ClipError(first_line(error)) from error
    return [small[index] for index in indices.tolist()]
