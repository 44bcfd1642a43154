"""Training of M3-S off a cache, against one small file per feature and clip as the reference reads them.

(j) 20 epochs over 7,000 clips of 3,635 features (raw 15, HRNet 720, CSN 2048, two clusters), batches of 32. The
reference reads ten files a clip in every epoch, its one-hot vectors as text; egotools reads three caches and two
columns of cluster numbers once. Both load the same numbers, which is checked. The reference's reading is measured on
some of the clips, its files in the page cache, and scaled; its network is trained as PyTorch does by default.

    python benchmarks/memorability.py
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Cost, Ratio, cost_of, in_turns, median_costs, median_ratio, report

CLIPS, EPOCHS, BATCH = 7000, 20, 32
WIDTHS = {"m3s": 15, "hrnet": 720, "csn": 2048}
CLUSTERS = {"hrnet": 434, "csn": 418}
RAW = {"hog": 10, "brightness": 1, "contrast": 1, "meanOF": 1, "blurriness": 1, "size_orig": 1}
WITHOUT_DEVIATION = ("meanOF", "size_orig")


def make_data(folder: Path, clips: int, in_files: int) -> list[str]:
    """A manifest and five caches of drawn features; of the first clips also the reference's files. Gives the ids."""
    from egotools.manifests.table import write_manifest
    from egotools.stores import Recipe, Source, open_writer
    from egotools.types import Clip, Rows

    rng = np.random.default_rng(0)
    ids = [f"clip-{number:05d}" for number in range(clips)]
    scores = rng.random(clips).round(4)
    splits = ["train"] * (clips - 2) + ["val"] * 2
    labels = zip(ids, scores, splits, strict=True)
    write_manifest(
        folder / "m.csv", [Clip(id, Path(), split=split, labels={"memorability": str(s)}) for id, s, split in labels]
    )
    values = {name: rng.normal(size=(clips, width)).astype(np.float32) for name, width in WIDTHS.items()}
    recipes = {name: Recipe({"extractor": name}) for name in WIDTHS}
    for name, count in CLUSTERS.items():
        values[f"similarity-{name}"] = rng.integers(count, size=(clips, 1)).astype(np.float32)
        recipes[f"similarity-{name}"] = Recipe({"derivation": "similarity"}, {"learned": {"classes": count}})
    for name, recipe in recipes.items():
        with open_writer(folder / f"{name}.lmdb", recipe) as writer:
            for id, row in zip(ids, values[name], strict=True):
                writer.append(id, Rows(row[np.newaxis], np.array([[0.0, 3.0]])))
                writer.finish(id, Source(""))
            writer.commit()
    for number, id in enumerate(ids[:in_files]):
        write_files(folder, id, {name: each[number] for name, each in values.items()})
    return ids


def write_files(folder: Path, id: str, rows: Mapping[str, Any]) -> None:
    """The files of one clip in the reference's layout."""
    at = 0
    for name, width in RAW.items():
        part = rows["m3s"][at : at + width].astype(np.float64)
        at += width
        (folder / name).mkdir(exist_ok=True)
        if name == "hog":
            np.save(folder / name / f"{id}.npy", np.stack([part, np.ones(width)], axis=1))
        else:
            columns = part[np.newaxis] if name in WITHOUT_DEVIATION else np.array([[part[0], 1.0]])
            np.savetxt(folder / name / f"{id}.txt", columns)
    for name, count in CLUSTERS.items():
        for kind in (name, f"similarity-{name}"):
            (folder / kind).mkdir(exist_ok=True)
        np.save(folder / name / f"{id}.npy", rows[name])
        np.savetxt(folder / f"similarity-{name}" / f"{id}.txt", np.eye(count)[int(rows[f"similarity-{name}"][0])][None])


def read_files(folder: Path, id: str) -> Any:
    """The features [D] of one clip from its ten files, as the reference reads them."""
    parts = []
    for name in RAW:
        if name == "hog":
            found = np.load(folder / name / f"{id}.npy", allow_pickle=False)
        else:
            found = np.loadtxt(folder / name / f"{id}.txt")
            found = (found.reshape(1) if found.ndim == 0 else found)[np.newaxis]
        parts.append((found[:, 0] - 0.0) / 1.0)
    parts += [np.load(folder / name / f"{id}.npy", allow_pickle=False) for name in CLUSTERS]
    parts.append(np.concatenate([np.loadtxt(folder / f"similarity-{name}" / f"{id}.txt") for name in CLUSTERS]))
    return np.concatenate(parts)


def reference_reading(folder: Path, ids: Sequence[str]) -> list[Any]:
    """Batches of the clips, float32 [B, D]."""
    import torch

    batches = []
    for first in range(0, len(ids), BATCH):
        rows = [torch.from_numpy(read_files(folder, id)) for id in ids[first : first + BATCH]]
        batches.append(torch.stack(rows).float())
    return batches


def reference_training(batches: Sequence[Any], steps: int) -> None:
    """Steps of the reference's network, on batches that are there."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    widths = [batches[0].shape[1], 512, 64, 1]
    layers = [nn.Linear(widths[0], widths[1]), nn.Mish(), nn.Linear(*widths[1:3]), nn.Mish(), nn.Linear(*widths[2:])]
    network = nn.Sequential(*layers, nn.Sigmoid())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5)
    for step in range(steps):
        batch = batches[step % len(batches)]
        loss = nn.functional.mse_loss(network(batch), torch.full((len(batch), 1), 0.8))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def our_task(folder: Path) -> Any:
    """The whole table, read and normalized, on the device."""
    import torch

    from egotools.methods.memorability.normalizing import normalization
    from egotools.methods.memorability.options import Normalizing
    from egotools.methods.memorability.task import read_task
    from egotools.methods.memorability.training import Examples

    caches = [folder / f"{name}.lmdb" for name in (*WIDTHS, *(f"similarity-{name}" for name in CLUSTERS))]
    task = read_task(folder / "m.csv", caches, target="memorability")
    (fold,) = task.folds
    fitted, _ = normalization(task.features, fold.train, Normalizing(norm="none"))
    values = fitted(torch.from_numpy(task.features.table.values))
    sides = (torch.from_numpy(rows) for rows in (fold.train, fold.test))
    return Examples(values, torch.from_numpy(task.scores), *sides)


def our_batches(examples: Any, epochs: int) -> None:
    """Every batch of some epochs, gathered."""
    from egotools.training.epochs import batches

    for batch in batches(0, rows=examples.train, batch_size=BATCH, epochs=epochs, seed=0):
        examples.values[batch.rows]


def our_training(examples: Any, epochs: int) -> None:
    """Epochs of the method itself, judged after each."""
    from egotools.methods.memorability.options import Training
    from egotools.methods.memorability.training import new_network, train_network

    config = Training(epochs=epochs, batch_size=BATCH)
    train_network(examples, new_network(examples.values.shape[1], config, seed=0), config, seed=0)


def check(folder: Path, ids: Sequence[str], examples: Any) -> None:
    """Refuses to compare the times of different features."""
    for number, id in enumerate(ids[:4]):
        np.testing.assert_allclose(examples.values[number], read_files(folder, id), rtol=1e-6)


def scaled(cost: Cost, factor: float) -> Cost:
    return Cost(cost.cpu * factor, cost.wall * factor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="64 clips, one round: shows that it runs")
    options = parser.parse_args(arguments)
    clips, in_files = (66, 64) if options.quick else (CLIPS + 2, 320)
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ids = make_data(folder, clips, in_files)
        examples = our_task(folder)
        check(folder, ids, examples)
        rounds = in_turns(tasks(folder, ids[:in_files], examples, clips - 2), 1 if options.quick else options.rounds)
    for costs in rounds:
        costs["reference epoch"] = costs["reference reading"] + costs["reference training"]
        costs["egotools epoch"] = scaled(costs["egotools reading"], 1 / EPOCHS) + costs["egotools training"]
        costs["reference reading"] = scaled(costs["reference reading"], EPOCHS)
    ratios = [
        Ratio(
            f"(j) reading for {EPOCHS} epochs, reference / egotools",
            median_ratio(rounds, "reference reading", "egotools reading"),
            None if options.quick else 50,
        ),
        Ratio(
            "(j) a whole epoch, reference / egotools",
            median_ratio(rounds, "reference epoch", "egotools epoch"),
            None if options.quick else 4,
        ),
        Ratio("(j) its steps alone", median_ratio(rounds, "reference training", "egotools training")),
    ]
    report(f"{clips - 2} clips, {sum(WIDTHS.values()) + sum(CLUSTERS.values())} features", ratios, options.json,
           figures=median_costs(rounds))  # fmt: skip


def tasks(folder: Path, ids: Sequence[str], examples: Any, clips: int) -> dict[str, Callable[[], Cost]]:
    """What is measured: of the reference an epoch, of ours the reading of all epochs and the steps of one."""
    steps = math.ceil(clips / BATCH)
    share = clips / len(ids)

    def reading() -> None:
        our_batches(our_task(folder), EPOCHS)

    return {
        "reference reading": lambda: scaled(cost_of(lambda: reference_reading(folder, ids)), share),
        "reference training": lambda: _training_cost(folder, ids, steps),
        "egotools reading": lambda: cost_of(reading),
        "egotools training": lambda: cost_of(lambda: our_training(examples, 1)),
    }


def _training_cost(folder: Path, ids: Sequence[str], steps: int) -> Cost:
    batches = reference_reading(folder, ids)
    return cost_of(lambda: reference_training(batches, steps))


if __name__ == "__main__":
    main()
