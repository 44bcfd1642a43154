"""Windows as the published code cuts them: those that it recorded of a real file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audible import write_audible
from fill import DATA

from egotools.loading.files import Source, look_up
from egotools.methods.replai.examples import frames_around
from egotools.methods.replai.options import Sampling
from egotools.methods.replai.published import published_frames, published_run, published_sound

CASE = DATA / "replai" / "decode_windows_v_GGSY1Qvo990"
SIDES = {"l": 0, "r": 1}


@pytest.fixture(scope="module")
def source(shared: Path) -> Iterator[Source]:
    found = look_up((shared / "data" / "videos" / "v_GGSY1Qvo990.mp4", None), sound=True)
    assert isinstance(found, Source)
    return found


def windows(kind: str) -> list[dict[str, Any]]:
    """Those of sound, or of frames."""
    recorded = json.loads(CASE.with_suffix(".json").read_text())["windows"]
    return [each for each in recorded if (kind in each)]


def test_frames_are_those_that_were_recorded(source):
    assert source.index is not None
    assert source.index.frames.pts is not None
    for window in windows("pts"):
        found = published_frames(source, window["start"], window["end"])
        assert source.index.frames.pts[found].tolist() == window["pts"]
        run = published_run(source, window["start"], window["end"], np.random.default_rng(0))
        assert len(run) == window["nt_after_crop_or_pad"]
        with closing(source.open()) as frames:
            first, last = frames.frames(found[[0, -1]])
        np.testing.assert_allclose(first.mean((0, 1)), window["mean_rgb_first"], atol=0.5)
        np.testing.assert_allclose(last.mean((0, 1)), window["mean_rgb_last"], atol=0.5)


def test_the_run_begins_by_chance_but_never_last(source):
    window = next(each for each in windows("pts") if len(each["pts"]) == 10)
    first = published_frames(source, window["start"], window["end"])[0]
    rng = np.random.default_rng(0)
    begun = {int(published_run(source, window["start"], window["end"], rng)[0]) for _ in range(20)}
    assert begun == {first}  # of ten frames nine are taken: from the first, or the second, which is the last run


def test_sound_is_late_and_short_as_was_recorded(source):
    with closing(source.open_sound()) as sound, np.load(CASE.with_suffix(".npz"), allow_pickle=False) as recorded:
        whole = sound.alone(0.0, 18.0)
        for window in windows("audio_rms"):
            found = published_sound(sound, window["peak"] - 1, window["peak"] + 1)
            assert len(found) == window["returned_samples"]
            begin = window["source_first_sample"]
            np.testing.assert_allclose(found, whole[begin : begin + len(found)], atol=1e-4)
            assert float(np.sqrt((found.astype(np.float64) ** 2).mean())) == pytest.approx(
                window["audio_rms"], abs=1e-4
            )
        first = windows("audio_rms")[0]["peak"]
        found = published_sound(sound, first - 1, first + 1)[:256]
        np.testing.assert_allclose(found, recorded["audio_head"], atol=1e-4)


def test_rounding_may_lose_a_frame_after_the_moment(tmp_path):
    source = look_up((write_audible(tmp_path / "a.mp4", seconds=4), None), sound=True)
    assert isinstance(source, Source)
    rng, published = np.random.default_rng(0), Sampling(frame_windows="published")
    moments = rng.uniform(0.6, 3.4, 400)
    after = [frames_around(source, moment, published, rng)[1] for moment in moments]
    repeated = sum(len(set(each.tolist())) == 7 for each in after)
    assert 2 <= repeated <= 60
    exact = [frames_around(source, moment, Sampling(), rng) for moment in moments]
    assert all(len(set(each.tolist())) == 8 for pair in exact for each in pair)
