"""The matching loss: the reference's values and gradients, precision, and two processes that share their negatives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matched_together
import pytest
import torch
from memdpc_files import Golden

from egotools.losses.matching import matching_loss


def rows(golden: Golden) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    prediction, target = golden.input("pred").requires_grad_(), golden.input("target").requires_grad_()
    return prediction, target, prediction.permute(0, 2, 3, 4, 1).flatten(0, 3), target.flatten(1).t()


def test_losses_and_gradients_are_the_references():
    golden = Golden("loss")
    prediction, target, *both = rows(golden)
    loss, scores = matching_loss(*both)
    loss.backward()
    golden.check("loss", loss)
    golden.check("loss_per_row", scores.logsumexp(1) - scores.diagonal())
    golden.check("grad.pred", prediction.grad)
    golden.check("grad.target", target.grad)


def test_rows_may_begin_in_the_middle_of_the_targets(rng):
    predictions, targets = (torch.from_numpy(rng.standard_normal((count, 4))) for count in (3, 8))
    loss, scores = matching_loss(predictions, targets, first=2)
    assert scores.shape == (3, 8)
    assert loss.item() == pytest.approx((scores.logsumexp(1) - scores.diagonal(2)).mean().item())


def test_a_row_without_target_is_refused():
    with pytest.raises(ValueError, match="do not have one"):
        matching_loss(torch.zeros(3, 4), torch.zeros(4, 4), first=2)


def test_scores_of_bf16_rows_are_float32_even_under_autocast():
    x = torch.randn(8, 64).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss, scores = matching_loss(x, x)
    assert (loss.dtype, scores.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(scores, x.float() @ x.float().t())


@pytest.mark.integration
@pytest.mark.parametrize("gathers", [True, False])
def test_two_processes_learn_as_one(gathers, tmp_path: Path):
    """With shared negatives as from the joined batch, without as from the mean of the two halves."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*line, matched_together.__file__, str(tmp_path / "g.pt"), str(int(gathers))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "g.pt", weights_only=True)
    wanted = matched_together.alone(gathers)
    assert found["loss"].item() == pytest.approx(wanted["loss"].item(), rel=1e-5)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-8 * value.abs().max().item())
