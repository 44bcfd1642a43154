"""A manifest, caches, and command lines of memorability."""

from __future__ import annotations

import csv
import json

import numpy as np
from click.testing import CliRunner
from egotools.cli.main import root
from tabled import write_cache, write_table

from egotools.stores import Recipe

CLIPS = 120
IDS = [f"clip/{number}" for number in range(CLIPS)]
SPLITS = ["train"] * 72 + ["val"] * 24 + ["test"] * 24
RAW = {"extractor": "m3s", "options": {"deviations": False}}
SIMILARITY = Recipe({"derivation": "similarity"}, {"learned": {"classes": 3}})
FAST = ["--hidden", "8", "--epochs", "8", "--batch-size", "8", "--learning-rate", "0.01"]


def run(*arguments, status=0):
    result = CliRunner().invoke(root, [str(each) for each in arguments], catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit) and status != 1:
        raise result.exception
    assert status == 1 or result.exit_code == status, result.output
    return result


def shown(*arguments):
    """The JSON that a command prints."""
    return json.loads(run(*arguments, "--json").stdout)


def complaint(*arguments):
    """The one line of an error."""
    result = run(*arguments, status=1)
    assert result.exception is not None
    text = str(result.exception)
    assert "\n" not in text
    return text


def write_files(folder, rng):
    """A manifest and caches in a folder: the score follows from the first column of csn and, less, of m3s."""
    csn, raw = rng.normal(size=(CLIPS, 6)), 1000 + 50 * rng.normal(size=(CLIPS, 15))
    score = 1 / (1 + np.exp(-2 * csn[:, 0] - 0.01 * (raw[:, 0] - 1000)))
    write_table(folder / "m.csv", IDS, {"memorability": score.round(4), "other": rng.random(CLIPS)}, SPLITS)
    write_cache(folder / "csn.lmdb", IDS, csn)
    write_cache(folder / "m3s.lmdb", IDS, raw, Recipe(RAW))
    write_cache(folder / "similarity-csn.lmdb", IDS, (np.arange(CLIPS) % 4 - 1)[:, None], SIMILARITY)
    return folder


def caches(data, *names):
    return [part for name in names for part in ("--features", data / f"{name}.lmdb")]


def train(data, *options, names=("csn", "m3s"), out="run", fast=FAST):
    return [
        "train",
        "memorability",
        "--manifest",
        data / "m.csv",
        *caches(data, *names),
        *fast,
        *options,
        "--out",
        data / out,
    ]


def judge(data, *options, out="run"):
    return ["eval", "memorability", "--run", data / out, "--manifest", data / "m.csv", "--draws", "20", *options]


def read_csv(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def write_folds(path, *folds):
    path.write_text(json.dumps({"ids": folds, "one": [[]], "text": 3}))
