"""The one training loop: it does not know which method it trains."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from egotools.errors import TrainingError
from egotools.processes import compute_alone_if_forked
from egotools.training.checkpoint import CHECKPOINT, Checkpoint, Stateful
from egotools.training.how import LINE, How, check_fp16
from egotools.training.runs import Run
from egotools.training.world import ALONE, World

Figures = Mapping[str, Any]  # by name; Any: numbers as JSON has them
Rate = Callable[[int], float | Mapping[str, float]]


def fit(
    model: nn.Module,
    batches: Callable[[int], Iterable[Any]],
    optimizer: torch.optim.Optimizer,
    run: Run | None,
    *,
    steps: int,
    state: Mapping[str, Stateful] | None = None,
    rate: Rate | None = None,
    after_step: Callable[[int], Figures | None] | None = None,
    is_over: Callable[[], bool] | None = None,
    how: How = How(),  # noqa: B008 - frozen
    world: World = ALONE,
) -> int:
    """Minimizes `model(batch)["loss"]`, resuming from the run's checkpoint to the same bits.

    Args:
        model: on its device; `forward(batch)` returns a dict of scalars with `loss`; the others are logged, too.
        batches: `batches(k)` begins with batch k; a step takes `how.accumulate` of them. Any: what the model takes.
        optimizer: of the model's parameters.
        run: gets `metrics.jsonl` and `checkpoint.pt`; None: nothing is kept.
        steps: in all, those of an interrupted training included.
        state: what else is saved and restored.
        rate: multiplies each parameter group's initial learning rate in a step; steps count from 0. Or gives factors
            for several options of the groups: `{"lr": 0.5, "momentum": 0.9}`.
        after_step: is told the number of steps done; may return figures, which are always logged.
        is_over: asked before each step whether to stop early.
        how: precision, gradients, and how often to log and save.
        world: the processes that train together; each has its share of the batches, as many as the others, and
            what it calls here must say the same in all. Gradients and logged losses are means over them.

    Returns:
        How many steps were done in all.

    Raises:
        TrainingError: the loss is not finite; the last checkpoint from before that stays. Or not a single step was
            done, or the device does not have the precision.
        RunError: the checkpoint cannot be resumed from.
    """
    compute_alone_if_forked()
    device = next(model.parameters()).device
    scaler = _scaler(how, device)
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, **(state or {})}
    parts |= {"scaler": scaler} if scaler.is_enabled() else {}
    checkpoint = Checkpoint(run, parts, device, how.save_every, world)
    done = checkpoint.restore()
    network, losses, line = world.wrapped(model, device.index), _Losses(world), how.log_every or LINE
    iterator = iter(batches(done * how.accumulate))
    while done < steps and not (is_over is not None and is_over()):
        if rate is not None:
            _set_rate(optimizer, rate(done))
        optimizer.zero_grad(set_to_none=True)
        if not _backward(network, iterator, scaler, losses, how, device):
            break
        if how.max_norm is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), how.max_norm)
        scaler.step(optimizer)
        scaler.update()
        done += 1
        found = after_step(done) if after_step is not None else None
        is_due = done % line == 0 or done == steps
        means = {"learning_rate": optimizer.param_groups[0]["lr"], **losses.means(run, done)} if is_due else {}
        if run is not None and world.is_first and (is_due or found):
            run.log({"step": done, **means, **(found or {})})
        if is_due and done < steps:
            checkpoint.save_if_due(done)
    if not done:
        raise TrainingError(f"no training took place: {steps} steps were requested, and there was no batch for one")
    losses.means(run, done)  # those of no line: the last checkpoint is of finite ones, too
    checkpoint.save(done)
    return done


def _backward(
    network: nn.Module,
    batches: Iterator[Any],
    scaler: torch.amp.GradScaler,
    losses: "_Losses",
    how: How,
    device: torch.device,
) -> bool:
    """Adds the gradients of one step; False if the batches end before that."""
    for number in range(how.accumulate):
        try:
            batch = next(batches)
        except StopIteration:
            return False
        is_last = number + 1 == how.accumulate
        with network.no_sync() if isinstance(network, DistributedDataParallel) and not is_last else nullcontext():
            with autocast(how, device):
                found = network(batch)
            scaler.scale(found["loss"] / how.accumulate).backward()
        losses.add(found)
    return True


def _scaler(how: How, device: torch.device) -> torch.amp.GradScaler:
    """Keeps small gradients of fp16 from vanishing; other precisions are passed through."""
    check_fp16(how, device)
    return torch.amp.GradScaler(device.type, enabled=how.precision == "fp16")


def autocast(how: How, device: torch.device) -> torch.autocast:
    """The precision of a forward pass."""
    dtype = torch.float16 if how.precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=how.precision != "float32")


def _set_rate(optimizer: torch.optim.Optimizer, rate: float | Mapping[str, float]) -> None:
    """Multiplies what the options of each parameter group were before the first step."""
    factors = rate if isinstance(rate, Mapping) else {"lr": rate}
    for group in optimizer.param_groups:
        for name, factor in factors.items():
            group[name] = group.setdefault(f"initial_{name}", group[name]) * factor


def _left(run: Run | None) -> str:
    """What is left of a training that ended."""
    if run is None:
        return ""
    has_one = (run.path / CHECKPOINT).exists()
    return f"{run.path}: {'the last checkpoint before that is kept' if has_one else 'there is no checkpoint yet'}; "


class _Losses:
    """Losses added up on the device since they were last read."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sums: dict[str, Tensor] = {}
        self._batches = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        for name, value in losses.items():
            value = value.detach() if value.dtype.itemsize >= 4 else value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._batches += 1

    def means(self, run: Run | None, step: int) -> dict[str, float]:
        """The means, over the processes, too.

        Raises:
            TrainingError: the loss is not finite.
        """
        found = {name: self._world.mean(value).item() / self._batches for name, value in self._sums.items()}
        self._sums, self._batches = {}, 0
        if not math.isfinite(found.get("loss", 0.0)):
            raise TrainingError(
                f"the loss is {found['loss']} at step {step}, so training ended; {_left(run)}lower --learning-rate, set"
                " --max-norm, or train in float32"
            )
        return found
