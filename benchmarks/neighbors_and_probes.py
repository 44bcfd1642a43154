"""Exact neighbors and linear probes against scikit-learn, as ratios of one run: more than 1 is faster than the peer.

    python benchmarks/neighbors_and_probes.py --json figures.json

Made data with class structure: 20,000 rows of 2048 correlated features, 100 classes; 2,000 further rows are queries.
Both sides get the same standardized float32 table and take turns; figures are medians, with one thread unless said:
on a machine that others use, a second one waits, and the waiting counts. SGDClassifier is fitted on a stated share of
the classes (one-vs-rest: its cost is proportional to them) and scaled up.

Neighbors are float32 on both sides. A probe multiplies in bf16 where the processor has it, which LogisticRegression
does not: it is measured without, too. At C = 1, where the default tolerance ends the peer early, the peer gets the
tolerance at which it reaches our objective.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from egotools.evaluate.knn import nearest
from egotools.linear.softmax import Fit, fit_path, objective

ROWS, QUERIES, WIDTH, CLASSES, K = 20_000, 2_000, 2048, 100, 20
C = 0.01  # the most accurate of GRID on this data, or next to it
GRID = tuple(float(value) for value in np.geomspace(1e-3, 1e-1, 10))
WEAK = 1.0  # a C that hardly regularizes
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


def in_turn(tasks: Mapping[str, Callable[[], Any]], repeats: int) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Results, and medians of the CPU and wall seconds; the tasks take turns, so that all get the neighbors' load."""
    results: dict[str, Any] = {}
    costs: dict[str, list[list[float]]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            results[name], *cost = timed(task)
            costs[name].append(cost)
    return results, {name: np.median(cost, axis=0).tolist() for name, cost in costs.items()}


def objective_of(peer: LogisticRegression, x: torch.Tensor, y: torch.Tensor, c: float) -> float:
    """Our objective at the peer's minimum."""
    point = torch.from_numpy(np.c_[peer.coef_, peer.intercept_]).float()
    return objective(x, y, 1 / (c * len(x)), point)


def equal_tolerance(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], wanted: float) -> float:
    """The largest of falling tolerances at which LogisticRegression reaches an objective at C = 1."""
    for tolerance in (1e-4, 8e-5, 6e-5, 5e-5, 4e-5, 3e-5, 2e-5, 1e-5):
        peer = LogisticRegression(C=WEAK, tol=tolerance, max_iter=1000).fit(x, y)
        if objective_of(peer, torch.from_numpy(x), torch.from_numpy(y), WEAK) <= wanted:
            break
    return tolerance


def accuracy(fit: Fit, x: torch.Tensor, y: torch.Tensor) -> float:
    return float((fit.logits(x).argmax(1) == y).float().mean())


def measure(repeats: int) -> tuple[list[tuple[str, list[float], list[float], str]], dict[str, Any]]:
    """Rows of the table (what, seconds above and below the line, target), and further figures."""
    values, labels = make_data(np.random.default_rng(0))
    x, y, queries = values[:ROWS], labels[:ROWS], values[ROWS:]
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    few = np.where(y < SGD_CLASSES, y, SGD_CLASSES)  # SGD_CLASSES + 1 one-vs-rest problems
    brute = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute")
    found, cost = in_turn(
        {
            "knn": lambda: nearest(queries, x, K)[0],
            "brute": lambda: brute.fit(x).kneighbors(queries, return_distance=False),
            "probe": lambda: fit_path(tx, ty, CLASSES, c=[C])[0],
            "probe float32": lambda: fit_path(tx, ty, CLASSES, c=[C], half=False)[0],
            "logistic": lambda: LogisticRegression(C=C).fit(x, y),
        },
        repeats,
    )
    tolerance = equal_tolerance(x, y, fit_path(tx, ty, CLASSES, c=[WEAK])[0].objective)
    weak, weak_cost = in_turn(
        {
            "probe": lambda: fit_path(tx, ty, CLASSES, c=[WEAK])[0],
            "probe float32": lambda: fit_path(tx, ty, CLASSES, c=[WEAK], half=False)[0],
            "logistic": lambda: LogisticRegression(C=WEAK, tol=tolerance, max_iter=1000).fit(x, y),
        },
        repeats,
    )
    once, once_cost = in_turn(
        {
            "grid": lambda: fit_path(tx, ty, CLASSES, c=GRID),
            "sgd": lambda: SGDClassifier(loss="log_loss").fit(x, few),
        },
        1,
    )
    sgd = [seconds * CLASSES / (SGD_CLASSES + 1) for seconds in once_cost["sgd"]]
    rows = [
        ("kNN, scikit-learn brute cosine / ours", cost["brute"], cost["knn"], ">= 1"),
        ("probe, LogisticRegression / ours", cost["logistic"], cost["probe"], ">= 1"),
        ("the same, ours without bf16", cost["logistic"], cost["probe float32"], ""),
        ("probe, C = 1, LogisticRegression / ours", weak_cost["logistic"], weak_cost["probe"], ">= 1"),
        ("the same, ours without bf16", weak_cost["logistic"], weak_cost["probe float32"], ""),
        ("ten C / one", once_cost["grid"], cost["probe"], "<= 4"),
        (f"probe, SGDClassifier / ours ({SGD_CLASSES + 1} of {CLASSES} problems, scaled)", sgd, cost["probe"], ">= 50"),
    ]
    fit, peer = found["probe"], found["logistic"]
    test = torch.from_numpy(queries), torch.from_numpy(labels[ROWS:])
    shared = [np.intersect1d(a, b).size for a, b in zip(found["knn"], found["brute"], strict=True)]
    figures = {
        "threads": torch.get_num_threads(),
        "recall": float(np.mean(shared)) / K,
        "objective": {"ours": fit.objective, "peer": objective_of(peer, tx, ty, C)},
        "objective at C = 1": {
            "ours": weak["probe"].objective,
            "ours without bf16": weak["probe float32"].objective,
            "peer": objective_of(weak["logistic"], tx, ty, WEAK),
            "tolerance": tolerance,
        },
        "accuracy": {"ours": accuracy(fit, *test), "peer": float(peer.score(queries, labels[ROWS:]))},
        "passes": {
            "ours": fit.evaluations,
            "peer": int(peer.n_iter_[0]),
            "grid": [f.evaluations for f in once["grid"]],
        },
    }
    return rows, figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads):
        rows, figures = measure(options.repeats)
    print(f"{'':64}{'CPU-s':>16}{'ratio':>8}{'wall ratio':>12}  target")
    for name, above, below, target in rows:
        costs = f"{above[0]:.2f} / {below[0]:.2f}"
        print(f"{name:64}{costs:>16}{above[0] / below[0]:8.2f}{above[1] / below[1]:12.2f}  {target}")
    print(f"recall of the neighbors {figures['recall']:.5f}")
    print(
        "objective: ours {ours:.7f}, LogisticRegression {peer:.7f} (no worse: lower or equal)".format(
            **figures["objective"]
        )
    )
    print("objective at C = 1: {}".format(figures["objective at C = 1"]))
    print("accuracy: ours {ours:.4f}, LogisticRegression {peer:.4f}".format(**figures["accuracy"]))
    print("passes over the rows: ours {ours}, LogisticRegression {peer}, ten C {grid}".format(**figures["passes"]))
    if options.json:
        ratios = [{"name": name, "above": a, "below": b, "ratio": a[0] / b[0], "target": t} for name, a, b, t in rows]
        options.json.write_text(json.dumps({"ratios": ratios, **figures}, indent=2))


if __name__ == "__main__":
    main()
