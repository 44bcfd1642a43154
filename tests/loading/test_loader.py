"""Batches are the same for any number of workers and after a resume; what goes wrong is one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from readable import Numbers, tensors
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from egotools.errors import TrainingError
from egotools.loading.loader import Loader, Tensors, loader, to_device
from egotools.loading.order import Order

CPU = torch.device("cpu")


def made(examples: Numbers, workers: int, **options: Any) -> Loader[Tensors]:
    order = Order(len(examples), 2, seed=7, **{"epochs": 2, "drop_last": False, **options})
    return loader(examples, order, seed=7, workers=workers, device=CPU, finish=tensors)


def same(found: list[Tensors], expected: list[Tensors]) -> bool:
    return len(found) == len(expected) and all(
        torch.equal(one["index"], other["index"]) and torch.equal(one["drawn"], other["drawn"])
        for one, other in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_have_the_same_bits_for_any_number_of_workers_and_from_the_middle_of_an_epoch_on(workers):
    examples = Numbers(9)
    before = torch.get_rng_state()
    expected = list(made(examples, 0)(0))
    assert len(expected) == 10
    assert expected[0]["drawn"].shape == (2, 3)
    assert same(list(made(examples, 0)(3)), expected[3:])
    found = made(examples, workers)
    batches = list(found(7))
    assert same(batches, expected[7:])
    assert all(batch["alone"].all() for batch in batches)  # one thread in each worker
    assert torch.equal(torch.get_rng_state(), before)  # a resumed training draws what it would have drawn


def test_two_processes_read_their_shares():
    alone = list(made(Numbers(9), 0, epochs=1, drop_last=True)(0))
    examples = Numbers(9)
    shares = []
    for rank in range(2):
        order = Order(9, 1, seed=7, epochs=1, rank=rank, size=2)
        shares.append(list(loader(examples, order, seed=7, workers=0, device=CPU, finish=tensors)(0)))
    for whole, one, other in zip(alone, *shares, strict=True):
        together = torch.cat([one["drawn"], other["drawn"]])
        assert torch.equal(together[torch.cat([one["index"], other["index"]]).argsort()],
                           whole["drawn"][whole["index"].argsort()])  # fmt: skip


def test_seconds_of_the_stages_are_counted_and_not_in_the_batch():
    found = made(Numbers(9), 0)
    batches = list(islice(found(0), 2))
    assert set(batches[0]) == {"index", "drawn", "alone"}
    spent = found.spent()
    assert spent["decoding"] == 2.0
    assert spent["waiting"] > 0
    assert found.spent() == {}


@pytest.mark.parametrize("workers", [0, 1])
def test_an_example_that_cannot_be_read_ends_the_training_by_name(workers):
    with pytest.raises(TrainingError) as error:
        list(made(Numbers(4, broken=2), workers)(0))
    assert str(error.value) == (
        "videos/b.mp4: frame 7 at 0.233 s is listed in the file but cannot be decoded;"
        " training ended: mend the file, or leave it out of the manifest"
    )


def test_a_killed_worker_is_one_line(monkeypatch):
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.1,))  # 5 s else
    with pytest.raises(TrainingError, match=r"^a reading process was killed, so training ended; .*--workers[^\n]*$"):
        list(made(Numbers(4, deadly=2, home=os.getpid()), 1)(0))


def test_the_order_must_be_of_the_examples():
    with pytest.raises(ValueError, match="the order is of 5 examples, not of 9"):
        loader(Numbers(9), Order(5, 2, seed=0), seed=0, workers=0, device=CPU, finish=tensors)
    with pytest.raises(ValueError, match="--workers must be 0 or above, not -1"):
        made(Numbers(9), -1)


def test_a_batch_goes_to_the_device():
    batch = next(made(Numbers(9), 0)(0))
    assert {value.device.type for value in to_device(batch, torch.device("meta")).values()} == {"meta"}


@pytest.mark.gpu
def test_batches_for_a_gpu_come_in_pinned_memory():
    order = Order(9, 2, seed=7)
    batch = next(loader(Numbers(9), order, seed=7, workers=1, device=torch.device("cuda"), finish=tensors)(0))
    assert batch["drawn"].is_pinned()


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_training_leaves_no_process(sign):
    script = Path(__file__).with_name("interrupted.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        if sign == signal.SIGINT:
            os.killpg(process.pid, sign)  # as a terminal does
        else:
            process.send_signal(sign)
        process.communicate(timeout=60)  # its workers hold the pipe while they live
    assert process.returncode != 0
