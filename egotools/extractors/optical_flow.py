"""What OpenCV computes (extra: flow): optical flow, as numbers and as bytes, and faster enlarging."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from egotools.errors import ExtractorError, MissingExtra
from egotools.lowlevel.blurriness import Enlarge, Floats
from egotools.lowlevel.color import gray
from egotools.lowlevel.enlarge import enlarged_gray
from egotools.types import Frame

Method = Literal["dis", "farneback", "tvl1"]
BOUND = 20.0  # pixels: longer flow is cut off where flow is stored in bytes
BLANK = 128  # of the third channel of a picture of flow


def check_opencv(for_what: str = "meanOF needs (--only leaves it out)", method: Method = "dis") -> None:
    """Reports early that OpenCV is missing, or its contrib modules, which have TV-L1.

    Raises:
        MissingExtra: OpenCV is not installed.
        ExtractorError: its contrib modules are not.
    """
    if find_spec("cv2") is None:
        raise MissingExtra(f"OpenCV, which {for_what},", "flow")
    if method == "tvl1":
        import cv2

        if not hasattr(cv2, "optflow"):
            raise ExtractorError(
                "OpenCV is installed without its contrib modules, which tvl1 needs; only one OpenCV can be installed:"
                " pip uninstall opencv-python opencv-python-headless, then pip install 'egotools[flow]' again"
            )


def fastest_enlarging() -> Enlarge:
    """OpenCV's enlarging if it is installed, else ours: identical results, in a fifth of the time."""
    return _enlarged_gray if find_spec("cv2") is not None else enlarged_gray


def mean_flow(frames: Frame, method: Method = "dis") -> float:
    """Lengths of the flow from each frame to the next, summed over the pixels, averaged over the pairs of frames.

    Args:
        frames: [T, H, W, 3] uint8 RGB.
        method: dense inverse search (preset medium), Farneback's polynomial expansion, or dual TV-L1.

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


def flow_pictures(frames: Iterable[Frame], method: Method = "tvl1", bound: float = BOUND) -> Iterator[Frame]:
    """The flow from each frame to the next, one picture [H, W, 3] fewer than there are frames.

    Args:
        frames: [H, W, 3] uint8 RGB, one at a time.
        method: how it is computed; OpenCV's defaults.
        bound: pixels; longer flow is cut off.

    Returns:
        uint8: red is 128, green the flow down, blue the flow to the right.

    Source:
        MemDPC's `extract_ff.py`, as a reader of RGB sees its files.
    """
    images = (gray(frame[None])[0].astype(np.uint8) for frame in frames)
    for before, after in pairwise(images):
        with _one_thread() as cv2:
            flow = _flow(cv2, before, after, method)
        picture = np.full((*before.shape, 3), BLANK, np.uint8)
        picture[..., 1], picture[..., 2] = flow_bytes(flow[..., 1], bound), flow_bytes(flow[..., 0], bound)
        yield picture


def flow_bytes(flow: npt.NDArray[np.float32], bound: float = BOUND) -> npt.NDArray[np.uint8]:
    """Flow in pixels as bytes: -bound to bound becomes 0 to 255, halves are rounded to even, so that 0 is 128.

    >>> flow_bytes(np.array([-30, 0, 20], np.float32)).tolist()
    [0, 128, 255]
    """
    found: npt.NDArray[np.uint8] = np.rint((np.clip(flow, -bound, bound) + bound) * (255 / (2 * bound))).astype(
        np.uint8
    )
    return found


def _enlarged_gray(frame: Frame, height: int, width: int) -> Floats:
    with _one_thread() as cv2:
        enlarged = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        gray: Floats = cv2.cvtColor(enlarged, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return gray


def _flow(cv2: Any, before: Frame, after: Frame, method: Method) -> Any:  # OpenCV has no usable types
    """[H, W, 2] pixels, right and down."""
    if method == "farneback":
        return cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    if method == "tvl1":
        return cv2.optflow.DualTVL1OpticalFlow_create().calc(before, after, None)
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
