"""Training of M3-S against recorded runs of the reference, and what a training promises."""

from __future__ import annotations

import json

import fill
import numpy as np
import pytest
import torch
from score_networks import features, shapes

from egotools.methods.memorability.options import Training
from egotools.methods.memorability.training import Examples, train_network
from egotools.nn.mlp import score_mlp_of
from egotools.stores.store import Recipe
from egotools.training.how import How
from egotools.training.runs import Run

SHORT = Training(hidden=(8,), epochs=6, batch_size=8, learning_rate=0.01)
RECORDED = {
    "train_mse": (
        3635,
        434,
        Training(loss="mse", epochs=4, learning_rate=1e-4, weight_decay=1e-5, scheduler_step=2, shuffle=False),
    ),
    "train_mse_to_spearman": (
        3482,
        376,
        Training(
            loss="mse-to-spearman",
            epochs=4,
            learning_rate=0.0004057400860408805,
            weight_decay=1.1226272823355355e-05,
            scheduler_gamma=0.2852061798531863,
            scheduler_step=3,
            shuffle=False,
        ),
    ),
}


def lines(run):
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def examples(clips=36, width=5, seed=0):
    """Clips whose score follows from their first feature; the last quarter is judged."""
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.normal(size=(clips, width)).astype(np.float32))
    scores = torch.sigmoid(values[:, 0])
    rows = torch.arange(clips)
    return Examples(values, scores, rows[: clips * 3 // 4], rows[clips * 3 // 4 :])


@pytest.mark.parametrize("case", RECORDED)
def test_steps_rates_and_scores_of_a_training_are_the_references(case, tmp_path):
    width, first_clusters, config = RECORDED[case]
    recorded = np.load(fill.DATA / f"memorability/{case}.npz", allow_pickle=False)
    parts = [features(width, first_clusters, clips, tag) for clips, tag in ((72, "_train"), (24, "_val"))]
    values, scores = (torch.cat(both) for both in zip(*parts, strict=True))
    network = score_mlp_of(fill.state_dict(shapes(width)), source="filled")
    run = Run(tmp_path, Recipe({}))
    clips = Examples(values, scores, torch.arange(72), torch.arange(72, 96))
    train_network(clips, network, config, seed=0, run=run, how=How(log_every=1))
    found = lines(run)
    np.testing.assert_allclose([line["loss"] for line in found], recorded["step_loss"], rtol=2e-3)  # as recorded
    epochs = [line for line in found if "val_spearman" in line]
    np.testing.assert_allclose([line["learning_rate"] for line in epochs], recorded["lr"], rtol=1e-12)
    np.testing.assert_allclose([line["val_spearman"] for line in epochs], recorded["val_spearman"], atol=0.02)
    with torch.no_grad():
        np.testing.assert_allclose(network(values[72:]).numpy(), recorded["val_score"], atol=2e-3)
