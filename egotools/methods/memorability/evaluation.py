"""Memorability evaluated from files: a run, published weights, or a baseline.

Axes: N clips, S seeds, D features.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from egotools.config import finite, options_of, to_json
from egotools.errors import TableError
from egotools.evaluate.leakage import GROUP_COLUMNS, shared_remarks, unlearned
from egotools.evaluate.splits import is_in
from egotools.files.disk import write_whole
from egotools.machine import choose_device
from egotools.methods.memorability.normalizing import doubts, normalization
from egotools.methods.memorability.options import Data, EvaluationOptions, Normalizing
from egotools.methods.memorability.released import fit_released, without_similarity
from egotools.methods.memorability.results import Evaluated, evaluated_figures, extremes_picture
from egotools.methods.memorability.run import TrainedRun, open_run
from egotools.methods.memorability.scores import of_undefined, of_zeros, read_scores
from egotools.methods.memorability.task import (
    Member,
    ScoredClips,
    plan_training,
    read_task,
    train_members,
)
from egotools.plots import scatter_picture
from egotools.progress import Progress, no_progress
from egotools.tables.groups import Features, only, read_features
from egotools.tables.matching import features_of, matched
from egotools.tables.table import Mask, Table
from egotools.texts import split_name
from egotools.training.folds import Scores
from egotools.training.members import summarized
from egotools.training.runs import provenance_of
from egotools.types import IntArray

Content = dict[str, Any]  # a report; Any: JSON values
Floats = npt.NDArray[np.floating[Any]]
Baseline = Literal["ridge", "svr"]

STRENGTHS = np.logspace(0, 5, 11)  # of ridge; the one of the smallest leave-one-out error is taken


def evaluate_memorability(
    manifest: Path,
    caches: Sequence[Path],
    options: EvaluationOptions,
    normalizing: Normalizing,
    *,
    device: str = "auto",
    progress: Progress = no_progress,
) -> tuple[Content, Evaluated]:
    """Evaluates predicted scores of a manifest's clips; the report, and each clip's scores.

    Args:
        manifest: which clips, with their scores.
        caches: their features; of a run, those it was trained on unless others of the same names are given.
        options: what is evaluated.
        normalizing: of published weights; a run has its own, a baseline standardizes all.
        device: where networks run.
        progress: of trainings.

    Raises:
        RunError, WeightsError: no such run or weights, or a damaged one.
        TableError: features or scores that cannot be used.
    """
    chosen = choose_device(device)
    trained = None if options.run is None else open_run(options.run)
    usual, groups = (Data(), None) if trained is None else (trained.data, trained.groups)
    data = Data(options.target or usual.target, options.folds or usual.folds)
    read = partial(
        read_task, target=data.target, folds=data.fold_file, test_split=options.split or "val", groups_of_run=groups
    )
    caches, unused = _caches(caches, trained)
    if options.baseline is not None:
        task = read(manifest, caches)
        evaluated, remarks, protocol = _of_baseline(task, options.baseline)
        normalizing = Normalizing(standardize=tuple(group.name for group in task.features.groups))
    elif trained is not None:
        features = read_features(manifest, caches, labels=[data.target, *GROUP_COLUMNS], groups_of_run=groups)
        evaluated, remarks, protocol = _of_run(trained, features, data, options, chosen)
        normalizing = trained.normalizing
        remarks += doubts(trained.groups, normalizing)
    else:
        evaluated, remarks, protocol, normalizing = _of_weights(manifest, caches, options, normalizing, data, chosen)
    figures = evaluated_figures(evaluated, draws=options.draws)
    targets = [evaluated.target[rows] for rows in evaluated.strata for _ in evaluated.predicted]
    remarks = [*unused, *remarks, *of_zeros(evaluated.target), *of_undefined(targets, figures["by_network"])]
    content = {
        "command": "eval memorability",
        "protocol": protocol,
        **finite(figures),
        "remarks": [*evaluated.table.remarks, *remarks],
        **provenance_of({**options_of(options), **options_of(data), **normalizing.as_done()}, manifest, caches),
    }
    if options.ablation and trained is not None:
        task = read(manifest, caches)
        content["ablation"] = finite(ablation(task, trained, chosen, progress))
    return content, evaluated


def save(folder: Path, content: Content, evaluated: Evaluated, manifest: Path) -> list[str]:
    """Writes predictions, pictures and the report, each whole or not at all; what could not be shown, in words."""
    title = f"{content['arguments']['target']}: {content['protocol']}"
    write_whole(folder / "predictions.csv", evaluated.to_csv())
    write_whole(folder / "scatter.png", scatter_picture(evaluated.target, evaluated.mean, title=title))
    picture, remarks = extremes_picture(evaluated, manifest)
    if picture is not None:
        write_whole(folder / "extremes.png", picture)
    write_whole(folder / "report.json", to_json(content))
    return remarks


def ablation(
    task: ScoredClips, trained: TrainedRun, device: torch.device, progress: Progress = no_progress
) -> list[Content]:
    """What each subset of the feature groups is worth, trained as the run was; the similarities are one group."""
    tiers: dict[str, list[str]] = {}
    for group in task.features.groups:
        tiers.setdefault(group.tier, []).append(group.name)
    subsets = [chosen for size in range(1, len(tiers) + 1) for chosen in combinations(tiers, size)]
    config = replace(trained.training, init=None, raw_order=None)
    found = []
    for number, chosen in enumerate(subsets):
        progress("ablation", number, len(subsets))
        features = only(task.features, [name for tier in chosen for name in tiers[tier]])
        names = tuple(group.name for group in features.groups)
        kept = tuple(name for name in trained.normalizing.standardize if name in names)
        normalizing = replace(trained.normalizing, standardize=kept)
        plan = plan_training(replace(task, features=features), config, normalizing, trained.how)
        members = train_members(plan, seed=trained.seed, device=device)
        figures = summarized([(m.fold, m.seed, getattr(m, config.keep)) for m in members], "spearman")
        found.append({"features": list(chosen), "columns": features.groups[-1].stop, **figures})
    return found


def _caches(given: Sequence[Path], trained: TrainedRun | None) -> tuple[list[Path], list[str]]:
    """The caches to read; of a run those that it needs, in its order; and remarks on others."""
    if trained is None:
        if not given:
            raise TableError("--features is needed: the caches to evaluate on")
        return list(given), []
    own = [group.cache for group in trained.groups]
    return matched(features_of(trained.records), given or own, run=trained.run.path)


def _of_run(
    trained: TrainedRun, features: Features, data: Data, options: EvaluationOptions, device: torch.device
) -> tuple[Evaluated, list[str], str]:
    table = features.table
    scores = read_scores(table, data.target)
    own = {} if options.all_rows else _own_folds(trained, table, scores, options.split)
    if own:
        parts = {fold: (rows, [m for m in trained.members if m.fold == fold]) for fold, rows in own.items()}
        count = int(_chosen(table, scores, options.split).sum()) - sum(map(len, own.values()))
        left = f"{count} scored clips are in none of the run's folds: left out (--all-rows evaluates all)"
        remarks = [left] if count else []
        protocol = f"clips of {len(own)} folds, each scored by networks trained without it"
    else:
        rows, name = _evaluated_rows(table, scores, options.split, data.target, all_rows=options.all_rows)
        there = np.isin(np.arange(len(table)), rows)
        there, remarks = unlearned(table, trained.learned, there, all_rows=options.all_rows)
        if not options.all_rows and trained.learned is not None:
            remarks += shared_remarks(table, data.target, trained.learned.has(table), there)
        parts = {"": (np.flatnonzero(there), list(trained.members))}
        protocol = f"{int(there.sum())} {name} clips scored by a trained run"
        if there.sum() < 2:
            raise TableError(f"one clip cannot be evaluated; {remarks[0]}")
    return _evaluated(parts, features, scores, device), remarks, protocol


def _own_folds(trained: TrainedRun, table: Table, scores: Scores, split: str | None) -> dict[str, IntArray]:
    """Of a run with folds: the numbers of the scored clips (of a split) that each fold was not trained on."""
    if "" in trained.evaluated:
        return {}
    chosen = _chosen(table, scores, split)
    rows = {fold: np.flatnonzero(np.isin(table.ids, ids) & chosen) for fold, ids in trained.evaluated.items()}
    return {fold: found for fold, found in rows.items() if len(found) > 1}


def _chosen(table: Table, scores: Scores, split: str | None) -> Mask:
    """The scored clips [N], of a split if one is asked for."""
    scored: Mask = ~np.isnan(scores)
    return scored if split is None else scored & is_in(table, split)


def _evaluated_rows(
    table: Table, scores: Scores, split: str | None, target: str, *, all_rows: bool = False
) -> tuple[IntArray, str]:
    """The clips to evaluate, and what their split is called; all scored clips of a manifest without splits."""
    scored: Mask = ~np.isnan(scores)
    there = set(table.split[scored].tolist())
    usual = () if all_rows else ("test", "val")
    name = split_name(split) if split else next((each for each in usual if each in there), "")
    everything = split is None and (all_rows or there <= {""})
    chosen = np.flatnonzero(scored & (everything | is_in(table, name)))
    if len(chosen) < 2:
        has = ", ".join(sorted(there - {""})) or "none"
        raise TableError(
            f"{len(chosen)} clips with a {target} in the split {name or 'test or val'!r}; choose from {has}"
        )
    return chosen, name or "scored"


def _evaluated(
    parts: dict[str, tuple[IntArray, list[Member]]], features: Features, scores: Scores, device: torch.device
) -> Evaluated:
    """The scores of each part's clips by each of its networks."""
    values = features.table.values
    predicted = [np.array([m.scores(values[rows], device) for m in members]) for rows, members in parts.values()]
    return _joined(parts, predicted, features.table, scores)


def _joined(parts: dict[str, Any], predicted: Sequence[Any], table: Table, scores: Scores) -> Evaluated:
    rows = [part[0] for part in parts.values()]
    order = np.concatenate(rows)
    fold = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    mask = np.zeros(len(table), bool)
    mask[order] = True
    place = np.argsort(order, kind="stable")  # in the order of the manifest
    return Evaluated(
        table.only(mask),
        scores[order][place].astype(np.float64),
        np.concatenate(predicted, axis=1)[:, place],
        fold[place].astype(np.int64),
        tuple(parts),
    )


def _of_baseline(task: ScoredClips, kind: Baseline) -> tuple[Evaluated, list[str], str]:
    table, names = task.features.table, tuple(group.name for group in task.features.groups)
    parts, predicted, remarks = {}, [], dict[str, None]()
    for fold in task.folds:
        fitted, said = normalization(task.features, fold.train, Normalizing(standardize=names))
        train, test = (fitted(torch.from_numpy(table.values[rows])).numpy() for rows in (fold.train, fold.test))
        parts[fold.name] = (fold.test,)
        remarks.update(dict.fromkeys(said))
        predicted.append(predict_baseline(kind, train, task.scores[fold.train], test)[np.newaxis])
    protocol = f"{kind} on {'+'.join(names)}, standardized, {len(task.folds)} fold{'s' * (len(task.folds) > 1)}"
    own = [remark for remark in task.remarks if remark not in table.remarks]
    return _joined(parts, predicted, table, task.scores), [*own, *remarks], protocol


def _of_weights(
    manifest: Path,
    caches: Sequence[Path],
    options: EvaluationOptions,
    normalizing: Normalizing,
    data: Data,
    device: torch.device,
) -> tuple[Evaluated, list[str], str, Normalizing]:
    unused: list[str] = []
    if options.zero_similarity:
        caches, unused = without_similarity(caches)
    remarks = [f"{', '.join(unused)}: left out, since all similarity columns are 0"] if unused else []
    if not caches:
        raise TableError("--features has similarities only, which --zero-similarity leaves out")
    features = read_features(manifest, caches, labels=[data.target])
    released = fit_released(
        str(options.weights),
        features.groups,
        normalizing,
        zero_similarity=options.zero_similarity,
        raw_order=options.raw_order,
    )
    table = features.table
    scores = read_scores(table, data.target)
    rows, name = _evaluated_rows(table, scores, options.split, data.target)
    train = np.flatnonzero(table.split == "train") if (table.split == "train").any() else np.arange(len(table))
    fitted, said = normalization(features, train, released.normalizing)
    member = Member("", 0, released.network, fitted, {}, {})
    evaluated = _evaluated({"": (rows, [member])}, features, scores, device)
    remarks += [*released.remarks, *said]
    return evaluated, remarks, f"{len(rows)} {name} clips scored by {options.weights}", released.normalizing


def predict_baseline(kind: Baseline, values: Floats, target: Floats, others: Floats) -> npt.NDArray[np.float64]:
    """Fits standardized features [N, D] to targets [N]; what it predicts of others [M, D], [M].

    Ridge chooses its strength on the training clips, one left out at a time; the support vector machine has an RBF
    kernel and scikit-learn's defaults.
    """
    if kind == "ridge":
        from sklearn.linear_model import RidgeCV

        model = RidgeCV(alphas=STRENGTHS)
    else:
        from sklearn.svm import SVR

        model = SVR()
    return np.asarray(model.fit(values, target).predict(others), np.float64)
