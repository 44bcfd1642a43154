"""The training loop does what it says, whatever it trains."""

from __future__ import annotations

import json
from itertools import repeat

import pytest
import torch
from torch import nn

from egotools.errors import RunError
from egotools.stores.store import Recipe
from egotools.training.fit import fit
from egotools.training.runs import Run


class Counted(nn.Module):
    """A number that is pulled towards each batch; `seen` is what was trained on."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, batch):
        self.seen.append(batch)
        noise = torch.rand(1)  # so that the random state matters
        error = (self.value - batch - noise).square().sum()
        return {"loss": error, "twice": 2 * error}


def counting(first):
    return (float(number) for number in range(first, 1000))


def trained(run=None, *, steps=10, **options):
    torch.manual_seed(3)
    model = Counted()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    done = fit(model, counting, optimizer, run, steps=steps, **options)
    return model, optimizer, done


def lines(run):
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def test_so_many_steps_are_done_and_logged_as_means(tmp_path):
    run = Run(tmp_path, Recipe({}))
    model, _, done = trained(run, log_every=4)
    assert done == 10
    assert model.seen == [float(number) for number in range(10)]
    assert [line["step"] for line in lines(run)] == [4, 8, 10]
    assert all(line["twice"] == pytest.approx(2 * line["loss"]) for line in lines(run))


def test_figures_of_after_step_are_logged_whatever_the_interval(tmp_path):
    run = Run(tmp_path, Recipe({}))
    trained(run, steps=10, log_every=4, after_step=lambda done: {"found": done} if done % 3 == 0 or done == 4 else None)
    assert [(line["step"], line.get("found")) for line in lines(run)] == [
        (3, 3),
        (4, 4),
        (6, 6),
        (8, None),
        (9, 9),
        (10, None),
    ]
    assert ["loss" in line for line in lines(run)] == [False, True, False, True, False, True]
    trained(Run(tmp_path / "plain", Recipe({})), steps=10, log_every=4)
    assert [line["loss"] for line in lines(run) if "loss" in line] == [
        line["loss"] for line in lines(Run(tmp_path / "plain", Recipe({})))
    ]


def test_figures_between_two_lines_are_logged_once_by_a_resumed_training(tmp_path):
    run = Run(tmp_path, Recipe({}))
    options = {"log_every": 4, "after_step": lambda done: {"found": done}}
    trained(run, steps=4, **options)
    run.log({"step": 5, "found": 5})
    trained(run, steps=8, **options)
    assert [line["found"] for line in lines(run)] == list(range(1, 9))


def test_a_resumed_training_equals_an_uninterrupted_one_to_the_bit(tmp_path):
    whole, parts = Run(tmp_path / "whole", Recipe({})), Run(tmp_path / "parts", Recipe({}))
    expected, _, _ = trained(whole, steps=12, log_every=3)
    trained(parts, steps=6, log_every=3)
    torch.manual_seed(99)  # another process has another state
    resumed, _, done = trained(parts, steps=12, log_every=3)
    assert done == 12
    assert resumed.seen == [float(number) for number in range(6, 12)]
    assert torch.equal(resumed.value, expected.value)
    assert lines(parts) == lines(whole)


def test_figures_after_the_checkpoint_are_dropped(tmp_path):
    run = Run(tmp_path, Recipe({}))
    trained(run, steps=4, log_every=2)
    run.log({"step": 6, "loss": 1.0})
    trained(run, steps=8, log_every=2)
    assert [line["step"] for line in lines(run)] == [2, 4, 6, 8]
    assert lines(run)[2]["loss"] != 1.0


def test_the_rate_multiplies_what_the_optimizer_began_with():
    _, optimizer, _ = trained(rate=lambda step: 0.5**step, steps=3)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.25)


def test_gradients_are_shortened():
    model = Counted()
    fit(model, lambda first: repeat(1e6), torch.optim.SGD(model.parameters(), lr=1.0), None, steps=3, max_norm=0.1)
    assert model.value.item() == pytest.approx(0.3, rel=1e-4)


def test_it_ends_early_or_when_batches_end():
    steps = []
    _, _, done = trained(is_over=lambda: len(steps) >= 5, after_step=steps.append)
    assert done == 5
    model = Counted()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert fit(model, lambda first: iter([1.0, 2.0]), optimizer, None, steps=10) == 2


def test_further_state_is_restored(tmp_path):
    class Memory:
        def __init__(self):
            self.values = []

        def state_dict(self):
            return {"values": list(self.values)}

        def load_state_dict(self, state):
            self.values = state["values"]

    run, memory = Run(tmp_path, Recipe({})), Memory()
    trained(run, steps=3, state={"memory": memory}, after_step=memory.values.append)
    again = Memory()
    trained(run, steps=5, state={"memory": again}, after_step=lambda step: again.values.append(step))
    assert again.values == [1, 2, 3, 4, 5]


def test_a_damaged_checkpoint_is_one_line(tmp_path):
    run = Run(tmp_path, Recipe({}))
    trained(run, steps=2)
    (tmp_path / "checkpoint.pt").write_bytes(b"PK nothing")
    with pytest.raises(RunError, match="cannot be gone on from"):
        trained(run)


def test_a_checkpoint_of_another_network_is_one_line(tmp_path):
    run = Run(tmp_path, Recipe({}))
    trained(run, steps=2)
    other = nn.Linear(3, 3)
    with pytest.raises(RunError, match="cannot be gone on from"):
        fit(other, counting, torch.optim.SGD(other.parameters(), lr=0.1), run, steps=4)
