"""Optical flow: as bytes and by TV-L1 as MemDPC's scripts have it, and its mean length as an extractor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from memdpc_files import SMALL

from egotools.errors import ExtractorError, MissingExtra
from egotools.extractors import optical_flow
from egotools.extractors.flow import Flow
from egotools.extractors.optical_flow import check_opencv, flow_bytes, flow_pictures
from egotools.types import Clip, VideoInfo

SHIFT = (-2.3, 1.2)  # of the recorded pair, pixels


def needs_contrib() -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "optflow"):
        pytest.skip("this OpenCV has no contrib modules: install opencv-contrib-python-headless instead")


def pattern(right: float = 0.0, down: float = 0.0) -> np.ndarray:
    """The recorded moving pattern, RGB [48, 64, 3]."""
    x, y = np.meshgrid(np.arange(64.0) + right, np.arange(48.0) + down)
    waves = 45 * np.sin(0.35 * x + 0.2 * y + 0.4) + 35 * np.cos(0.15 * x - 0.28 * y + 0.8)
    waves += 128 + 25 * np.sin(0.3 * x + 0.45 * y)
    return np.repeat(np.clip(np.round(waves), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def test_flow_in_bytes_is_the_references():
    recorded = np.load(SMALL / "flow_quantise.npz")
    assert json.loads((SMALL / "flow_quantise.json").read_text())["tolerance"] == {"exact": True}
    assert np.array_equal(flow_bytes(recorded["value"]), recorded["byte"])


def test_tvl1_and_its_channels_are_the_references():
    needs_contrib()
    recorded = np.load(SMALL / "flow_tvl1.npz")
    (picture,) = flow_pictures([pattern(), pattern(*SHIFT)], "tvl1")
    found = picture[..., [2, 1]].astype(int)  # x is blue, y green
    assert (np.abs(found - recorded["byte"]) <= 1).mean() >= 0.99
    assert (picture[..., 0] == 128).all()


def test_a_smaller_bound_is_finer():
    pytest.importorskip("cv2")
    (coarse,), (fine,) = (flow_pictures([pattern(), pattern(*SHIFT)], "dis", bound) for bound in (20.0, 5.0))
    assert np.median(coarse[..., 2]) == pytest.approx(127.5 + 2.3 * 127.5 / 20, abs=2)
    assert np.median(fine[..., 2]) == pytest.approx(127.5 + 2.3 * 127.5 / 5, abs=5)


def test_without_the_contrib_modules_the_error_says_how_to_replace_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(__spec__=SimpleNamespace()))
    with pytest.raises(ExtractorError, match=r"without its contrib modules.*pip uninstall"):
        check_opencv("--flow needs", "tvl1")
    check_opencv("--flow needs", "dis")
    monkeypatch.setattr(optical_flow, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"OpenCV, which --flow needs, is not installed.*egotools\[flow\]"):
        check_opencv("--flow needs", "dis")


def test_rows_pair_each_frame_with_the_next_one_of_the_clip():
    video = VideoInfo(np.arange(20) / 10, 2.0, 64, 48)
    every = Flow(stride=1).windows(video, Clip("a", Path("v.mp4"), end=0.4))
    assert every.frames.tolist() == [[0, 1], [1, 2], [2, 3], [2, 3]]
    assert Flow(fps=1.0).windows(video, Clip("a", Path("v.mp4"))).frames.tolist() == [[5, 6], [15, 16]]
    assert Flow().windows(VideoInfo(np.zeros(1), 0.04, 8, 8), Clip("a", Path("v.mp4"))).frames.tolist() == [[0, 0]]


def test_rows_are_the_mean_length_in_pixels_of_the_squashed_frame():
    pytest.importorskip("cv2")
    extractor = Flow()
    still, moved = (extractor.prepare(frame) for frame in (pattern(), pattern(*SHIFT)))
    rows = extractor.network()(np.stack([[still, moved], [still, still]]))
    assert rows.shape == (2, 1)
    assert rows[0, 0] == pytest.approx(np.hypot(2.3 * 256 / 64, 1.2 * 256 / 48), rel=0.15)
    assert rows[1, 0] < 0.05
