"""The one training loop: it does not know which method it trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from egotools.processes import compute_alone_if_forked
from egotools.training.runs import Run, Stateful

Figures = Mapping[str, Any]  # by name; Any: numbers as JSON has them


def fit(
    model: nn.Module,
    batches: Callable[[int], Iterable[Any]],
    optimizer: torch.optim.Optimizer,
    run: Run | None,
    *,
    steps: int,
    state: Mapping[str, Stateful] | None = None,
    rate: Callable[[int], float] | None = None,
    max_norm: float | None = None,
    after_step: Callable[[int], Figures | None] | None = None,
    is_over: Callable[[], bool] | None = None,
    log_every: int = 50,
    save_every: float = 30.0,
) -> int:
    """Minimizes `model(batch)["loss"]`, going on from the run's checkpoint to the same bits.

    Args:
        model: `forward(batch)` returns a dict of scalars with `loss`; the others are logged, too.
        batches: `batches(k)` begins at step k; Any: what the model takes.
        optimizer: of the model's parameters.
        run: gets `metrics.jsonl` and `checkpoint.pt`; None: nothing is kept.
        steps: in all, those of an interrupted training included.
        state: what else is saved and restored.
        rate: multiplies each parameter group's initial rate in a step; steps count from 0.
        max_norm: gradients longer than that, of all parameters together, are shortened to it.
        after_step: is told the number of steps done; may return figures, which are logged whatever `log_every` is.
        is_over: asked after each step whether to stop early.
        log_every: steps whose mean losses make one line; reading a loss waits for the device, so not every step.
        save_every: seconds after which the next line goes with a checkpoint.

    Returns:
        How many steps were done in all.
    """
    compute_alone_if_forked()
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, **(state or {})}
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    done = run.restore(**parts) if run else 0
    sums = _Sums()
    saved = time.monotonic()
    for batch in _until(batches(done), is_over):
        if done >= steps:
            break
        if rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate(done)
        losses = model(batch)
        optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        sums.add(losses)
        done += 1
        found = after_step(done) if after_step is not None else None
        if run is None:
            continue
        is_due = done % log_every == 0 or done == steps
        means = {"learning_rate": optimizer.param_groups[0]["lr"], **sums.means()} if is_due else {}
        if is_due or found:
            run.log({"step": done, **means, **(found or {})})
        if is_due and time.monotonic() - saved > save_every:
            run.save(done, **parts)
            saved = time.monotonic()
    if run is not None:
        run.save(done, **parts)
    return done


def _until(batches: Iterable[Any], is_over: Callable[[], bool] | None) -> Iterator[Any]:
    """Batches for as long as it is not over."""
    iterator = iter(batches)
    while not (is_over is not None and is_over()):
        try:
            yield next(iterator)
        except StopIteration:
            return


class _Sums:
    """Losses added up on the device since they were last read."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        for name, value in losses.items():
            value = value.detach()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1

    def means(self) -> dict[str, float]:
        found = {name: value.item() / self._steps for name, value in self._sums.items()}
        self._sums, self._steps = {}, 0
        return found
