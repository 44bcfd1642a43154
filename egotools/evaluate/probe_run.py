"""Probes from files to files: fitted, kept as a run, applied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egotools.config import options_of, to_json
from egotools.errors import RunError
from egotools.evaluate.classification import Result
from egotools.evaluate.classifier import Classifier
from egotools.evaluate.probe import Probe, ProbeResult, apply, probe
from egotools.evaluate.report import report, save
from egotools.evaluate.splits import Partition
from egotools.forward import choose_device
from egotools.runs import Run, once, versions
from egotools.stores.opening import open_store
from egotools.stores.store import Recipe
from egotools.tables import Reduce, manifest_digest, read_table

WEIGHTS = "probe.safetensors"
Content = dict[str, Any]  # a report; Any: JSON values


def fit_probe(
    command: str,
    manifest: Path,
    features: Sequence[Path],
    config: Probe,
    partition: Partition,
    *,
    label: str,
    reduce: Reduce | None = "mean",
    seed: int = 0,
    device: str = "auto",
) -> tuple[Content, ProbeResult]:
    """Fits and judges a probe on caches; its report and result."""
    chosen = choose_device(device)
    table = read_table(manifest, features, reduce=reduce, labels=partition.columns(label))
    result = probe(table, label, config, partition=partition, seed=seed, device=chosen)
    arguments = _arguments(config, partition, label=label, reduce=reduce, seed=seed)
    return report(command, arguments, result, manifest=manifest, features=features), result


def train_probe(
    folder: Path,
    manifest: Path,
    features: Sequence[Path],
    config: Probe,
    partition: Partition,
    *,
    label: str,
    reduce: Reduce | None = "mean",
    seed: int = 0,
    device: str = "auto",
) -> tuple[Content, bool]:
    """As `fit_probe`, kept as a run in `folder`.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is.

    Raises:
        RunError: the folder holds a run with other options, or other files.
    """
    arguments = _arguments(config, partition, label=label, reduce=reduce, seed=seed)
    recipe = Recipe(
        {"method": "probe", **arguments, "manifest": manifest_digest(manifest), "features": _inputs(features)},
        {"manifest": str(manifest), "features": [str(path) for path in features], "versions": versions()},
    )

    def make() -> Content:
        content, result = fit_probe(
            "train probe", manifest, features, config, partition, label=label, reduce=reduce, seed=seed, device=device
        )
        run = Run.begin(folder, recipe)
        run.write("metrics.jsonl", "".join(to_json(entry, indent=None) + "\n" for entry in content["by_seed"]))
        run.write(WEIGHTS, result.classifier.to_bytes())
        save(folder, content, result)
        return content

    return once(folder, recipe, make)


def apply_run(
    folder: Path,
    manifest: Path,
    features: Sequence[Path],
    partition: Partition,
    *,
    label: str | None = None,
) -> tuple[Content, Result]:
    """What the probe of a run predicts on other caches, or on other clips, reduced as those it was fitted on."""
    run = Run.open(folder)
    if run.recipe.identity.get("method") != "probe":
        raise RunError(f"{folder} is no run of `train probe`")
    label = label or str(run.recipe.identity["label"])
    reduce = run.recipe.identity["reduce"]
    table = read_table(manifest, features, reduce=reduce, labels=partition.columns(label))
    result = apply(Classifier.load(folder / WEIGHTS), table, label, test_split=partition.test_split)
    arguments = {"run": str(folder), "label": label, "reduce": reduce, "test_split": partition.test_split}
    return report("eval probe", arguments, result, manifest=manifest, features=features), result


def _arguments(config: Probe, partition: Partition, **others: object) -> dict[str, Any]:
    return {**others, **options_of(config), **options_of(partition)}


def _inputs(features: Sequence[Path]) -> dict[str, Any]:
    """What each cache holds, by its place in the line: more clips or another recipe make another run."""
    stores = {str(number): open_store(path) for number, path in enumerate(features, 1)}
    return {number: {"clips": len(store), **store.recipe.identity} for number, store in stores.items()}
