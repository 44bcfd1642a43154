"""Functions of M3-S that use OpenCV (extra: flow): optical flow, and faster enlarging."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from egotools.errors import MissingExtra
from egotools.lowlevel.blurriness import Enlarge, Floats
from egotools.lowlevel.color import gray
from egotools.lowlevel.enlarge import enlarged_gray
from egotools.types import Frame

Method = Literal["dis", "farneback"]


def check_opencv() -> None:
    """Reports early that OpenCV is missing.

    Raises:
        MissingExtra: OpenCV is not installed.
    """
    if find_spec("cv2") is None:
        raise MissingExtra("OpenCV, which meanOF needs (--only leaves it out),", "flow")


def fastest_enlarging() -> Enlarge:
    """OpenCV's enlarging if it is installed, else ours: identical results, in a fifth of the time."""
    return _enlarged_gray if find_spec("cv2") is not None else enlarged_gray


def mean_flow(frames: Frame, method: Method = "dis") -> float:
    """Lengths of the flow from each frame to the next, summed over the pixels, averaged over the pairs of frames.

    Args:
        frames: [T, H, W, 3] uint8 RGB.
        method: dense inverse search (preset medium), or Farneback's polynomial expansion.

    Returns:
        Pixels; 0 for a single frame.

    Raises:
        MissingExtra: OpenCV is not installed.

    Source:
        M3-S does not say which flow it used; its constants fit both (156,000 for Memento10k's frames).
    """
    check_opencv()
    if len(frames) < 2:
        return 0.0
    images = gray(frames).astype(np.uint8)
    with _one_thread() as cv2:
        total = sum(float(np.linalg.norm(_flow(cv2, *pair, method), axis=-1).sum()) for pair in pairwise(images))
    return total / (len(frames) - 1)


def _enlarged_gray(frame: Frame, height: int, width: int) -> Floats:
    with _one_thread() as cv2:
        enlarged = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        gray: Floats = cv2.cvtColor(enlarged, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return gray


def _flow(cv2: Any, before: Frame, after: Frame, method: Method) -> Any:  # OpenCV has no usable types
    """[H, W, 2] pixels, right and down."""
    if method == "farneback":
        return cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(before, after, None)


@contextmanager
def _one_thread() -> Iterator[Any]:
    """Runs OpenCV in one thread: it splits images among threads, and its results depend on that."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield cv2
    finally:
        cv2.setNumThreads(before)
