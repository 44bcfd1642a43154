"""Learners of Memory Storyboard: the reference's losses, gradients and steps; which images a term is of."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from fill import input_of
from storyboard_networks import LABELS, filled_again, near, recorded, recorded_state
from torch import Tensor

from egotools.losses.contrastive import barlow_twins, nt_xent, supervised_contrastive
from egotools.methods.storyboard.learners import METHODS, Learner, Views, learner_optimizer
from egotools.nn.storyboard import ResNet

CASES: dict[str, dict[str, Any]] = {
    "simclr_supcon": {"method": "simclr", "tc_curr_coef": 0.5},
    "simclr_tc": {"method": "simclr-tc", "classes": 64},
    "tc": {"method": "tc", "classes": 64},
    "simsiam_supcon": {"method": "simsiam"},
    "simsiam_supcon_evalmode": {"method": "simsiam"},  # as with --merge-freezes-norm after a merge
    "simsiam_supcon_r18_bn": {"method": "simsiam", "norm": "batch"},
    "simsiam_tc": {"method": "simsiam-tc", "classes": 64},
    "osiris": {"method": "osiris"},
    "osiris_train_script": {"method": "osiris", "osiris": "storyboard"},
}


def batch(name: str = "batch") -> Views:
    return Views(input_of(name, 8, 2, 3, 64, 64).transpose(0, 1), torch.tensor(LABELS), current=2)


def small(labels: tuple[int, ...] = (4, 4, 4, 7, 7, 5), current: int = 2) -> Views:
    return Views(torch.randn(2, len(labels), 3, 32, 32), torch.tensor(labels), current)


def learner(method: str = "simclr", **options: Any) -> Learner:
    return filled_again(partial(Learner, method, 18, classes=9, **options))


def gradient_norm(model: Learner, part: str) -> Tensor:
    found = [each.grad.double() for each in model.get_submodule(part).parameters() if each.grad is not None]
    return torch.stack([each.square().sum() for each in found]).sum().sqrt() if found else torch.zeros(())


def sliced(tensor: Tensor, rule: str) -> Tensor:
    """What a name such as `x.weight[:3,:40]` says was recorded."""
    for axis, end in enumerate(rule.rstrip("]").split(",")):
        tensor = tensor.narrow(axis, 0, int(end.strip(" :")))
    return tensor


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_the_references(case):
    model, wanted = filled_again(partial(Learner, depth=18, **CASES[case])), recorded(f"method_{case}")
    shapes = [(name, [*each.shape]) for name, each in model.state_dict().items()]
    assert shapes == [*recorded_state(f"method_{case}").items()]
    model.train(not case.endswith("evalmode"))
    found = model(batch())
    found["loss"].backward()
    values = dict(model.named_buffers()) | {name: each.grad for name, each in model.named_parameters()}
    seen = set()
    for name, value in wanted.items():
        kind, _, rest = name.partition(".")
        if kind == "gradnorm":
            near(gradient_norm(model, rest), value, rtol=5e-3, atol=1e-9)
        elif kind in ("grad", "buffer"):
            part, _, rule = rest.partition("[")
            near(sliced(values[part], rule), value, rtol=5e-3, of_largest=8e-3 if "_bn" in case else 2e-3)
        elif (figure := rest or kind) in found:
            near(found[figure], value, rtol=1e-4, atol=2e-5)
            seen.add(figure)
        else:
            assert value == 0, figure  # of a term that is not built, and that the published scripts switch off
    assert seen == found.keys() - {"tc_curr_loss"} | ({"tc_curr_loss"} & {name[4:] for name in wanted})


@pytest.mark.parametrize(
    ("case", "method", "rate", "rtol"), [("simsiam_sgd", "simsiam", 0.05, 1e-3), ("simclr_adam", "simclr", 0.001, 5e-3)]
)
def test_three_steps_are_the_references(case, method, rate, rtol):
    model, wanted = filled_again(partial(Learner, method, 18)), recorded(f"train3_{case}")
    optimizer = learner_optimizer(model, rate)
    losses = []
    for step in range(3):
        found = model(batch(f"batch{step}"))
        optimizer.zero_grad()
        found["loss"].backward()
        optimizer.step()
        losses.append([found[name].item() for name in ("loss", "curr_loss", "tc_loss")])
    near(torch.tensor(losses), wanted["losses"], rtol=rtol, atol=2e-5)
    for name, value in wanted.items():
        kind, _, part = name.partition(".")
        if kind == "paramnorm":
            squares = [each.double().square().sum() for each in model.get_submodule(part).parameters()]
            near(torch.stack(squares).sum().sqrt(), value, rtol=1e-3)
        elif name != "losses":
            part, _, rule = name.partition("[")
            near(sliced(model.get_parameter(part), rule), value, rtol=1e-3, of_largest=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_with_its_optimizer_and_logs_its_terms(method):
    model = learner(method)
    kinds = {"simsiam": torch.optim.SGD, "simsiam-tc": torch.optim.SGD}
    optimizer = learner_optimizer(model, 0.01)
    assert type(optimizer) is kinds.get(method, torch.optim.Adam)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {1e-4 if method in kinds else 0}
    found = model(small())
    own = ("cross_loss", "replay_loss") if method == "osiris" else ("tc_loss", "tc_curr_loss")
    assert set(found) == {"loss", "curr_loss", *own}
    assert all(each.shape == () and each.isfinite() for each in found.values())
    found["loss"].backward()
    assert model.backbone.conv1.weight.grad.any()


def test_a_term_of_weight_zero_leaves_its_head_as_it_was():
    model = learner("simsiam", tc_loss_coef=0.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = learner_optimizer(model, 0.05)
    model(small())["loss"].backward()
    optimizer.step()
    same = {name for name, value in model.named_parameters() if value.dim() > 1 and torch.equal(value, before[name])}
    assert same == {"supcon_projector.0.weight", "supcon_projector.2.weight"}  # no weight decay either


def test_the_temporal_term_is_of_the_memory_that_was_asked_for():
    views = small((4, 4, 5, 4, 5, 5), current=3)

    def term(those: slice, **options: Any) -> tuple[Tensor, Tensor]:
        model = learner(curr_loss_coef=0.0, **options).eval()
        rows = [model.supcon_projector(model.backbone(view)[those]) for view in views.views]
        return model(views)["loss"], supervised_contrastive(torch.cat(rows), views.labels[those].repeat(2))

    for found, wanted in (
        term(slice(3, 6)),
        term(slice(3), tc_loss_coef=0.0, tc_curr_coef=1.0),
        term(slice(6), concatenated=True),
    ):
        torch.testing.assert_close(found, wanted)
    both = learner(tc_curr_coef=0.5)(views)
    torch.testing.assert_close(both["loss"], both["curr_loss"] + both["tc_loss"] + 0.5 * both["tc_curr_loss"])


def test_osiris_predicts_with_a_copy_of_its_projector_and_compares_the_memories():
    model = Learner("osiris", 18)
    assert all(
        torch.equal(value, model.predictor.state_dict()[name]) for name, value in model.projector.state_dict().items()
    )
    views = small()
    with torch.no_grad():
        found, near_ones = model(views), [model.projector(model.backbone(view[:2])) for view in views.views]
    torch.testing.assert_close(found["curr_loss"], nt_xent(*near_ones))
    torch.testing.assert_close(found["loss"], found["curr_loss"] + (found["cross_loss"] + found["replay_loss"]) / 2)
    assert not hasattr(learner("osiris", osiris="storyboard"), "predictor")


def test_barlow_twins_has_a_projector_of_three_layers_and_the_temporal_term():
    model, views = learner("barlow-twins"), small()
    found = model(views)
    wanted = barlow_twins(*(model.projector(model.backbone(view)) for view in views.views))
    torch.testing.assert_close(found["curr_loss"], wanted.detach())
    torch.testing.assert_close(found["loss"], found["curr_loss"] + found["tc_loss"])
    assert [(each.in_features, each.out_features) for each in model.projector if isinstance(each, torch.nn.Linear)] == [
        (512, 2048), (2048, 2048), (2048, 2048)
    ]  # fmt: skip


def test_features_of_both_views_are_told_to_whom_asked():
    model, views = learner(), small()
    told: list[torch.Tensor] = []
    model.tell = told.append
    model(views)
    (found,) = told
    assert not found.requires_grad
    torch.testing.assert_close(found, torch.stack([model.backbone(view) for view in views.views]).detach())


def test_heads_and_losses_are_computed_in_float32_under_autocast():
    model, views = learner(tc_curr_coef=1.0), small()
    seen = []
    model.projector.register_forward_hook(lambda _, given, found: seen.append((given[0].dtype, found.dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        found = model(views)
    assert set(seen) == {(torch.float32, torch.float32)}
    assert {each.dtype for each in found.values()} == {torch.float32}
    torch.testing.assert_close(found["loss"], model(views)["loss"], rtol=0.05, atol=0)


def test_a_seed_draws_the_backbone_first():
    torch.manual_seed(3)
    wanted = ResNet(18).state_dict()
    torch.manual_seed(3)
    assert all(torch.equal(value, wanted[name]) for name, value in Learner("simsiam", 18).backbone.state_dict().items())


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(ValueError, match="--method tc: all its terms have the weight 0, so nothing would be learned"):
        learner("tc", tc_loss_coef=0.0)
    with pytest.raises(ValueError, match="--method simsiam-tc classifies, and needs a class at least, not 0"):
        Learner("simsiam-tc", 18)
    with pytest.raises(ValueError, match="the temporal term tc_loss has no images in this batch"):
        learner()(small(current=6))
    with pytest.raises(ValueError, match="the Osiris term cross_loss has no images in this batch"):
        learner("osiris")(small(current=0))
