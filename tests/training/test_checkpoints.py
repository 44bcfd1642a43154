"""A checkpoint by itself: what it brings back, when it is due, and what cannot be resumed from."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from egotools.errors import OutputError, RunError
from egotools.stores import Recipe
from egotools.training import checkpoint as module
from egotools.training.checkpoint import Checkpoint
from egotools.training.runs import Run
from egotools.training.world import ALONE, World

CPU = torch.device("cpu")


class Counter:
    """Something with a state beside the model's."""

    def __init__(self, count):
        self.count = count

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state_dict):
        self.count = state_dict["count"]


@pytest.fixture
def run(tmp_path):
    return Run.begin(tmp_path / "r", Recipe({}))


def checkpoint(run, model, counter, every=0.0, world=ALONE):
    return Checkpoint(run, {"model": model, "counter": counter}, CPU, every, world)


def test_weights_states_and_randomness_come_back(run):
    model = nn.Linear(3, 2)
    torch.manual_seed(7)
    torch.rand(5)
    checkpoint(run, model, Counter(4)).save(12)
    expected, drawn = {name: value.clone() for name, value in model.state_dict().items()}, torch.rand(3)
    other, counter = nn.Linear(3, 2), Counter(0)
    torch.manual_seed(1)
    assert checkpoint(run, other, counter).restore() == 12
    assert counter.count == 4
    assert all(torch.equal(other.state_dict()[name], value) for name, value in expected.items())
    assert torch.equal(torch.rand(3), drawn)


def test_a_later_checkpoint_replaces_the_earlier_one(run):
    model, counter = nn.Linear(1, 1), Counter(1)
    place = checkpoint(run, model, counter)
    place.save(1)
    counter.count = 2
    place.save(5)
    assert checkpoint(run, model, Counter(0)).restore() == 5
    assert [path.name for path in run.path.glob("*.pt*")] == ["checkpoint.pt"]


def test_metrics_after_the_checkpoint_are_dropped(run):
    for step in (1, 2, 3):
        run.log({"step": step})
    place = checkpoint(run, nn.Linear(1, 1), Counter(0))
    place.save(2)
    assert place.restore() == 2
    assert [line["step"] for line in run.metrics()] == [1, 2]
    (run.path / "checkpoint.pt").unlink()
    assert place.restore() == 0
    assert run.metrics() == []


def test_without_a_run_nothing_is_saved_or_restored(tmp_path):
    place = checkpoint(None, nn.Linear(1, 1), Counter(0))
    place.save(1)
    place.save_if_due(1)
    assert place.restore() == 0


def test_it_is_due_after_the_seconds_and_after_twenty_times_what_saving_took(run, monkeypatch):
    now = [0.0]
    took = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    saved = []

    def write(path, content):
        saved.append(content["step"])
        now[0] += took[0]

    monkeypatch.setattr(module, "write_torch", write)
    place = checkpoint(run, nn.Linear(1, 1), Counter(0), every=30.0)
    for seconds, step in ((30.0, 1), (30.1, 2), (60.0, 3), (60.2, 4)):
        now[0] = seconds
        place.save_if_due(step)
    assert saved == [2, 4]
    took[0] = 10.0  # so the next one comes 200 s after this one's end
    now[0] = 100.0
    place.save_if_due(5)
    for seconds, step in ((309.9, 6), (310.1, 7)):
        now[0] = seconds
        place.save_if_due(step)
    assert saved == [2, 4, 5, 7]


class Second(World):
    """The second of two processes, for whose sake nothing is sent."""

    def gathered(self, value):
        return [value, value]


def test_only_the_first_process_writes_and_each_has_a_random_state(run):
    checkpoint(run, nn.Linear(1, 1), Counter(0), world=Second(rank=1, size=2)).save(3)
    assert not (run.path / "checkpoint.pt").exists()
    checkpoint(run, nn.Linear(1, 1), Counter(0), world=Second(rank=0, size=2)).save(3)
    assert len(torch.load(run.path / "checkpoint.pt", weights_only=True)["random"]) == 2
    with pytest.raises(RunError, match="2 processes, not 1"):
        checkpoint(run, nn.Linear(1, 1), Counter(0)).restore()


def test_processes_that_see_different_checkpoints_share_no_folder(run, monkeypatch):
    monkeypatch.setattr(Second, "gathered", lambda self, value: [0, 3])
    with pytest.raises(RunError, match="share the folder"):
        checkpoint(run, nn.Linear(1, 1), Counter(0), world=Second(rank=1, size=2)).restore()


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no checkpoint",
        saved({"step": 1, "random": [{"cpu": torch.get_rng_state(), "cuda": []}], "parts": {}}),
        saved({"random": [], "parts": {"model": nn.Linear(1, 1).state_dict(), "counter": {"count": 1}}}),
        saved({"step": 1, "random": [], "parts": {"model": nn.Linear(2, 1).state_dict(), "counter": {"count": 1}}}),
    ],
    ids=["empty", "text", "without the model", "without the step", "of another network"],
)
def test_what_cannot_be_resumed_from_is_one_line(run, content):
    (run.path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(RunError, match=r"checkpoint\.pt cannot be resumed from .*delete it to start over") as caught:
        checkpoint(run, nn.Linear(1, 1), Counter(0)).restore()
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_release_0_1_has_one_random_state_outside_a_list(run):
    model = nn.Linear(1, 1)
    state = {"cpu": torch.get_rng_state(), "cuda": []}
    parts = {"model": model.state_dict(), "counter": {"count": 9}}
    (run.path / "checkpoint.pt").write_bytes(saved({"step": 6, "random": state, "parts": parts}))
    drawn, counter = torch.rand(2), Counter(0)
    assert checkpoint(run, model, counter).restore() == 6
    assert (counter.count, torch.equal(torch.rand(2), drawn)) == (9, True)


def test_a_disk_error_is_an_output_error_and_keeps_the_last_one(run):
    place = checkpoint(run, nn.Linear(1, 1), Counter(0))
    place.save(1)
    (run.path / ".checkpoint.pt.part").mkdir()
    with pytest.raises(OutputError, match=r"checkpoint\.pt cannot be written"):
        place.save(2)
    assert place.restore() == 1
