"""The benchmarks of RepLAI: made clips are what they say, failed runs count as the worst, and ratios are there."""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from egotools.lowlevel.moments import moments
from egotools.media.video import open_frames

pytestmark = pytest.mark.integration


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    return importlib.import_module(name)


def heard(path: Path) -> tuple[np.ndarray, int]:
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), frames[0].sample_rate


def test_a_made_clip_shows_and_sounds_as_it_says(tmp_path, monkeypatch):
    clips = benchmark("replai_clips", monkeypatch)
    for number, direction in ((4, "open"), (5, "close")):
        made = clips.write_clip(tmp_path / "a.mp4", number)
        assert made.direction == direction
        samples, rate = heard(tmp_path / "a.mp4")
        found = moments(samples, rate, 1.0)
        assert found.times == pytest.approx([made.moment], abs=0.02)
        after = samples[round((made.moment + 0.02) * rate) :][: rate // 5]
        strength = np.abs(np.fft.rfft(after * np.hanning(len(after))))
        tones = np.fft.rfftfreq(len(after), 1 / rate)
        low, high = (strength[(tones > a) & (tones < b)].sum() for a, b in ((60, 190), (3_000, 7_000)))
        assert (low < high) == (direction == "open")
        strength[(tones < 220) | (tones > 2_300)] = 0
        assert tones[strength.argmax()] == pytest.approx(made.pitch, rel=0.03)

        with closing(open_frames(tmp_path / "a.mp4")) as frames:
            pictures = list(frames.frames(range(len(frames.info.times))))
        white = [(picture.min(axis=2) > 235).sum() for picture in (pictures[2], pictures[-3])]
        assert (white[0] < white[1]) == (direction == "open")


def test_directions_and_hues_have_nothing_to_do_with_each_other(monkeypatch, tmp_path):
    clips = benchmark("replai_clips", monkeypatch)
    monkeypatch.setattr(clips, "_write", lambda *given: None)
    monkeypatch.setattr(clips, "pictures", lambda *given: None)
    monkeypatch.setattr(clips, "sound", lambda *given: None)
    made = [clips.write_clip(tmp_path, number) for number in range(576)]
    opens = np.array([each.direction == "open" for each in made])
    assert opens.mean() == 0.5
    hues = np.array([each.attribute for each in made])
    assert abs(np.corrcoef(opens, hues)[0, 1]) < 0.1
    assert all(clips.MARGIN <= each.moment <= each.seconds - clips.MARGIN for each in made)


def test_a_failed_run_counts_as_the_worst(monkeypatch):
    learning = benchmark("replai_learning", monkeypatch)
    found = learning.medians_of([{"auc": 0.9, "minutes": 5.0}, {"minutes": float("inf")}, {"minutes": float("inf")}])
    assert found == {"auc": 0.0, "minutes": float("inf")}
    assert not learning.MADE["auc"].is_met(found["auc"])
    assert learning.MADE["order_shuffled"].is_met(0.5)
    assert not learning.MADE["order_shuffled"].is_met(0.0)


@pytest.mark.skipif(sys.platform != "linux", reason="processor seconds of children are read from /proc")
def test_steps_passes_and_a_probe_are_compared(tmp_path, monkeypatch, capsys):
    path = tmp_path / "figures.json"
    benchmark("replai_step", monkeypatch).main(["--quick", "--json", str(path)])
    found = {row["name"]: row["value"] for row in json.loads(path.read_text())["ratios"]}
    assert found["(v) EPIC probe, 10 clips"] == pytest.approx(2.7, abs=0.01)
    assert found["(v) anticipation, 80 actions a clip"] == pytest.approx(50 * 4 * 57 / (5 * 80))
    assert found["(v) 30 frozen epochs / probe off a cache, 40 actions"] > 0
    assert "(v) a step, contiguous float32" in capsys.readouterr().out
