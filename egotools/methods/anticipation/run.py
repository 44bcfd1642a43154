"""Anticipation from files to a run. Axes: W windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from safetensors.torch import save

from egotools.config import file_digest, options_of, to_json
from egotools.datasets.ego4d_files import read_counts
from egotools.errors import RunError, TableError
from egotools.machine import choose_device
from egotools.methods.anticipation.options import Anticipation
from egotools.methods.anticipation.training import new_network, train_network
from egotools.methods.anticipation.windows import Actions, Windows, read_actions, windows_of
from egotools.methods.records import write_records
from egotools.methods.sides import to_learn_from
from egotools.nn.anticipation import Anticipator
from egotools.progress import Progress, no_progress
from egotools.tables.matching import numbered_inputs
from egotools.texts import counted
from egotools.training import learned_from
from egotools.training.epochs import steps_of
from egotools.training.how import How, how_for
from egotools.training.learned_from import LearnedFrom
from egotools.training.runs import Run, last_loss, once, provenance_of, run_recipe
from egotools.training.schedules import warmup_remarks
from egotools.weights.tensors import plain_tensors

METHOD, NETWORK, FACTS = "anticipation", "anticipation.safetensors", "anticipation.json"
Content = dict[str, Any]  # a report; Any: JSON values


class Facts(TypedDict):
    """`anticipation.json`."""

    features: int
    verbs: int
    nouns: int
    frequent_verb: int  # most often to come in training
    frequent_noun: int


class Shown(TypedDict):
    """`report.json`, as far as it is shown."""

    remarks: list[str]
    windows: int
    val_windows: int
    verbs: int
    nouns: int
    epochs: int
    last: dict[str, float | None] | None
    best: dict[str, float | None] | None


def train_anticipation(
    folder: Path,
    manifest: Path,
    features: Sequence[Path],
    config: Anticipation,
    *,
    how: How = How(),  # noqa: B008 - frozen
    seed: int = 0,
    device: str = "auto",
    preset: str | None = None,
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Trains on the split train of cached features, validates on val if there is one, and keeps a run.

    Args:
        folder: of the run.
        manifest: of `egotools manifest ego4d --task anticipation`.
        features: caches with one or several rows an action; several are concatenated.
        config: what is learned.
        how: precision, gradients, logging.
        seed: of everything random.
        device: where it is trained.
        preset: its name, for the run's origin.
        progress: of epochs.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TableError: features or labels that cannot be used.
        TrainingError: as `fit`.
    """
    chosen = choose_device(device)
    how, slower = how_for(how, chosen)
    arguments = {**options_of(config), **how.identity, "seed": seed, "taxonomy": _digest(config.taxonomy)}
    recipe = run_recipe(METHOD, arguments, manifest, features, numbered_inputs(features), preset=preset)

    def make(run: Run) -> Content:
        actions = read_actions(manifest, features)
        classes = classes_of(actions, config, manifest)
        train, val, remarks = read_sides(actions, config, manifest)
        network, best = train_network(
            train, val, classes, config, how=how, seed=seed, device=chosen, run=run, progress=progress
        )
        write_records(run, features)
        run.write(NETWORK, save(plain_tensors(network.state_dict())))
        counts = {"verbs": classes[0], "nouns": classes[1]}
        frequent = {"frequent_verb": train.frequent[0], "frequent_noun": train.frequent[1]}
        run.write(FACTS, to_json({"features": actions.rows.shape[1], **counts, **frequent}))
        learned_from.keep(run, {"": LearnedFrom(train.ids)})
        return {
            "command": f"train {METHOD}",
            "windows": len(train),
            "val_windows": len(val),
            **counts,
            "epochs": best.epochs,
            "loss": last_loss(run),
            "last": best.last or None,
            "best": best.best or None,
            "precision_used": how.precision,
            "remarks": [*remarks, *_of_warmup(train, config, how), *slower],
            **provenance_of(arguments, manifest, features),
        }

    return once(folder, recipe, make, Shown)


def _of_warmup(train: Windows, config: Anticipation, how: How) -> list[str]:
    return warmup_remarks(config.warmup, config.epochs * steps_of(len(train), config.batch_size, how))


def classes_of(actions: Actions, config: Anticipation, manifest: Path) -> tuple[int, int]:
    """How many verbs and nouns there are: in the taxonomy, or else as many as the labels need.

    Raises:
        TableError: a label that the taxonomy does not have.
        ManifestError: the taxonomy cannot be read.
    """
    if config.taxonomy is None:
        return actions.classes
    counts = read_counts(config.taxonomy)
    check_classes(actions, (counts.verbs, counts.nouns), str(manifest), str(config.taxonomy))
    return counts.verbs, counts.nouns


def check_classes(actions: Actions, classes: tuple[int, int], manifest: str, source: str) -> None:
    """Refuses labels beyond the classes that there are.

    Raises:
        TableError: names the largest.
    """
    for name, needed, known in zip(("verb", "noun"), actions.classes, classes, strict=True):
        if needed > known:
            raise TableError(
                f"{manifest}: the {name}_label {needed - 1} is beyond the {known} {name}s of {source}; is it of another"
                " release of Ego4D? 'egotools train anticipation --taxonomy' learns all classes of one"
            )


def read_sides(actions: Actions, config: Anticipation, manifest: Path) -> tuple[Windows, Windows, list[str]]:
    """The labeled windows to train on and to validate on, and remarks.

    Raises:
        TableError: there is nothing to train on.
    """
    found = windows_of(actions, config)
    labeled = found.only(found.is_labeled)
    if not len(labeled):
        raise TableError(f"{manifest}: no window has labels in the columns 'verb_label' and 'noun_label'")
    train, val, remarks = to_learn_from([clip.split for clip in labeled.last])
    if len(labeled) < len(found):
        remarks.append(f"{counted(len(found) - len(labeled), 'window')} without labels left out")
    return labeled.only(train), labeled.only(val), [*found.remarks, *remarks]


def open_run(folder: Path) -> tuple[Run, Anticipation, Facts]:
    """A run that is done, its options and facts.

    Raises:
        RunError: there is none, of another method, not done, or damaged.
    """
    run = Run.of_method(folder, METHOD, dict[str, Any])
    run.report(Shown)  # says so if it is not done
    facts: Facts = run.read(FACTS, Facts)
    if min(facts["features"], facts["verbs"], facts["nouns"]) < 1:
        raise RunError(f"{folder / FACTS} cannot be read: features, verbs and nouns must be above 0")
    return run, run.options(Anticipation, taxonomy=None), facts


def network_of(run: Run, facts: Facts, config: Anticipation) -> Anticipator:
    """The trained network of a run.

    Raises:
        RunError: its file is missing or damaged.
    """
    network = new_network(facts["features"], (facts["verbs"], facts["nouns"]), config)
    run.load(NETWORK, network)
    return network.eval()


def _digest(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return file_digest(path)
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror}") from error
