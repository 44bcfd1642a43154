"""Frames of clips for pictures, as thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.errors import ClipError, first_line
from egotools.media.video import open_frames
from egotools.plots import THUMBNAIL, thumbnail
from egotools.types import Frame


def shown_at(
    path: Path, fps: float | None, seconds: Sequence[float] | npt.NDArray[np.floating[Any]], side: int = THUMBNAIL
) -> list[Frame]:
    """Thumbnails of the frames that a file shows at these times, in any order; each frame is decoded once.

    Args:
        path: of the file, or of a folder of frames.
        fps: of a folder of frames.
        seconds: of the file.
        side: pixels of the longer side of a thumbnail.

    Raises:
        ClipError: they cannot be read.
    """
    try:
        with closing(open_frames(path, fps)) as frames:
            indices = frames.info.at(np.asarray(seconds, np.float64))
            needed = np.unique(indices)
            shown = (thumbnail(frame, side) for frame in frames.frames(needed))
            small = dict(zip(needed.tolist(), shown, strict=True))
    except OSError as error:
        raise ClipError(first_line(error)) from error
    return [small[index] for index in indices.tolist()]
