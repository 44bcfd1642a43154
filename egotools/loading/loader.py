"""Batches of examples, made by the workers of PyTorch's DataLoader."""

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from egotools.errors import EgotoolsError, TrainingError, first_line
from egotools.loading.items import SECONDS, Examples, random_of
from egotools.loading.order import Key, Order
from egotools.machine import keep_freed_memory
from egotools.processes import compute_alone_if_forked, forkserver

Batch = TypeVar("Batch")
Tensors = dict[str, Tensor]  # [B, ...] each
LOST = "DataLoader worker"  # how PyTorch's message begins
WAITING = "waiting"


def loader(
    examples: Examples,
    order: Order,
    *,
    seed: int,
    workers: int,
    device: torch.device,
    finish: Callable[[Tensors], Batch],
) -> "Loader[Batch]":
    """What `fit` takes as `batches`: the same bits for any number of workers, and from whichever batch it begins.

    Args:
        examples: sent once to each worker.
        order: of the examples; counts must agree.
        seed: of what is drawn for each example, with its epoch and index.
        workers: processes, one thread each; 0: this process reads.
        device: where batches go; for CUDA they come in pinned memory.
        finish: makes of a batch, tensors [B, ...] in the CPU's memory, what the model takes, on the device
            (`to_device`), so that colors can be changed there.

    Raises:
        ValueError: the order is of another number of examples.
    """
    if order.examples != len(examples):
        raise ValueError(f"the order is of {order.examples} examples, not of {len(examples)}")
    if workers < 0:
        raise ValueError(f"--workers must be 0 or above, not {workers}")
    return Loader(examples, order, seed, workers, device, finish)


class Loader(Generic[Batch]):
    """Called with the number of a batch, gives the batches from there on; counts the seconds of each stage."""

    def __init__(
        self,
        examples: Examples,
        order: Order,
        seed: int,
        workers: int,
        device: torch.device,
        finish: Callable[[Tensors], Batch],
    ) -> None:
        self._examples, self._order, self._seed = examples, order, seed
        self._workers, self._device, self._finish = workers, device, finish
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def __call__(self, first: int) -> Iterator[Batch]:
        """The batches from number `first` on.

        Raises:
            TrainingError: an example cannot be read (it is named), or a worker was killed.
        """
        compute_alone_if_forked()
        keep_freed_memory()
        iterator = self._started(first)
        try:
            while (found := self._next(iterator)) is not None:
                began = time.perf_counter()
                batch = self._finish(found)
                self._seconds["finishing"] += time.perf_counter() - began
                yield batch
        finally:
            del iterator  # ends the workers

    def spent(self) -> dict[str, float]:
        """Seconds since this was last asked, by stage, and forgets them.

        "waiting" and "finishing" are this process's own; those of the examples, such as "decoding", are sums over the
        workers, for batches that have arrived.
        """
        found = dict(self._seconds)
        self._seconds.clear()
        return found

    def _started(self, first: int) -> "Iterator[Tensors | Failure]":
        return started(
            _Made(self._examples, self._seed),
            self._workers,
            self._device,
            batch_sampler=_Batches(self._order, first),
            collate_fn=_collated,
        )

    def _next(self, iterator: "Iterator[Tensors | Failure]") -> Tensors | None:
        began = time.perf_counter()
        found: Tensors | None = received(iterator)
        self._seconds[WAITING] += time.perf_counter() - began
        if found is not None:
            for name in [name for name in found if name.startswith(SECONDS)]:
                self._seconds[name.removeprefix(SECONDS)] += float(found.pop(name).sum())
        return found


def started(dataset: Dataset[Any], workers: int, device: torch.device, **options: Any) -> Iterator[Any]:
    """PyTorch's batches of a dataset, read by processes.

    Args:
        dataset: sent once to each process.
        workers: how many; 0: this process reads.
        device: where batches go; for CUDA they come in pinned memory.
        options: further ones of DataLoader.

    Raises:
        TrainingError: a process cannot be started.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*worker processes")  # than cores: the user's choice
        batches: DataLoader[Any] = DataLoader(
            dataset,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            multiprocessing_context=forkserver() if workers else None,
            worker_init_fn=_begin,
            generator=torch.Generator(),  # else it draws a seed, and a resumed training would differ
            **options,
        )
        try:
            return iter(batches)
        except (OSError, EOFError) as error:
            why = first_line(error)
            raise TrainingError(f"a reading process cannot be started: {why}; lower --workers") from error


def received(iterator: "Iterator[Any]") -> Any:
    """The next of what `started` gave, None at its end.

    Raises:
        TrainingError: it is a `Failure`, or a process was killed.
    """
    try:
        found = next(iterator, None)
    except (RuntimeError, ConnectionError, EOFError) as error:  # the last two: killed while it was handing over
        if isinstance(error, RuntimeError) and not str(error).startswith(LOST):
            raise
        raise TrainingError(
            "a reading process was killed, so training ended; if memory or shared memory (/dev/shm) ran out, lower"
            " --workers or --batch-size"
        ) from error
    if isinstance(found, Failure):
        raise TrainingError(f"{found.reason}; training ended: mend the file, or leave it out of the manifest")
    return found


def to_device(batch: Tensors, device: torch.device) -> Tensors:
    """A batch on the device; the copy of pinned memory runs beside what the device computes."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


@dataclass(frozen=True)
class Failure:
    """Why an example could not be read; a value, because PyTorch would give a worker's exceptions many lines."""

    reason: str


class _Made(Dataset[Any]):
    """The examples as PyTorch asks for them."""

    def __init__(self, examples: Examples, seed: int) -> None:
        self._examples, self._seed = examples, seed

    def __getitem__(self, key: Key) -> Any:
        epoch, index = key
        try:
            return dict(self._examples.example(index, random_of(self._seed, epoch, index)))
        except EgotoolsError as error:
            return Failure(str(error))


class _Batches:
    """The order from one batch on, as PyTorch asks for it."""

    def __init__(self, order: Order, first: int) -> None:
        self._order, self._first = order, first

    def __iter__(self) -> Iterator[list[Key]]:
        return self._order.batches(self._first)


def _collated(items: Sequence[Any]) -> Any:
    failed = next((item for item in items if isinstance(item, Failure)), None)
    return default_collate(list(items)) if failed is None else failed


def _begin(_: int) -> None:
    """In a new worker: PyTorch has set it to one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()


def _end_with_parent() -> None:
    """PyTorch's workers watch the process that forked them, which is the server, and it waits for them."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
