"""Published weights of M3-S and caches of their widths: for tests."""

from __future__ import annotations

import csv
import json

import numpy as np
import torch
from click.testing import CliRunner
from egotools.cli.main import root
from tabled import write_cache, write_table

from egotools.nn.mlp import ScoreMLP
from egotools.stores import Recipe
from egotools.tables.groups import Group
from egotools.tables.table import Table, read_table

CLIPS = 40
IDS = [f"clip/{number}" for number in range(CLIPS)]
SPLITS = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
WIDTHS = {"m3s": 15, "hrnet": 720, "csn": 2048}


def invoke(*words):
    return CliRunner().invoke(root, [str(word) for word in words])


def shown(*words):
    """The JSON that a command prints."""
    result = invoke(*words, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def complaint(*words):
    """The one line of an error."""
    result = invoke(*words)
    assert result.exit_code == 1, result.output
    assert type(result.exception).__module__ == "egotools.errors", result.exception
    assert "\n" not in str(result.exception)
    return str(result.exception)


def recipe(name, **options):
    return Recipe({"extractor": name, "options": options})


def similarity(method, **options):
    return Recipe({"derivation": "similarity", "options": {"method": method, **options}, "inputs": {"csn": "0"}})


def save_weights(path, width):
    """A checkpoint of that many columns whose scores differ from clip to clip; the network."""
    torch.manual_seed(0)
    network = ScoreMLP(width, (4,))
    torch.save(network.state_dict(), path)
    return network


def judge(data, weights, *names, more=()):
    caches = [word for name in names for word in ("--features", data / f"{name}.lmdb")]
    line = ["eval", "memorability", "--weights", data / weights, "--manifest", data / "m.csv", "--draws", 5]
    return [*line, *caches, *more]


def train(data, *names, more=(), out="run"):
    caches = [word for name in names for word in ("--features", data / f"{name}.lmdb")]
    line = ["train", "memorability", "--manifest", data / "m.csv", "--hidden", 4, "--epochs", 1]
    return [*line, *caches, *more, "--out", data / out]


def predicted(folder):
    rows = csv.DictReader((folder / "predictions.csv").read_text().splitlines())
    return [float(row["predicted"]) for row in rows]


def expected(network, *parts):
    """Scores of the columns that the network is to see."""
    with torch.no_grad():
        return network(torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))).squeeze(1).numpy()


def values_of(data, name):
    return read_table(data / "m.csv", [data / f"{name}.lmdb"], split="test").values.astype(np.float64)


def group(name="m3s", width=15, classes=None, kind="m3s", **options):
    from pathlib import Path

    identity = recipe(kind, **options) if kind == "m3s" else similarity(kind, **options)
    return Group(name, Path(f"{name}.lmdb"), 0, width, classes, identity.identity, {})


def table_of(values):
    count = len(values)
    ids = np.array([str(number) for number in range(count)])
    return Table(ids, values.astype(np.float32), np.zeros((count, 2)), {}, np.full(count, "train"))


def write_data(tmp_path, rng):
    """A manifest with scores, and caches of the published widths."""
    write_table(tmp_path / "m.csv", IDS, {"memorability": rng.random(CLIPS).round(4)}, SPLITS)
    for name, width in WIDTHS.items():
        scale = 50.0 if name == "m3s" else 1.0
        write_cache(tmp_path / f"{name}.lmdb", IDS, scale * rng.random((CLIPS, width)), recipe(name))
    write_cache(tmp_path / "more/m3s.lmdb", IDS, 50 * rng.random((CLIPS, 28)), recipe("m3s", deviations=True))
    return tmp_path
