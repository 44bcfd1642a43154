"""Networks of several folds and seeds: where they lie, and their figures together."""

from __future__ import annotations

import json

import numpy as np
import pytest

from egotools.stores.store import Recipe
from egotools.training.members import joined_metrics, member_run, summarized
from egotools.training.runs import Run


def test_members_have_folders_only_where_there_are_several(tmp_path):
    run = Run(tmp_path, Recipe({"method": "x"}))
    places = {("", 1): ".", ("fold-0", 1): "fold-0", ("", 2): "seed-3", ("fold-1", 2): "fold-1/seed-3"}
    for (fold, seeds), place in places.items():
        member = member_run(run, fold, 3, seeds)
        assert (member.path, member.recipe) == (tmp_path / place, run.recipe)


def test_figures_are_means_and_one_deviates_over_seeds_and_over_folds(rng):
    grid = rng.random((3, 2))  # folds, seeds
    entries = [
        (f"fold-{fold}", seed, {"score": grid[fold, seed], "loss": 1.0}) for fold in range(3) for seed in range(2)
    ]
    found = summarized(entries, "score")
    assert found == {
        "score": pytest.approx(grid.mean()),
        "score_deviation_over_seeds": pytest.approx(np.std(grid.mean(axis=0))),
        "score_deviation_over_folds": pytest.approx(np.std(grid.mean(axis=1))),
        "loss": 1.0,
    }
    assert list(found) == ["score", "score_deviation_over_seeds", "score_deviation_over_folds", "loss"]


def test_metrics_of_all_members_say_whose_they_are(tmp_path):
    run = Run(tmp_path, Recipe({}))
    for seed in (0, 1):
        member_run(run, "", seed, 2).log({"step": 5, "loss": 0.5 + seed})
    lines = [json.loads(line) for line in joined_metrics(run, [("", 0), ("", 1)], 2)]
    assert lines == [{"fold": None, "seed": seed, "step": 5, "loss": 0.5 + seed} for seed in (0, 1)]
