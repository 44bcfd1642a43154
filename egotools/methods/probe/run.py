"""Probes from files to files: trained, kept as a run, applied."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict

from egotools.config import options_of, to_json
from egotools.errors import RunError
from egotools.evaluate.classification import Result
from egotools.evaluate.report import Shown, report, save_predictions
from egotools.evaluate.splits import Partition
from egotools.machine import choose_device
from egotools.methods.probe.classifier import Classifier
from egotools.methods.probe.head import LINEAR, Head
from egotools.methods.probe.probe import Probe, ProbeResult, apply, probe
from egotools.methods.records import has_records, read_records, write_records
from egotools.stores.opening import open_store
from egotools.tables.by_time import FILE
from egotools.tables.matching import Feature, features_of, matched, numbered_inputs
from egotools.tables.table import Reduce, manifest_digest, read_table, with_files
from egotools.training import learned_from
from egotools.training.runs import Run, once, run_recipe

METHOD = "probe"
WEIGHTS = "probe.safetensors"
Content = dict[str, Any]  # a report; Any: JSON values


class _IdentityShape(TypedDict):
    label: str
    reduce: Literal["mean", "mean+std"] | None
    features: dict[str, dict[str, Any]]


class _OriginShape(TypedDict):
    features: list[str]


class _MoreOrigin(_OriginShape, total=False):
    essences: list[dict[str, Any]]  # of runs from before records were kept


class _MoreIdentity(_IdentityShape, total=False):
    head: str  # absent: linear


class ConfigShape(TypedDict):
    """`config.json`. Any: JSON values of recipes."""

    identity: _MoreIdentity
    origin: _MoreOrigin


def fit_probe(
    command: str,
    manifest: Path,
    features: Sequence[Path],
    config: Probe,
    partition: Partition,
    *,
    label: str,
    reduce: Reduce | None = "mean",
    head: Head = LINEAR,
    views: Sequence[Path] = (),
    segments: Path | None = None,
    seed: int = 0,
    device: str = "auto",
) -> tuple[Content, ProbeResult]:
    """Trains and evaluates a probe on caches; its report and result.

    Args:
        command: for the report.
        manifest: which clips.
        features: caches that are joined.
        config: the linear head, and seeds and hold-out of any.
        partition: which rows are for what.
        label: the column to predict.
        reduce: of a clip's rows.
        head: which head, and its training.
        views: caches of further views of the same clips, each of all features, to train the head "bn-dropout" on.
        segments: labels at times of the rows; with `reduce` None and the linear head.
        seed: of everything random.
        device: to compute on.
    """
    chosen = choose_device(device)
    table = read_table(manifest, features, reduce=reduce, labels=partition.columns(label), segments=segments)
    others = [read_table(manifest, [view], reduce=reduce, labels=[]) for view in views]
    result = probe(table, label, config, partition=partition, head=head, views=others, seed=seed, device=chosen)
    arguments = _arguments(config, partition, head, views, label=label, reduce=reduce, seed=seed)
    return report(command, arguments, result, manifest=manifest, features=features, segments=segments), result


def train_probe(
    folder: Path,
    manifest: Path,
    features: Sequence[Path],
    config: Probe,
    partition: Partition,
    *,
    label: str,
    reduce: Reduce | None = "mean",
    head: Head = LINEAR,
    views: Sequence[Path] = (),
    segments: Path | None = None,
    seed: int = 0,
    device: str = "auto",
) -> tuple[Content, bool]:
    """As `fit_probe`, kept as a run in `folder`.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is.

    Raises:
        RunError: the folder holds a run with other options, or other files.
    """
    arguments = _arguments(config, partition, head, views, label=label, reduce=reduce, seed=seed)
    told = {} if segments is None else {"segments": manifest_digest(segments)}
    place = {} if segments is None else {"segments": str(segments.absolute())}
    recipe = run_recipe(METHOD, {**arguments, **told}, manifest, features, numbered_inputs(features), **place)

    def make(run: Run) -> Content:
        asked: dict[str, Any] = {"label": label, "reduce": reduce, "head": head, "views": views, "segments": segments}
        content, result = fit_probe(
            "train probe", manifest, features, config, partition, **asked, seed=seed, device=device
        )
        run.write("metrics.jsonl", "".join(to_json(entry, indent=None) + "\n" for entry in content["by_seed"]))
        write_records(run, features)
        run.write(WEIGHTS, result.classifier.to_bytes())
        learned_from.keep(run, {"": result.learned})
        save_predictions(folder, content, result)
        return content

    return once(folder, recipe, make, Shown)


def apply_run(
    folder: Path,
    manifest: Path,
    features: Sequence[Path],
    partition: Partition,
    *,
    label: str | None = None,
    all_rows: bool = False,
    segments: Path | None = None,
    device: str = "auto",
) -> tuple[Content, Result]:
    """What the probe of a run predicts for clips that it was not trained on, reduced as those of its training.

    Args:
        folder: the run.
        manifest: which clips.
        features: caches made as those that it was trained on, in any order.
        partition: which split is evaluated, and which groups of the training clips are left out, too.
        label: the column; None: that of the run.
        all_rows: also evaluate its training clips.
        segments: labels at times, for a run on rows.
        device: unused by a linear classifier's few products; checked.

    Raises:
        RunError: no run of a probe, or a damaged one.
        TableError: features of another recipe, or no clips to evaluate.
    """
    choose_device(device)
    run, classifier = open_probe(folder)
    label, reduce = label or run.recipe.identity["label"], run.recipe.identity["reduce"]
    learned = learned_from.read(run)
    wanted, known = _features_of(run), None if learned is None else learned[""]
    if len(wanted) == len(features):
        classifier.check_width(sum(open_store(path).width for path in features) * (2 if reduce == "mean+std" else 1))
    caches, remarks = matched(wanted, features, run=folder)
    group = [] if known is None or known.group is None else [known.group]
    by_clip = run.recipe.identity.get("head", LINEAR.head) != LINEAR.head
    if segments is not None and (by_clip or reduce is not None):
        raise RunError(f"{folder} predicts whole clips: segments are for runs that were trained with --reduce none")
    table = read_table(manifest, caches, reduce=reduce, labels=[*partition.columns(label), *group], segments=segments)
    table = replace(table, remarks=(*table.remarks, *remarks))
    if group == [FILE] and segments is None:  # the run knows its files, whose clips may have other ids here
        table = with_files(table, manifest, caches[0])
    result = apply(classifier, table, label, partition=partition, learned=known, all_rows=all_rows, by_clip=by_clip)
    arguments = {"run": str(folder), "label": label, "reduce": reduce, "all_rows": all_rows}
    arguments |= {"group": partition.group, "test_split": partition.test_split}
    return report("eval probe", arguments, result, manifest=manifest, features=caches, segments=segments), result


def open_probe(folder: Path) -> tuple[Run, Classifier]:
    """The run of a probe, and its classifier.

    Raises:
        RunError: there is none, it is of another method or of several labels, or damaged.
    """
    if Run.exists(folder) and "labels" in Run.open(folder).recipe.identity:
        raise RunError(
            f"{folder} has a head for each of its labels: 'egotools eval action --run {folder}' evaluates it"
        )
    return Run.of_method(folder, METHOD, ConfigShape), Classifier.load(folder / WEIGHTS)


def _features_of(run: Run) -> list[Feature]:
    """What a run was trained on, in its order; from `config.json` where it keeps no records."""
    if has_records(run):
        return features_of(read_records(run))
    inputs, origin = run.recipe.identity["features"], run.recipe.origin
    paths = origin["features"]
    essences = origin.get("essences") or [None] * len(paths)
    if not len(inputs) == len(paths) == len(essences) or list(inputs) != [*map(str, range(1, len(inputs) + 1))]:
        raise RunError(
            f"{run.path / 'config.json'} cannot be read: it has {len(inputs)} features, and the names of {len(paths)}"
        )
    recipes = [{name: value for name, value in each.items() if name != "clips"} for each in inputs.values()]
    return [Feature(Path(path).stem, *both) for path, *both in zip(paths, recipes, essences, strict=True)]


def _arguments(
    config: Probe, partition: Partition, head: Head, views: Sequence[Path], **others: object
) -> dict[str, Any]:
    """The options, and the views by their content; what only another head has is left out, as before there was one."""
    own = {"views": numbered_inputs(views)} if views else {}
    return {**others, **options_of(config), **options_of(partition), **head.arguments, **own}
