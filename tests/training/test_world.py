"""Two processes under torchrun train as one process with batches twice as large."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import trained_together
from trained_together import ACCUMULATED, SIZE, STEPS, batches, train

from egotools.errors import RunError, TrainingError
from egotools.training.world import ALONE, World, joined

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have trained."""
    folder = tmp_path_factory.mktemp("together")
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*line, trained_together.__file__, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / "checkpoint.pt", weights_only=True)["parts"]["model"]
    return found


def test_losses_and_weights_are_those_of_one_process_with_the_double_batch(together: Path, tmp_path: Path) -> None:
    model = train(tmp_path, partial(batches, 2 * SIZE, 0, 1))
    assert [line["step"] for line in lines(together / "plain")] == list(range(1, STEPS + 1))  # one process wrote
    for one, other in zip(lines(together / "plain"), lines(tmp_path), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)  # float32 sums of eight numbers
    found = weights(together / "plain")
    assert list(found) == list(model.state_dict())  # the bare module's names
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found[name], value)


def test_accumulated_batches_are_synchronized_once_a_step(together: Path, tmp_path: Path) -> None:
    expected = train(tmp_path, partial(batches, 2 * SIZE, 0, 1), steps=STEPS // 2, how=ACCUMULATED)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(weights(together / "accumulated")[name], value)
    found = [line["loss"] for line in lines(together / "accumulated")]
    assert found == pytest.approx([line["loss"] for line in lines(tmp_path)], rel=1e-5)


def test_a_resumed_training_equals_an_uninterrupted_one_to_the_bit(together: Path) -> None:
    """Dropout shows that each process has got its own random state back."""
    assert lines(together / "parts") == lines(together / "whole")
    for name, value in weights(together / "whole").items():
        assert torch.equal(weights(together / "parts")[name], value)
    assert [(together / f"same-{rank}").read_text() for rank in (0, 1)] == ["True", "True"]


def test_a_loss_that_is_not_finite_in_one_process_ends_all(together: Path) -> None:
    for rank in (0, 1):
        assert "the loss is inf at step 3" in (together / f"error-{rank}").read_text()
    assert [line["step"] for line in lines(together / "broken")] == [1, 2]


def test_nothing_keeps_the_threads_of_the_group_when_the_training_has_ended(together: Path) -> None:
    """Not even an error. A thread that lets go of a tensor while the interpreter ends aborts the process."""
    assert [(together / f"ended-{rank}").read_text() for rank in (0, 1)] == ["True", "True"]


def test_another_number_of_processes_is_refused(together: Path) -> None:
    with pytest.raises(RunError, match="is of 2 processes, not 1: resume with as many"):
        train(together / "plain", partial(batches, SIZE, 0, 1))


def test_without_torchrun_a_process_is_alone() -> None:
    assert World() == ALONE
    for environment in ({}, {"WORLD_SIZE": "8"}, {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}):
        with joined(environment, "cpu") as world:
            assert world == World(device="cpu")
        assert not torch.distributed.is_initialized()
    assert (ALONE.is_first, ALONE.gathered(3), ALONE.of_first("x")) == (True, [3], "x")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"RANK": "0", "WORLD_SIZE": "two"}, "RANK=0 WORLD_SIZE=two LOCAL_RANK=0: these variables are set by torchrun"),
        ({"RANK": "0", "WORLD_SIZE": "two"}, "WORLD_SIZE=two LOCAL_RANK=0: these variables are set by torchrun"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "2 processes cannot find each other: .*MASTER_ADDR.*; start them with"),
    ],
)
def test_variables_that_are_incomplete_are_refused(
    environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(TrainingError, match=said), joined(environment, "cpu"):
        pass


class Other(World):
    """The second of two processes, the first of which says something."""

    said: object = None

    def gathered(self, value: Any) -> list[Any]:
        return [self.said, value]


def test_what_fails_in_the_first_process_is_not_begun_by_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    assert ALONE.first_before_others(lambda: 3) == Other(1, 2).first_before_others(lambda: 3) == 3
    monkeypatch.setattr(Other, "said", RunError("runs/a holds a run"))
    with pytest.raises(RunError, match="runs/a holds a run"):
        Other(1, 2).first_before_others(lambda: begun.append(1))
    assert not begun
