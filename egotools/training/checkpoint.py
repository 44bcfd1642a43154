"""The checkpoint of a run: what a training resumes from, to the same bits."""

import time
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch

from egotools.errors import RunError
from egotools.training.runs import Run
from egotools.training.world import World
from egotools.weights.torch_files import write_torch

CHECKPOINT = "checkpoint.pt"
SHARE = 20  # times as long as a checkpoint took passes before the next: saving takes at most 5 % of the time


class Stateful(Protocol):
    """What is saved and restored with the model: samplers, memories, the best so far."""

    def state_dict(self) -> dict[str, Any]: ...  # Any: what torch.load(weights_only=True) reads
    def load_state_dict(self, state_dict: dict[str, Any]) -> object: ...


class Checkpoint:
    """Saves and restores the parts of a training and torch's random states. Without a run it does nothing.

    Args:
        run: where `checkpoint.pt` lies.
        parts: what is saved, by name.
        device: whose random state belongs to it, beside the CPU's.
        every: seconds between two checkpoints at least.
        world: the processes that train together: each has a random state, the first one writes.
    """

    def __init__(
        self, run: Run | None, parts: Mapping[str, Stateful], device: torch.device, every: float, world: World
    ) -> None:
        self._run, self._parts, self._device, self._world = run, parts, device, world
        self._every = every
        self._next = time.monotonic() + every

    def save_if_due(self, step: int) -> None:
        """Saves, unless the last checkpoint is too recent; all processes do what the first one says."""
        if self._run is not None and self._world.of_first(time.monotonic() > self._next):
            self.save(step)

    def save(self, step: int) -> None:
        """Replaces the checkpoint by the state after so many steps."""
        if self._run is None:
            return
        began = time.monotonic()
        states = self._world.gathered(_random_state(self._device))
        if self._world.is_first:
            parts = {name: part.state_dict() for name, part in self._parts.items()}
            write_torch(self._run.path / CHECKPOINT, {"step": step, "random": states, "parts": parts})
        self._world.of_first(None)  # nobody goes on, and may read it, before it is there
        ended = time.monotonic()
        self._next = ended + max(self._every, SHARE * (ended - began))

    def restore(self) -> int:
        """Puts the checkpoint into the parts; the number of steps that were done, 0 without one.

        Lines of `metrics.jsonl` that were written after it are dropped.

        Raises:
            RunError: it cannot be read, or is of another training.
        """
        if self._run is None:
            return 0
        path = self._run.path / CHECKPOINT
        step = self._load(path) if path.exists() else 0
        if len({*self._world.gathered(step)}) > 1:
            raise RunError(f"{path} is not the same for all processes: they must share the folder {self._run.path}")
        if self._world.is_first:
            self._run.drop_metrics_after(step)
        return step

    def _load(self, path: Path) -> int:
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
            for name, part in self._parts.items():
                part.load_state_dict(found["parts"][name])
            states = found["random"] if isinstance(found["random"], list) else [found["random"]]  # before version 0.2
            step = int(found["step"])
        except (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, UnpicklingError) as error:
            reason = (str(error).splitlines() or ["empty"])[0]
            raise RunError(f"{path} cannot be resumed from ({reason}); delete it to start over") from error
        if len(states) != self._world.size:
            raise RunError(f"{path} is of {len(states)} processes, not {self._world.size}: resume with as many")
        _set_random_state(states[self._world.rank], self._device)
        return step


def _random_state(device: torch.device) -> dict[str, Any]:
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and state["cuda"]:
        own = min(device.index or 0, len(state["cuda"]) - 1)  # before version 0.2: the states of all GPUs
        torch.cuda.set_rng_state(state["cuda"][own], device)
