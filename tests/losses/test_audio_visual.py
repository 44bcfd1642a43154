"""Losses of moments: the reference's values and gradients, of one process and of two, and precision."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import told_apart_together as together
import torch
from fill import DATA, parameter
from memdpc_files import Golden
from torch import nn

from egotools.losses.audio_visual import correspondence_loss, state_change_loss

RECORDED = DATA / "replai"
NOISE = {"rtol": 1e-4, "atol": 1e-3}  # of the largest value: the loss is near 0, where float32 cancels


def leaves(**how: bool) -> list[torch.Tensor]:
    return [each.clone().requires_grad_() for each in together.rows(**how)]


@pytest.mark.parametrize(("way", "prefix"), [("through both", "grad_"), ("detached", "grad_detached_")])
def test_correspondence_and_its_gradients_are_the_references(way, prefix):
    golden, rows = Golden("criterion_contrastive", RECORDED), leaves()
    targets = [each.detach() for each in rows] if way == "detached" else rows
    loss = correspondence_loss(*rows, *targets)
    loss.backward()
    golden.check("loss", loss, **NOISE)
    for name, each in zip(together.NAMES, rows, strict=True):
        golden.check(f"{prefix}{name}", each.grad, **NOISE)


def test_the_two_ways_of_gradients_differ():
    rows = leaves()
    one, other = (
        torch.autograd.grad(correspondence_loss(*rows, *targets), rows[2])[0]
        for targets in (rows, [each.detach() for each in rows])
    )
    assert not torch.allclose(one, other, rtol=0.1)


def test_a_moment_that_is_not_among_the_targets_is_refused():
    rows = together.rows()
    with pytest.raises(ValueError, match="8 moments from number 1 on are not among 8 targets"):
        correspondence_loss(*rows, *rows, first=1)


def test_state_change_and_its_gradients_are_the_references():
    golden, (before, after, sound) = Golden("criterion_astc", RECORDED), leaves(is_unit=False)
    difference = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 128))
    difference.load_state_dict({name: parameter(name, tuple(it.shape)) for name, it in difference.state_dict().items()})
    loss, forward, backward = state_change_loss(difference(after - before), difference(before - after), sound)
    loss.backward()
    for name, found in {"loss": loss, "logit_forward": forward, "logit_backward": backward}.items():
        golden.check(name, found)
    for name, each in zip(together.NAMES, (before, after, sound), strict=True):
        golden.check(f"grad_{name}", each.grad)
    for name, each in difference.named_parameters():
        golden.check(f"grad_norm_{name}", each.grad.norm())


def test_both_are_float32_even_under_autocast():
    rows = [each.bfloat16() for each in together.rows()]
    with torch.autocast("cpu", torch.bfloat16):
        found = [correspondence_loss(*rows, *rows), *state_change_loss(*rows)]
    assert {each.dtype for each in found} == {torch.float32}
    torch.testing.assert_close(found[0], correspondence_loss(*(each.float() for each in [*rows, *rows])))


@pytest.mark.integration
def test_two_processes_have_the_references_losses_and_gradients(tmp_path: Path):
    """With detached targets the recorded ones; else, averaged over processes, those of one process."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*line, together.__file__, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(DATA.parent)},
    )
    assert done.returncode == 0, done.stderr
    found = {
        way: [torch.load(tmp_path / f"{way}{rank}.pt", weights_only=True) for rank in range(2)]
        for way in ("detached", "gathered")
    }
    golden, alone = Golden("criterion_contrastive_world2", RECORDED), Golden("criterion_contrastive", RECORDED)
    golden.check("loss", torch.stack([each["loss"] for each in found["detached"]]), **NOISE)
    alone.check("loss", torch.stack([each["loss"] for each in found["gathered"]]).mean(), **NOISE)
    for name in together.NAMES:
        golden.check(f"grad_{name}", torch.cat([each[f"grad_{name}"] for each in found["detached"]]), **NOISE)
        alone.check(f"grad_{name}", torch.cat([each[f"grad_{name}"] for each in found["gathered"]]) / 2, **NOISE)
