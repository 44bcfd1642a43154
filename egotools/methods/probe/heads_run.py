"""Heads of several labels from files to files: trained, kept as a run, evaluated. Axes: C clips, N rows, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from egotools.config import finite, options_of
from egotools.errors import RunError, TableError
from egotools.evaluate.classification import class_remark, numbered
from egotools.evaluate.leakage import GROUP_COLUMNS, shared_remarks, unlearned
from egotools.evaluate.several_labels import PREDICTIONS, SUBSET, Evaluated, SeveralLabels, check_rows
from egotools.evaluate.splits import Partition, Sides, groups, sides, to_evaluate, unused
from egotools.machine import choose_device
from egotools.manifests.table import label_columns
from egotools.methods.probe.head import Head
from egotools.methods.probe.heads import LinearHeads, fit_heads
from egotools.methods.probe.run import METHOD
from egotools.methods.records import read_records, write_records
from egotools.progress import Progress, no_progress
from egotools.tables.matching import features_of, matched, numbered_inputs
from egotools.tables.table import Table
from egotools.tables.windows import Windows, read_windows
from egotools.texts import counted, named
from egotools.training import learned_from
from egotools.training.learned_from import LearnedFrom
from egotools.training.runs import Run, once, provenance_of, run_recipe

WEIGHTS = "heads.safetensors"
MEAN = "mean"
NAMED = 3
DRAW = 2  # beside a seed: the row of each clip that is evaluated alone; training draws by seed, epoch, 1
Content = dict[str, Any]  # a report; Any: JSON values


class _Identity(TypedDict):
    labels: list[str]
    rows: Literal["random", "mean"]


class _Config(TypedDict):
    """`config.json`. Any: JSON values."""

    identity: _Identity
    origin: dict[str, Any]


class _Shown(TypedDict):
    """A report, as far as it is shown. Any: JSON values."""

    labels: list[str]
    remarks: list[str]
    clips: list[dict[str, Any]]


def train_heads(
    folder: Path,
    manifest: Path,
    features: Sequence[Path],
    head: Head,
    partition: Partition,
    *,
    labels: Sequence[str],
    held_out: float = 0.25,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Trains a linear head for each label on cached features, evaluates them, and keeps a run.

    Args:
        folder: of the run.
        manifest: which clips.
        features: caches, joined by id.
        head: which rows, epochs, rate.
        partition: which clips are for what. Without a split to train on, or to evaluate on, whole videos are held out.
        labels: columns, each of which gets a head.
        held_out: share of the clips.
        seed: of everything random.
        device: to compute on.
        progress: told the steps.

    Returns:
        The report, and whether it is new.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TableError: no column of a label, or no clips to train or to evaluate on.
    """
    arguments = {"labels": [*labels], "seed": seed, "held_out": held_out, **options_of(partition), **head.arguments}
    recipe = run_recipe(METHOD, arguments, manifest, features, numbered_inputs(features))

    def make(run: Run) -> Content:
        chosen = choose_device(device)
        windows = _read(manifest, features, labels, head.rows, partition.group)
        split = _sides(windows.table, partition, labels[0], held_out, seed)
        train = windows.only(split.sides.train)
        for label in labels:
            numbered(train.table.column(label))  # says so if there is one class only
        heads = fit_heads(
            windows.only(split.sides.train), labels, head, run, seed=seed, device=chosen, progress=progress
        )
        write_records(run, features)
        run.write(WEIGHTS, heads.to_bytes())
        learned = LearnedFrom.of(windows.table, split.sides.train, split.group)
        learned_from.keep(run, {"": learned})
        most = int(windows.counts.max())
        test, ways = windows.only(split.sides.test), (1, most) if most > 1 else (1,)
        found = _evaluated(heads, test, ways, seed, MEAN if head.rows == MEAN else "")
        run.write(PREDICTIONS, found.predictions.to_csv())
        remarks = [*windows.table.remarks, *split.sides.remarks, *found.content.pop("remarks")]
        facts = {"command": "train probe", "protocol": split.protocol, "train_rows": int(split.sides.train.sum())}
        return {**facts, **found.content, "remarks": remarks, **provenance_of(arguments, manifest, features)}

    return once(folder, recipe, make, _Shown)


def is_of_heads(folder: Path) -> bool:
    """Whether a folder holds a run of `train_heads`.

    Raises:
        RunError: it holds no run.
    """
    identity = Run.open(folder).recipe.identity
    return identity.get("method") == METHOD and "labels" in identity


def evaluate_heads(
    folder: Path,
    manifest: Path,
    features: Sequence[Path],
    *,
    clips: Sequence[int] = (),
    test_split: str | None = None,
    all_rows: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> Evaluated:
    """What the heads of a run say of clips that they were not trained on.

    Args:
        folder: the run.
        manifest: which clips.
        features: caches made as those that it was trained on, in any order.
        clips: for each number, the class probabilities of so many of an action's rows are averaged, evenly spread; 1:
            one row drawn at random by `seed`. Empty: all rows, or their mean if the run was trained on means.
        test_split: which split; None: test, else val, or all if there is neither.
        all_rows: also evaluate the clips that it was trained on.
        seed: of the single rows.
        device: to compute on.

    Raises:
        RunError: no such run, or a damaged one.
        TableError: features of another recipe, or no clips to evaluate.
    """
    chosen = choose_device(device)
    run = Run.of_method(folder, METHOD, _Config)
    run.report()  # says so if it is not done
    heads, identity = LinearHeads.load(folder / WEIGHTS).to(chosen), run.recipe.identity
    if list(heads.classes) != identity["labels"]:
        raise RunError(
            f"{folder / WEIGHTS} is of {', '.join(heads.classes)}, the run of {', '.join(identity['labels'])}"
        )
    caches, remarks = matched(features_of(read_records(run)), features, run=folder)
    learned = learned_from.read(run)
    known = None if learned is None else learned[""]
    group = None if known is None else known.group
    windows = _read(manifest, caches, identity["labels"], "random" if clips else identity["rows"], group)
    name, rows = to_evaluate(windows.table, test_split, all_rows=all_rows)
    rows, more = unlearned(windows.table, known, rows, all_rows=all_rows)
    if known is not None:
        more += shared_remarks(windows.table, identity["labels"][0], known.has(windows.table), rows)
    means = MEAN if not clips and identity["rows"] == MEAN else ""
    found = _evaluated(heads, windows.only(rows), clips or (int(windows.counts.max()),), seed, means)
    arguments = {"run": str(folder), "clips": [*clips], "test_split": test_split, "all_rows": all_rows, "seed": seed}
    content = {
        "command": "eval action",
        "protocol": "heads of several labels" + (f", on {name}" if name else ""),
        **found.content,
        "remarks": [*windows.table.remarks, *remarks, *more, *found.content["remarks"]],
        **provenance_of(arguments, manifest, caches),
    }
    return replace(found, content=finite(content))


@dataclass(frozen=True, eq=False)
class _Split:
    """Which clips are for what; the protocol says it, and whole groups of a column are on one side, or not."""

    sides: Sides
    protocol: str
    group: str | None


def _read(
    manifest: Path, features: Sequence[Path], labels: Sequence[str], rows: Literal["random", "mean"], group: str | None
) -> Windows:
    """The clips that have every label, with the columns of groups and subsets."""
    subsets = [name for name in label_columns(manifest) if name.startswith(SUBSET)]
    columns = dict.fromkeys([*labels, *GROUP_COLUMNS, *([] if group is None else [group]), *subsets])
    windows = read_windows(manifest, features, is_reduced=rows == MEAN, labels=list(columns))
    there = check_rows(windows.table, labels)
    kept = np.isin(windows.table.ids.astype(str), there.ids.astype(str))
    return replace(windows.only(kept), table=there)


def _sides(table: Table, partition: Partition, label: str, held_out: float, seed: int) -> _Split:
    """By the manifest's splits, if they have both sides; or else by holding out whole videos."""
    there = set(table.split.tolist())
    is_asked = partition.train_split is not None or partition.test_split is not None
    if is_asked or ("train" in there and there & {"val", "test"}):
        found = sides(table, partition, label=label)
        if found is None:
            raise TableError("the manifest has no splits")
        found = replace(found, remarks=(*found.remarks, *unused(table, found.train | found.test | found.left_out)))
        return _Split(found, found.protocol, partition.group)
    columns = [name for name in GROUP_COLUMNS if name in table.labels and len(set(table.column(name).tolist())) > 1]
    column = partition.group or next(iter(columns), None)
    of_clip = groups(table, column)
    if of_clip.max() < 1:
        raise TableError(
            f"all clips are of one {column or 'id'}: there is nothing to evaluate on; choose another --group"
        )
    test = _held_out(of_clip, held_out, np.random.default_rng([seed, DRAW]))
    splits = sorted(there - {""})
    has = f"only the split{'s' if len(splits) > 1 else ''} {', '.join(splits)}" if splits else "no splits"
    protocol = f"{test.mean():.0%} held out, {column or 'clip'} kept whole"
    remark = (
        f"the manifest has {has}: {int(test.sum())} of {len(test)} clips are held out, {column or 'clip'}s kept whole"
    )
    return _Split(Sides(~test, test, "", "", np.zeros(len(test), bool), (remark,)), protocol, column)


def _held_out(of_clip: Any, share: float, generator: np.random.Generator) -> Any:
    """Clips [C] to hold out, bool: whole groups by their numbers [C], drawn until there are enough, not all of them."""
    held = np.zeros(len(of_clip), bool)
    for group in generator.permutation(of_clip.max() + 1)[:-1]:
        if held.mean() >= share:
            break
        held |= of_clip == group
    return held


def _evaluated(heads: LinearHeads, windows: Windows, clips: Sequence[int], seed: int, name: str = "") -> Evaluated:
    """Figures for each number of rows, of the clips that are left to evaluate; `name`: of what a row is."""
    entries, remarks = [], []
    found = SeveralLabels.of(windows.table, heads.classes, heads.constant(len(windows)))
    constant = found.figures()
    for label, names in found.unknown.items():
        remarks.append(f"{label}: {class_remark(names, 'not among the training clips: always an error')}")
    for count in dict.fromkeys(clips):
        is_random = count == 1 and bool((windows.counts > 1).any())
        if is_random:
            rows, owners = windows.drawn(np.random.default_rng([seed, DRAW])), np.arange(len(windows))
        else:
            rows, owners = windows.spread(count)
        short = windows.table.ids[windows.counts < count].tolist()
        if short:
            remarks.append(
                f"{counted(len(short), 'clip')} with fewer than {count} rows, all averaged: {named(short, NAMED)}"
            )
        found = SeveralLabels.of(windows.table, heads.classes, heads.probabilities(windows, rows, owners))
        entries.append({"clips": name or count, "is_random": is_random, **found.figures()})
    content = {"labels": list(heads.classes), "rows": len(windows), "clips": entries, "constant": constant}
    return Evaluated({**content, "remarks": remarks}, found)
