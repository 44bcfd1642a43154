"""RepLAI's options, schedules and order: what the reference recorded, and what is refused."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from fill import DATA
from memdpc_files import Golden

from egotools.loading.order import Order
from egotools.methods.replai.network import Pretraining
from egotools.methods.replai.options import ReplaiOptions
from egotools.methods.replai.run import SAMPLER_SEED
from egotools.methods.replai.training import optimizer_for, rate_at, schedule_remarks
from egotools.training.fit import _set_rate

RECORDED = DATA / "replai"
FIVE = 5.0  # steps of an epoch


def rates(options: ReplaiOptions, epochs: int) -> tuple[list[float], list[float], list[float]]:
    """Of heads and networks, and the momentum, in the second step of each epoch, as the optimizer has them."""
    model = Pretraining(10)
    optimizer = optimizer_for(model, options)
    found = []
    for epoch in range(epochs):
        _set_rate(optimizer, rate_at(int(epoch * FIVE) + 1, options=options, epoch=FIVE))
        heads, below = optimizer.param_groups
        assert heads["momentum"] == below["momentum"]
        found.append((heads["lr"], below["lr"], heads["momentum"]))
    return tuple(map(list, zip(*found, strict=True)))


def test_the_schedules_are_the_published_ones_and_the_networks_rate_is_their_own():
    golden = Golden("lr_schedules_pretrain_probe", RECORDED).outputs
    heads, below, momentum = rates(ReplaiOptions(backbone_lr_mult=0.1), 100)
    np.testing.assert_allclose(heads, golden["onecycle_lr"], rtol=1e-9)
    np.testing.assert_allclose(momentum, golden["onecycle_momentum"], rtol=1e-9)
    np.testing.assert_allclose(below, 0.1 * golden["onecycle_lr"], rtol=1e-9)  # the reference loses the factor
    heads, _, momentum = rates(ReplaiOptions(schedule="cosine"), 100)
    np.testing.assert_allclose(heads, golden["cosine_epoch_lr"], rtol=1e-9)
    assert set(momentum) == {0.9}
    np.testing.assert_allclose(
        rates(ReplaiOptions(schedule="step", milestones=(18, 24), epochs=30), 30)[0], golden["step_lr"], rtol=1e-9
    )


@pytest.mark.parametrize("more", [{"epochs": 2}, {"epochs": 100, "steps": 10}])
def test_each_step_has_its_own_rate_if_asked_for_and_the_last_is_the_lowest(more):
    options = ReplaiOptions(rate_every="step", **more)
    found = [rate_at(step, options=options, epoch=FIVE)["lr"] for step in range(10)]
    assert found[0] == pytest.approx(1 / 25)
    assert found[2] == max(found) == pytest.approx(1.0)  # 30 % of ten
    assert found[9] == pytest.approx(1 / 250000)
    assert schedule_remarks(options, FIVE) == []
    coarse = ReplaiOptions(**more)
    assert schedule_remarks(coarse, FIVE) == [
        "the rate changes each epoch, and there are 2: --rate-every step changes it smoothly"
    ]


def test_the_published_order_is_the_references_and_a_resumed_one_goes_on_in_it():
    golden = Golden("resumable_sampler", RECORDED).outputs
    order = Order(103, 8, seed=SAMPLER_SEED, draws="torch")
    batches = [[index for _, index in batch] for batch in islice(order.batches(), 24)]
    np.testing.assert_array_equal(batches[:12], golden["epoch0"])
    np.testing.assert_array_equal(batches[12:], golden["epoch1"])
    resumed = [[index for _, index in batch] for batch in islice(order.batches(12 + 3), 21)]
    np.testing.assert_array_equal(resumed[:9], golden["resumed_after_3_batches_of_epoch1"])
    np.testing.assert_array_equal(resumed[9:], golden["epoch2_after_resume"])


def test_processes_take_the_shares_of_torchs_distributed_sampler():
    sampler = [torch.utils.data.DistributedSampler(range(23), 2, rank, seed=0, drop_last=True) for rank in range(2)]
    for each in sampler:
        each.set_epoch(1)
    for rank, each in enumerate(sampler):
        order = Order(23, 3, seed=0, draws="torch", rank=rank, size=2)
        shares = [index for batch in islice(order.batches(order.per_epoch), order.per_epoch) for _, index in batch]
        assert shares == list(each)[: len(shares)]


def test_moments_can_be_left_out_in_two_ways_and_an_objective_gets_the_whole_weight():
    assert ReplaiOptions(without=("moments",)) == ReplaiOptions(moi="random")
    assert ReplaiOptions(without=("moments",)).moi == "random"
    assert ReplaiOptions().weights == (0.5, 0.5)
    assert ReplaiOptions(without=("state-change",)).weights == (1.0, 0.0)
    assert ReplaiOptions(without=("moments", "correspondence")).weights == (0.0, 1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"without": ("correspondence", "moments", "state-change")}, "leave nothing to learn"),
        ({"batch_size": 1}, "--batch-size must be 2 or more, as sounds are told apart, not 1"),
        ({"milestones": (3, 2)}, "--milestones must be ascending epochs, not 3,2"),
        ({"temperature": 0.0}, "--temperature must be above 0"),
        ({"momentum": -1.0}, "--momentum must be 0 or above"),
        ({"audio_duration": 0.02}, "--audio-duration must be 0.032 or above, a spectrum, not 0.02"),
        ({"audio_duration": float("inf")}, "--audio-duration must be"),
    ],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ReplaiOptions(**options)
