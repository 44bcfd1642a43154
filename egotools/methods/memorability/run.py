"""M3-S from files to a run, and a run back from its files."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from egotools.config import field_values, file_digest, options_of, to_json
from egotools.errors import RunError
from egotools.files.disk import open_file
from egotools.linear.standardize import Standardization
from egotools.machine import choose_device
from egotools.methods.memorability.options import Data, Normalizing, Training
from egotools.methods.memorability.published import published_layout
from egotools.methods.memorability.scores import of_undefined, of_zeros
from egotools.methods.memorability.task import (
    NETWORK,
    Member,
    ScoredClips,
    TrainingPlan,
    network_path,
    plan_training,
    read_network,
    read_task,
    summary,
    train_members,
)
from egotools.methods.records import check_records, keep_records
from egotools.progress import Progress, no_progress
from egotools.stores.recipe_shape import RecipeShape
from egotools.stores.store import Recipe
from egotools.tables.groups import Group
from egotools.tables.matching import Record
from egotools.texts import composed
from egotools.training import learned_from
from egotools.training.how import How, how_for
from egotools.training.learned_from import LearnedFrom
from egotools.training.members import joined_metrics, member_run
from egotools.training.runs import METRICS, Run, once, provenance_of, run_recipe
from egotools.weights.tensors import anchored

METHOD = "memorability"
NORMALIZATION = "normalization.safetensors"
FEATURES = "features.json"

Content = dict[str, Any]  # a report; Any: JSON values


class _Group(RecipeShape):
    name: str
    cache: str
    start: int
    stop: int
    classes: int | None


class _Member(TypedDict):
    fold: str
    seed: int
    last: dict[str, Any]
    best: dict[str, Any]


class FeaturesShape(TypedDict):
    """`features.json` (`egotools.files.json_files`). Any: JSON values."""

    groups: list[_Group]
    records: dict[str, Record]
    members: list[_Member]
    judged: dict[str, list[str]]


class _Identity(TypedDict):
    method: str
    target: str
    seed: int


class _Origin(TypedDict, total=False):
    init: str | None
    folds: str | None


class ConfigShape(TypedDict):
    """`config.json`; further options are compared with the types of their dataclasses."""

    identity: _Identity
    origin: _Origin


class _Epoch(TypedDict):
    epoch: float
    spearman: float | None
    pearson: float | None
    kendall: float | None
    mse: float | None
    mae: float | None
    r2: float | None
    spearman_deviation_over_seeds: float | None
    spearman_deviation_over_folds: float | None


class _Arguments(TypedDict):
    target: str


class ReportShape(TypedDict):
    """`report.json`, as far as it is shown; figures that are not finite are null."""

    protocol: str
    remarks: list[str]
    arguments: _Arguments
    last: _Epoch
    best: _Epoch


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What a run has trained, and on what."""

    run: Run
    groups: tuple[Group, ...]
    records: Mapping[str, Record]  # of each group, what it takes to compute it for new videos
    members: tuple[Member, ...]
    evaluated: Mapping[str, tuple[str, ...]]  # by fold, the ids that it was evaluated on
    learned: LearnedFrom | None  # what any of its networks was trained on; None: a run that does not say
    data: Data
    training: Training
    normalizing: Normalizing
    how: How
    seed: int


def train_memorability(
    folder: Path,
    manifest: Path,
    caches: Sequence[Path],
    data: Data,
    config: Training,
    normalizing: Normalizing,
    *,
    how: How = How(),  # noqa: B008 - frozen
    seed: int = 0,
    device: str = "auto",
    preset: str | None = None,
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Trains a network for each fold and seed, kept as a run in `folder`; its origin names the `preset` if any.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is, one that was
        interrupted is resumed.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TableError: features or scores that cannot be used.
    """
    chosen = choose_device(device)
    how, slower = how_for(how, chosen)
    task = read_task(manifest, caches, target=data.target, folds=data.fold_file)
    told = published_layout(task.features.groups[-1].stop) if config.init is not None else None
    data_set = normalizing.reference or (told.data_set if told else None)  # published weights tell by their width
    normalizing = replace(normalizing, reference=data_set or normalizing.data_set)
    arguments = {**options_of(data), **options_of(config), **options_of(normalizing), **how.identity, "seed": seed}
    plan = plan_training(task, config, normalizing, how)
    recipe = _recipe(arguments, data, config, normalizing, manifest, task, preset)

    def make(run: Run) -> Content:
        records = keep_records(run, [group.cache for group in task.features.groups])
        members = train_members(plan, seed=seed, device=chosen, run=run, progress=progress)
        _write_networks(run, members, config)
        _write_features(run, task, records, members)
        report = {**_report(plan, members), "precision_used": how.precision}
        report["remarks"] += slower
        return {**report, **provenance_of({**arguments, **normalizing.as_done()}, manifest, caches)}

    return once(folder, recipe, make, ReportShape)


def open_run(folder: Path) -> TrainedRun:
    """The run of a training that is done.

    Raises:
        RunError: there is none, of another method, not done, or damaged.
    """
    run = Run.of_method(folder, METHOD, ConfigShape)
    run.report()  # says so if it is not done
    content, identity, origin = run.read(FEATURES, FeaturesShape), run.recipe.identity, run.recipe.origin
    try:
        config = Training(**field_values(Training, {**identity, "init": origin.get("init")}))
        data = Data(identity["target"], origin.get("folds"))
        normalizing = Normalizing(**field_values(Normalizing, identity))
        how = How(**field_values(How, identity))
    except ValueError as error:
        raise RunError(f"{folder / 'config.json'} cannot be read: {error}") from error
    groups = tuple(Group(**{**each, "cache": Path(each["cache"])}) for each in content["groups"])
    try:
        _check_features(content, groups)
    except ValueError as error:
        raise RunError(f"{folder / FEATURES} cannot be read: {error}") from error
    members = tuple(_members(run, content["members"], config, groups[-1].stop))
    evaluated = {fold: tuple(map(composed, ids)) for fold, ids in content["judged"].items()}
    seed, learned = identity["seed"], _learned(run, evaluated)
    records = {group.name: content["records"][group.name] for group in groups}
    return TrainedRun(run, groups, records, members, evaluated, learned, data, config, normalizing, how, seed)


def _learned(run: Run, evaluated: Mapping[str, tuple[str, ...]]) -> LearnedFrom | None:
    """What the networks of all folds were trained on; of runs that do not say it, the test clips of all folds."""
    folds = learned_from.read(run, evaluated)
    if folds is not None:
        return LearnedFrom(tuple(dict.fromkeys(id for fold in folds.values() for id in fold.ids)))
    if "" in evaluated:
        return None
    return LearnedFrom(tuple(dict.fromkeys(id for ids in evaluated.values() for id in ids)))


def _check_features(content: Content, groups: Sequence[Group]) -> None:
    """Refuses entries of `features.json` that contradict each other."""
    at = 0
    for number, group in enumerate(groups):
        if group.start != at or group.stop <= at or group.classes not in (None, group.width):
            raise ValueError(f"'groups.{number}' has the columns {group.start} to {group.stop}, after {at}")
        if group.name not in content["records"]:
            raise ValueError(f"the entry 'records.{group.name}' is missing")
        at = group.stop
    names = [group.name for group in groups]
    if not names or len({*names}) < len(names):
        raise ValueError(f"'groups' are {', '.join(names) or 'none'}")
    if not content["members"]:
        raise ValueError("'members' are none")
    for number, member in enumerate(content["members"]):
        if member["fold"] not in content["judged"] or not re.fullmatch(r"(fold-\d+)?", member["fold"]):
            raise ValueError(f"'members.{number}.fold' is {member['fold']!r}, which is no fold of it")
    check_records(content["records"])


def _members(run: Run, entries: Sequence[Mapping[str, Any]], config: Training, columns: int) -> Iterator[Member]:
    """The networks of a run, each with the normalization of its columns."""
    for entry in entries:
        path = member_run(run, entry["fold"], entry["seed"], config.seeds).path
        if not (path / NETWORK).is_file():
            raise RunError(f"{run.path} cannot be used: it has no {(path / NETWORK).relative_to(run.path)}")
        network = read_network(str(path / NETWORK))
        if network.widths[0] != columns:
            raise RunError(
                f"{path / NETWORK} takes {network.widths[0]} columns, the features of the run have {columns}"
            )
        fitted = _normalization(path / NORMALIZATION, columns)
        yield Member(entry["fold"], entry["seed"], network, fitted, entry["last"], entry["best"])


def _normalization(path: Path, columns: int) -> Standardization:
    try:
        with open_file(path) as file:
            tensors = load_tensors(file.read())
        mean, deviation = (tensors[name].double() for name in ("mean", "deviation"))
    except KeyError as error:
        raise RunError(f"{path} is missing or damaged: it has no {error}") from error
    except (OSError, ValueError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(f"{path} is missing or damaged: {reason}") from error
    if mean.shape != (columns,) or deviation.shape != (columns,):
        raise RunError(f"{path} has {mean.numel()} means and {deviation.numel()} deviations, not {columns}")
    return Standardization(mean, deviation)


def _report(plan: TrainingPlan, members: Sequence[Member]) -> Content:
    """What was trained, and how good it is."""
    evaluated = np.concatenate([fold.test for fold in plan.task.folds])
    scores_of = {fold.name: plan.task.scores[fold.test] for fold in plan.task.folds}
    undefined = of_undefined([scores_of[m.fold] for m in members], [m.last for m in members])
    return {
        "command": "train memorability",
        "protocol": _protocol(plan.task, plan.config),
        **summary(members),
        "by_network": [{"fold": m.fold or None, "seed": m.seed, "last": m.last, "best": m.best} for m in members],
        "features": [{"name": group.name, "columns": group.width} for group in plan.task.features.groups],
        "remarks": [*plan.task.remarks, *plan.remarks, *of_zeros(plan.task.scores[evaluated]), *undefined],
    }


def _write_networks(run: Run, members: Sequence[Member], config: Training) -> None:
    for member in members:
        place = member_run(run, member.fold, member.seed, config.seeds)
        place.write(NETWORK, save_tensors(member.network.state_dict()))
        place.write(NORMALIZATION, save_tensors(vars(member.normalization)))
    if len(members) > 1:
        run.write(METRICS, "".join(joined_metrics(run, [(m.fold, m.seed) for m in members], config.seeds)))


def _write_features(run: Run, task: ScoredClips, records: Mapping[str, Any], members: Sequence[Member]) -> None:
    ids = task.features.table.ids
    content = {
        "groups": [options_of(group) for group in task.features.groups],
        "records": records,
        "members": [{"fold": m.fold, "seed": m.seed, "last": m.last, "best": m.best} for m in members],
        "judged": {fold.name: ids[fold.test].tolist() for fold in task.folds},
    }
    run.write(FEATURES, to_json(content))
    learned_from.keep(run, {fold.name: LearnedFrom(tuple(ids[fold.train].tolist())) for fold in task.folds})


def _recipe(
    arguments: Content,
    data: Data,
    config: Training,
    normalizing: Normalizing,
    manifest: Path,
    task: ScoredClips,
    preset: str | None,
) -> Recipe:
    """What the training is: its options, and the content of its inputs."""
    groups, folds, start = task.features.groups, data.fold_file, config.init
    identity = {
        **arguments,
        "folds": None if folds is None else {"digest": file_digest(folds.path), "key": folds.key},
        "clips": len(task.features.table),
        "init": None if start is None else file_digest(network_path(start)),
    }
    return run_recipe(
        METHOD,
        identity,
        manifest,
        [group.cache for group in groups],
        {group.name: {"columns": group.width, **group.identity} for group in groups},
        folds=None if folds is None else f"{folds.path.absolute()}:{folds.key}",
        init=None if start is None else anchored(start),
        normalization=normalizing.as_done(),
        preset=preset,
    )


def _protocol(task: ScoredClips, config: Training) -> str:
    seeds = f"{config.seeds} seeds" if config.seeds > 1 else "one seed"
    if len(task.folds) > 1:
        clips = len(task.features.table)
        return f"{len(task.folds)} folds of {clips} clips, each evaluated with networks trained on the others; {seeds}"
    (fold,) = task.folds
    return f"trained on {len(fold.train)} train clips, evaluated on {len(fold.test)} val clips; {seeds}"
