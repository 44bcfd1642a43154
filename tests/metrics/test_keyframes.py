"""Errors and losses of state changes against what the reference gave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fill import DATA

from egotools.losses.keyframe import state_change_losses
from egotools.metrics.keyframes import frame_rates, keyframe_errors, mean_of, share


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(DATA / "replai/pnr_stcc_metrics.npz"))


def test_errors_of_the_moment_are_the_references(golden):
    keyframe = np.where(golden["sc_label"] == 1, golden["pnr_frame"], np.nan)
    start, end = golden["start_frame"], golden["end_frame"]
    chosen = golden["keyframe_logits"].argmax(axis=1)
    errors = keyframe_errors(chosen, 16, start, end, keyframe, golden["fps"])
    np.testing.assert_allclose(errors, golden["error_sec"], rtol=1e-6)
    assert mean_of(errors) == pytest.approx(float(golden["error_sec_mean"]), rel=1e-6)
    assert share(golden["state_logits"].argmax(axis=1) == golden["sc_label"]) == pytest.approx(golden["accuracy"])


def test_a_clip_of_240_frames_in_8_s_has_more_than_30_a_second(golden):
    assert frame_rates(np.array([3000]), np.array([3240]), np.array([8.0])) == 30.125
    usual = golden["fps"] == 30.125
    assert usual.any()
    assert set(golden["end_frame"][usual] - golden["start_frame"][usual]) == {240}


def test_losses_are_the_references_with_clips_without_change_in_the_mean(golden):
    names = ("state_logits", "keyframe_logits", "sc_label", "keyframe_label")
    state, keyframe = state_change_losses(*(torch.from_numpy(golden[name]) for name in names))
    assert state.item() == pytest.approx(float(golden["state_loss"]), rel=1e-5)
    assert keyframe.item() == pytest.approx(float(golden["keyframe_loss"]), rel=1e-5)
    changed = torch.from_numpy(golden["sc_label"] == 1)
    alone = state_change_losses(*(torch.from_numpy(golden[name])[changed] for name in names))[1]
    assert keyframe.item() == pytest.approx(alone.item() * changed.float().mean().item(), rel=1e-5)


def test_nothing_has_no_figures():
    assert np.isnan(mean_of(np.array([np.nan])))
    assert np.isnan(share(np.zeros(0, bool)))
