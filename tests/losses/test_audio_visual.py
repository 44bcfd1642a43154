"""Losses of moments: the reference's values and gradients, of one process and of two, and precision."""

from __future__ import annotations

import pytest
import torch
from fill import DATA, input_of, parameter
from memdpc_files import Golden
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from egotools.losses.audio_visual import correspondence_loss, state_change_loss

RECORDED = DATA / "replai"
NAMES = ("xv_l", "xv_r", "xa")
NOISE = {"rtol": 1e-4, "atol": 1e-3}  # of the largest value: the loss is near 0, where float32 cancels


def rows(*, is_unit: bool = True) -> list[Tensor]:
    """What is seen before, after, and the sound, as the reference made them: [8, 128] each."""
    sound = input_of("xa", 8, 128)
    found = [*(0.5 * input_of(name, 8, 128) + 0.5 * sound for name in NAMES[:2]), sound]
    return [F.normalize(each, dim=1, eps=1e-12) if is_unit else each for each in found]


def leaves(**how: bool) -> list[torch.Tensor]:
    return [each.clone().requires_grad_() for each in rows(**how)]


@pytest.mark.parametrize(("way", "prefix"), [("through both", "grad_"), ("detached", "grad_detached_")])
def test_correspondence_and_its_gradients_are_the_references(way, prefix):
    golden, own = Golden("criterion_contrastive", RECORDED), leaves()
    targets = [each.detach() for each in own] if way == "detached" else own
    loss = correspondence_loss(*own, *targets)
    loss.backward()
    golden.check("loss", loss, **NOISE)
    for name, each in zip(NAMES, own, strict=True):
        golden.check(f"{prefix}{name}", each.grad, **NOISE)


def test_the_two_ways_of_gradients_differ():
    own = leaves()
    one, other = (
        torch.autograd.grad(correspondence_loss(*own, *targets), own[2])[0]
        for targets in (own, [each.detach() for each in own])
    )
    assert not torch.allclose(one, other, rtol=0.1)


def test_a_moment_that_is_not_among_the_targets_is_refused():
    own = rows()
    with pytest.raises(ValueError, match="8 moments from number 1 on are not among 8 targets"):
        correspondence_loss(*own, *own, first=1)


def test_state_change_and_its_gradients_are_the_references():
    golden, (before, after, sound) = Golden("criterion_astc", RECORDED), leaves(is_unit=False)
    difference = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 128))
    difference.load_state_dict({name: parameter(name, tuple(it.shape)) for name, it in difference.state_dict().items()})
    loss, forward, backward = state_change_loss(difference(after - before), difference(before - after), sound)
    loss.backward()
    for name, found in {"loss": loss, "logit_forward": forward, "logit_backward": backward}.items():
        golden.check(name, found)
    for name, each in zip(NAMES, (before, after, sound), strict=True):
        golden.check(f"grad_{name}", each.grad)
    for name, each in difference.named_parameters():
        golden.check(f"grad_norm_{name}", each.grad.norm())


def test_both_are_float32_even_under_autocast():
    own = [each.bfloat16() for each in rows()]
    with torch.autocast("cpu", torch.bfloat16):
        found = [correspondence_loss(*own, *own), *state_change_loss(*own)]
    assert {each.dtype for each in found} == {torch.float32}
    torch.testing.assert_close(found[0], correspondence_loss(*(each.float() for each in [*own, *own])))


def test_each_of_two_processes_has_the_references_loss_and_gradients():
    """As each computes it with the targets of both; that these are gathered so is tested with RepLAI's network."""
    golden, found = Golden("criterion_contrastive_world2", RECORDED), []
    for rank in range(2):
        own = [each.chunk(2)[rank].clone().requires_grad_() for each in rows()]
        loss = correspondence_loss(*own, *rows(), first=4 * rank)
        found.append((loss, *torch.autograd.grad(loss, own)))
    losses, *gradients = zip(*found, strict=True)
    golden.check("loss", torch.stack(losses), **NOISE)
    for name, each in zip(NAMES, gradients, strict=True):
        golden.check(f"grad_{name}", torch.cat(each), **NOISE)
