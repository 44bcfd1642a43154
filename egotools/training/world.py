"""The processes that train one model together, as `torchrun` starts them.

`joined` gathers them: gloo on the CPU, NCCL on GPUs. Without `torchrun` a process is `ALONE`, and nothing here costs
anything.
"""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from egotools.errors import EgotoolsError, TrainingError
from egotools.machine import choose_device

if TYPE_CHECKING:  # commands that train nothing with torch import runs, and so this
    from torch import Tensor, nn

Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """This process among those that train together. The methods are called by all of them, at the same points."""

    rank: int = 0
    size: int = 1
    device: str = "auto"  # of this process, as `choose_device` takes it

    @property
    def is_first(self) -> bool:
        """Whether this process writes what all have made."""
        return self.rank == 0

    def wrapped(self, model: nn.Module, device_index: int | None) -> nn.Module:
        """A model whose gradients are means over all processes."""
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model, device_ids=None if device_index is None else [device_index])

    def mean(self, values: Tensor) -> Tensor:
        """The mean of equally shaped tensors of all processes."""
        if self.size == 1:
            return values
        import torch.distributed as dist

        total = values.clone()
        dist.all_reduce(total)
        return total / self.size

    def gathered(self, value: Value) -> list[Value]:
        """The values of all processes, by rank; they are pickled."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size  # Any: filled by torch
        dist.all_gather_object(found, value)
        return found

    def of_first(self, value: Value) -> Value:
        """The value of the first process; it is pickled."""
        return self.gathered(value)[0]

    def first_before_others(self, work: Callable[[], Value]) -> Value:
        """What `work` gives, in the first process before the others begin with it.

        Raises:
            EgotoolsError: of the first process, in all; the others then do not begin.
        """
        if self.size == 1:
            return work()
        found: list[Value] = []
        error: EgotoolsError | None = None
        if self.is_first:
            try:
                found.append(work())
            except EgotoolsError as raised:
                error = raised
        if (error := self.of_first(error)) is not None:
            raise error
        return found[0] if self.is_first else work()


ALONE = World()


@contextmanager
def joined(environment: Mapping[str, str], device: str = "auto") -> Iterator[World]:
    """The world that the variables of `torchrun` describe, for as long as the context lasts; without them `ALONE`.

    Args:
        environment: RANK, WORLD_SIZE and LOCAL_RANK are read here, torch reads MASTER_ADDR and MASTER_PORT.
        device: where to train: auto, cpu or cuda; each process of a machine gets the GPU of its LOCAL_RANK.

    Raises:
        TrainingError: the variables are incomplete, or the machine has fewer GPUs than processes.
    """
    rank, size, local = _numbers(environment)
    if size == 1:
        yield World(device=device)
        return
    import torch
    import torch.distributed as dist

    # Its functions have the default group as a default, and are imported with the first wrapped model. Imported after
    # the processes have met, they would keep the group, and so its threads, to the end of the interpreter: there a
    # thread that lets go of a tensor aborts the process.
    import torch.distributed.nn.functional

    chosen = choose_device(device)
    if chosen.type == "cuda":
        if local >= torch.cuda.device_count():
            raise TrainingError(f"process {local} of this machine has no GPU: it has {torch.cuda.device_count()}")
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    try:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", rank=rank, world_size=size)
    except ValueError as error:  # no MASTER_ADDR
        raise TrainingError(f"{size} processes cannot find each other: {error}; start them with torchrun") from error
    try:
        yield World(rank, size, str(chosen))
    finally:
        traceback.clear_frames(sys.exc_info()[2])  # an error holds the models that were wrapped, and they the group
        gc.collect()
        dist.destroy_process_group()


def _numbers(environment: Mapping[str, str]) -> tuple[int, int, int]:
    """Rank, size, and rank on this machine."""
    if "RANK" not in environment:
        return 0, 1, 0
    texts = [environment["RANK"], environment.get("WORLD_SIZE", ""), environment.get("LOCAL_RANK", "0")]
    try:
        rank, size, local = map(int, texts)
    except ValueError as error:
        said = f"RANK={texts[0]} WORLD_SIZE={texts[1]} LOCAL_RANK={texts[2]}"
        raise TrainingError(f"{said}: these variables are set by torchrun, to numbers; unset them") from error
    return rank, size, local
