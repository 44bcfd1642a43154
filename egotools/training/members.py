"""The member runs of one training: a network for each fold and seed, and their figures together."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from egotools.config import to_json
from egotools.training.runs import Run

Figures = dict[str, Any]  # Any: numbers, JSON-ready


def member_run(run: Run, fold: str, seed: int, seeds: int) -> Run:
    """Where one network is trained: `<fold>/seed-<seed>` of a run, without either where there is only one."""
    path = run.path / fold if fold else run.path
    return replace(run, path=path / f"seed-{seed}" if seeds > 1 else path)


def joined_metrics(run: Run, members: Sequence[tuple[str, int]], seeds: int) -> Iterator[str]:
    """The lines of `metrics.jsonl` of all members, given by fold and seed, each line with these."""
    for fold, seed in members:
        for figures in member_run(run, fold, seed, seeds).metrics():
            yield to_json({"fold": fold or None, "seed": seed, **figures}, indent=None) + "\n"


def summarized(entries: Sequence[tuple[str, int, Figures]], deviating: str) -> Figures:
    """Figures of every fold and seed as means over both, and how much one of them varies over either alone."""
    folds = list(dict.fromkeys(fold for fold, _, _ in entries))
    seeds = list(dict.fromkeys(seed for _, seed, _ in entries))
    found: Figures = {}
    for name in entries[0][2]:
        values = {(fold, seed): figures[name] for fold, seed, figures in entries}
        found[name] = float(np.mean(list(values.values())))
        if name == deviating:
            grid = np.array([[values[fold, seed] for seed in seeds] for fold in folds])
            found[f"{name}_deviation_over_seeds"] = float(grid.mean(axis=0).std())
            found[f"{name}_deviation_over_folds"] = float(grid.mean(axis=1).std())
    return found
