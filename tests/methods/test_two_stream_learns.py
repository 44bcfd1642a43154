"""Pre-training on generated views: the loss falls, and the views come closer without becoming constants."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from egotools.methods.two_stream.options import TwoStream
from egotools.methods.two_stream.run import train_two_stream


@pytest.fixture
def views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Manifest and cache of eight recordings, seen by two cameras."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    manifest, _, cache = importlib.import_module("two_views").write(tmp_path / "views", 0, {"pair": 6, "val": 2})
    return manifest, cache


@pytest.mark.parametrize(("objective", "rate"), [("view-invariance", 1.0), ("sync-kd", 0.3)])
def test_the_loss_falls_and_views_that_were_not_seen_come_closer_without_collapse(views, tmp_path, objective, rate):
    manifest, cache = views
    config = TwoStream(objective, size="small", chunk=12, batch_size=1, epochs=24, learning_rate=rate)
    report, _ = train_two_stream(tmp_path / "run", manifest, [cache], config, device="cpu")
    before, last = report["before"], report["last"]
    assert last["loss"] < 0.5 * before["loss"]
    assert last["distance"] < 0.9 * last["raw_distance"] < before["distance"]
    assert last["relative_distance"] < 0.97 * min(last["raw_relative_distance"], before["relative_distance"])
    assert last["variance"] > 0.7 * last["raw_variance"]
