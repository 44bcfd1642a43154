"""The training loop does what it says, whatever it trains."""

from __future__ import annotations

import io
import json
import math
from itertools import repeat

import pytest
import torch
from torch import nn

from egotools.errors import OutputError, RunError, TrainingError
from egotools.stores.store import Recipe
from egotools.training import checkpoint
from egotools.training.checkpoint import Checkpoint
from egotools.training.fit import fit
from egotools.training.how import How
from egotools.training.runs import Run
from egotools.training.world import ALONE


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


def trained(run=None, *, steps=10, log_every=None, save_every=30.0, **options):
    torch.manual_seed(3)
    model = Counted()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    options.setdefault("how", How(log_every=log_every, save_every=save_every))
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
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    fit(model, lambda first: repeat(1e6), optimizer, None, steps=3, how=How(max_norm=0.1))
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
    with pytest.raises(RunError, match="cannot be resumed from"):
        trained(run)


def test_a_checkpoint_of_another_network_is_one_line(tmp_path):
    run = Run(tmp_path, Recipe({}))
    trained(run, steps=2)
    other = nn.Linear(3, 3)
    with pytest.raises(RunError, match="cannot be resumed from"):
        fit(other, counting, torch.optim.SGD(other.parameters(), lr=0.1), run, steps=4)


def test_a_schedule_of_several_options_multiplies_what_each_began_with(tmp_path):
    def rate(step):
        return {"lr": 0.5**step, "momentum": 1 - 0.1 * step}

    run = Run(tmp_path, Recipe({}))
    for steps in (2, 4):  # the second is resumed
        _, optimizer, _ = trained(run, steps=steps, rate=rate)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**3)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.9 * 0.7)


class Linear(nn.Module):
    """A linear regression on batches (x [B, 3], y [B])."""

    def __init__(self, weight=0.5):
        super().__init__()
        self.linear = nn.Linear(3, 1)
        nn.init.constant_(self.linear.weight, weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, batch):
        return {"loss": (self.linear(batch[0]).squeeze(1) - batch[1]).square().mean()}


def pairs(count, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count * size, 3, generator=generator)
    return list(zip(x.split(size), (x @ torch.tensor([1.0, -2.0, 3.0])).split(size), strict=True))


def regression(batches, run=None, *, steps, how=How(), **options):  # noqa: B008 - frozen
    model = Linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    done = fit(model, lambda first: batches[first:], optimizer, run, steps=steps, how=how, **options)
    return model.linear.weight.detach(), done


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_batches_are_one_batch(accumulate, tmp_path):
    large = pairs(4, 4 * accumulate)
    small = [pair for x, y in large for pair in zip(x.split(4), y.split(4), strict=True)]
    whole, parts = Run(tmp_path / "whole", Recipe({})), Run(tmp_path / "parts", Recipe({}))
    expected, _ = regression(large, whole, steps=4, how=How(log_every=1))
    how = How(accumulate=accumulate, log_every=1)
    regression(small, parts, steps=2, how=how)
    found, done = regression(small, parts, steps=4, how=how)  # resumed with the batch that follows
    assert done == 4
    torch.testing.assert_close(found, expected)
    for one, other in zip(lines(parts), lines(whole), strict=True):
        assert one == pytest.approx(other, rel=1e-5)  # float32 means of a few numbers


def test_batches_that_do_not_suffice_for_a_step_make_none():
    assert regression(pairs(5, 4), steps=10, how=How(accumulate=2))[1] == 2


@pytest.mark.parametrize(("count", "steps"), [(0, 10), (1, 10), (5, 0)])
def test_a_training_without_a_step_is_an_error_and_leaves_no_checkpoint(count, steps, tmp_path):
    with pytest.raises(TrainingError, match=f"no training took place: {steps} steps were requested"):
        regression(pairs(count, 4), Run(tmp_path, Recipe({})), steps=steps, how=How(accumulate=2))
    assert not any(tmp_path.iterdir())


def test_bf16_computes_the_forward_pass_only(tmp_path):
    seen = []

    class Spying(Linear):
        def forward(self, batch):
            seen.append(self.linear(batch[0]).dtype)
            return super().forward(batch)

    model, run = Spying(), Run(tmp_path, Recipe({}))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    fit(model, lambda first: pairs(3, 8), optimizer, run, steps=3, how=How(precision="bf16", log_every=3))
    assert seen == [torch.bfloat16] * 3
    assert model.linear.weight.dtype == torch.float32
    expected, _ = regression(pairs(3, 8), Run(tmp_path / "32", Recipe({})), steps=1, how=How(log_every=3))
    assert lines(run)[0]["loss"] > 0
    assert not torch.equal(model.linear.weight, expected)


def test_fp16_needs_a_gpu():
    with pytest.raises(TrainingError, match=r"fp16 needs a GPU .* not cpu; choose bf16 or float32"):
        trained(how=How(precision="fp16"))


@pytest.mark.parametrize("options", [{"max_norm": 0.0}, {"accumulate": 0}, {"log_every": -1}, {"save_every": -1.0}])
def test_nonsense_is_refused(options):
    with pytest.raises(ValueError, match="must be"):
        How(**options)


def test_defaults_are_no_part_of_the_identity():
    assert How(log_every=3, save_every=1.0).identity == {}
    assert How(precision="bf16", accumulate=2).identity == {"precision": "bf16", "accumulate": 2}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_training_and_the_last_good_checkpoint_stays(bad, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "save_if_due", Checkpoint.save)
    run = Run(tmp_path, Recipe({}))
    fine, how = pairs(9, 4), How(log_every=3)
    batches = [*fine[:6], (torch.full((4, 3), bad), torch.zeros(4)), *fine]
    with pytest.raises(TrainingError, match=f"(nan|inf) at step 9.*{tmp_path}: the last checkpoint"):
        regression(batches, run, steps=16, how=how)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 6
    assert [line["step"] for line in lines(run)] == [3, 6]
    good, _ = regression(fine, Run(tmp_path / "good", Recipe({})), steps=9, how=how)
    resumed, done = regression(fine, run, steps=9, how=how)  # the same line with data that was mended
    assert done == 9
    assert torch.equal(resumed, good)


def test_nothing_is_kept_of_a_loss_that_is_not_finite_and_was_never_logged(tmp_path):
    batches = [*pairs(2, 4), (torch.full((4, 3), math.nan), torch.zeros(4))]
    for run, left in ((None, "lower"), (Run(tmp_path, Recipe({})), f"{tmp_path}: there is no checkpoint yet; lower")):
        with pytest.raises(TrainingError, match=f"the loss is nan at step 3, so training ended; {left}"):
            regression(batches, run, steps=100)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_saving_takes_a_twentieth_of_the_time_at_most(tmp_path, monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])

    def write(path, content):
        saved.append(now[0])
        now[0] += 3.0  # so long it takes

    def after_step(done):
        now[0] += 1.0

    monkeypatch.setattr(checkpoint, "write_torch", write)
    trained(Run(tmp_path, Recipe({})), steps=200, log_every=1, save_every=10.0, after_step=after_step)
    assert saved == [11.0, 75.0, 139.0, 203.0, 212.0]  # after 10 s, then 60 s apart, and the last step's
    assert sum(3.0 for _ in saved[:-1]) <= 0.05 * now[0] + 3.0


def test_checkpoints_of_release_0_1_are_resumed_from(tmp_path):
    whole, run = Run(tmp_path / "whole", Recipe({})), Run(tmp_path / "run", Recipe({}))
    expected, _, _ = trained(whole, steps=8, log_every=2)
    trained(run, steps=4, log_every=2)
    content = torch.load(run.path / "checkpoint.pt", weights_only=True)
    content["random"] = content["random"][0]  # one process, which was not said
    torch.save(content, run.path / "checkpoint.pt")
    resumed, _, _ = trained(run, steps=8, log_every=2)
    assert torch.equal(resumed.value, expected.value)
    content["random"] = [content["random"]] * 2
    torch.save(content, run.path / "checkpoint.pt")
    with pytest.raises(RunError, match="is of 2 processes, not 1: resume with as many"):
        trained(run, steps=8)


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(28, "No space left on device")

    run = Run(tmp_path, Recipe({}))
    trained(run, steps=2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: save(content, Full()))
    with pytest.raises(OutputError, match=r"checkpoint\.pt cannot be written: No space left on device"):
        trained(run, steps=4)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*.part"))


def test_a_checkpoint_goes_straight_to_the_file(tmp_path, monkeypatch):
    found, save = [], torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: (found.append(file.fileno()), save(content, file)))
    trained(Run(tmp_path, Recipe({})), steps=1)
    assert len(found) == 1  # a file of the system's, not a buffer in memory


def test_without_a_run_nothing_is_saved():
    checkpoint_of_none = Checkpoint(None, {}, torch.device("cpu"), 0.0, world=ALONE)
    checkpoint_of_none.save_if_due(3)
    assert checkpoint_of_none.restore() == 0


@pytest.mark.gpu
def test_fp16_trains_on_a_gpu_and_resumes_to_the_bit(tmp_path):
    """With dropout, so that the GPU's random state matters."""

    def fitted(folder, steps):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Dropout(0.2), Linear()).cuda()
        model.forward = lambda batch: model[1]((model[0](batch[0].cuda()), batch[1].cuda()))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
        how, run = How(precision="fp16", log_every=2, max_norm=1.0), Run(folder, Recipe({}))
        fit(model, lambda first: pairs(12, 8)[first:], optimizer, run, steps=steps, how=how)
        return model[1].linear.weight.detach().cpu()

    expected = fitted(tmp_path / "whole", 12)
    fitted(tmp_path / "parts", 6)
    torch.cuda.manual_seed(99)
    assert torch.equal(fitted(tmp_path / "parts", 12), expected)
    losses = [line["loss"] for line in lines(Run(tmp_path / "parts", Recipe({})))]
    assert losses[-1] < losses[0]
