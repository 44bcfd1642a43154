"""Exact neighbors and linear probes against scikit-learn, as ratios of one run: more than 1 is faster than the peer.

    python benchmarks/neighbors_and_probes.py --json figures.json

Made data with class structure: 20,000 rows of 2048 correlated features, 100 classes; 2,000 further rows are queries.
Both sides get the same standardized float32 table. SGDClassifier is fitted on a stated share of the classes
(one-vs-rest: its cost is proportional to them) and scaled up.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import NearestNeighbors

from egotools.evaluate.knn import nearest
from egotools.evaluate.softmax import Fit, fit_path, objective

ROWS, QUERIES, WIDTH, CLASSES, K = 20_000, 2_000, 2048, 100, 20
C = 0.01  # the most accurate of GRID on this data, or next to it
GRID = tuple(float(value) for value in np.geomspace(1e-3, 1e-1, 10))
SGD_CLASSES = 2  # of the 100 one-vs-rest problems
Result = TypeVar("Result")


def timed(work: Callable[[], Result]) -> tuple[Result, float, float]:
    """A result with the processor seconds (all threads) and the wall seconds that it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def make_data(generator: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Standardized rows [N, D] float32 and their classes: variance falls along rotated directions, as in features."""
    rotation = np.linalg.qr(generator.normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
    scale = np.arange(1, WIDTH + 1, dtype=np.float32) ** -0.5
    labels = generator.integers(0, CLASSES, ROWS + QUERIES)
    centers = 0.25 * generator.normal(size=(CLASSES, WIDTH)).astype(np.float32)
    values = ((generator.standard_normal((len(labels), WIDTH), np.float32) + centers[labels]) * scale) @ rotation
    return (values - values[:ROWS].mean(0)) / values[:ROWS].std(0), labels


def neighbors(x: np.ndarray[Any, Any], queries: np.ndarray[Any, Any], repeats: int) -> dict[str, Any]:
    """Both searches in turn; the best of the repeats of each."""
    ours, peers = [], []
    for _ in range(repeats):
        (found, _), *cost = timed(lambda: nearest(queries, x, K))
        ours.append(cost)
        peer = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute")
        expected, *cost = timed(lambda peer=peer: peer.fit(x).kneighbors(queries, return_distance=False))
        peers.append(cost)
    recall = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, expected, strict=True)])
    return {"ours": np.min(ours, axis=0).tolist(), "peer": np.min(peers, axis=0).tolist(), "recall": float(recall)}


def accuracy(fit: Fit, x: torch.Tensor, y: torch.Tensor) -> float:
    return float((fit.logits(x).argmax(1) == y).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    values, labels = make_data(np.random.default_rng(0))
    x, y = values[:ROWS], labels[:ROWS]
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    test_x, test_y = torch.from_numpy(values[ROWS:]), torch.from_numpy(labels[ROWS:])

    knn = neighbors(x, values[ROWS:], options.repeats)
    (fit,), *one = timed(lambda: fit_path(tx, ty, CLASSES, c=[C]))
    peer, *logistic = timed(lambda: LogisticRegression(C=C).fit(x, y))
    again, *one_again = timed(lambda: fit_path(tx, ty, CLASSES, c=[C]))
    one = np.minimum(one, one_again).tolist()
    assert again[0].objective == fit.objective  # the same numbers from the same data
    _, *grid = timed(lambda: fit_path(tx, ty, CLASSES, c=GRID))
    few = np.where(y < SGD_CLASSES, y, SGD_CLASSES)  # SGD_CLASSES + 1 one-vs-rest problems
    _, *sgd = timed(lambda: SGDClassifier(loss="log_loss").fit(x, few))
    sgd = [cost * CLASSES / (SGD_CLASSES + 1) for cost in sgd]

    point = torch.from_numpy(np.c_[peer.coef_, peer.intercept_]).float()
    peer_objective = objective(tx, ty, 1 / (C * ROWS), point)
    peer_accuracy = float(peer.score(values[ROWS:], labels[ROWS:]))
    rows = [
        ("kNN, scikit-learn brute cosine / ours", knn["peer"], knn["ours"], ">= 1"),
        ("probe, LogisticRegression / ours", logistic, one, ">= 1"),
        ("ten C / one", grid, one, "<= 4"),
        (f"probe, SGDClassifier / ours ({SGD_CLASSES + 1} of {CLASSES} problems, scaled)", sgd, one, ">= 50"),
    ]
    print(f"{'':64}{'CPU-s':>16}{'ratio':>8}{'wall ratio':>12}  target")
    for name, above, below, target in rows:
        costs = f"{above[0]:.2f} / {below[0]:.2f}"
        print(f"{name:64}{costs:>16}{above[0] / below[0]:8.2f}{above[1] / below[1]:12.2f}  {target}")
    print(f"recall of the neighbors {knn['recall']:.5f}")
    print(f"objective: ours {fit.objective:.7f}, LogisticRegression {peer_objective:.7f} (no worse: lower or equal)")
    print(f"accuracy: ours {accuracy(fit, test_x, test_y):.4f}, LogisticRegression {peer_accuracy:.4f}")
    if options.json:
        figures = {name: {"above": a, "below": b, "ratio": a[0] / b[0], "target": t} for name, a, b, t in rows}
        figures["objective"] = {"ours": fit.objective, "peer": peer_objective}
        figures["accuracy"] = {"ours": accuracy(fit, test_x, test_y), "peer": peer_accuracy}
        options.json.write_text(json.dumps({"recall": knn["recall"], **figures}, indent=2))


if __name__ == "__main__":
    main()
