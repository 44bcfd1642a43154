"""State-change heads from files to a run, and a run's evaluation."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from safetensors.torch import save

from egotools.config import finite, options_of, to_json
from egotools.errors import RunError, TableError
from egotools.machine import choose_device
from egotools.methods.records import read_records, write_records
from egotools.methods.sides import to_learn_from, to_test_on
from egotools.methods.state_change.examples import Examples, read_examples
from egotools.methods.state_change.frames import POSITIONS
from egotools.methods.state_change.network import StateChangeHeads
from egotools.methods.state_change.options import StateChange
from egotools.methods.state_change.training import Said, errors_of, figures_of, said_by, train_heads
from egotools.metrics.keyframes import mean_of, share
from egotools.progress import Progress, no_progress
from egotools.tables.matching import features_of, matched, numbered_inputs
from egotools.tables.table import Mask
from egotools.texts import counted
from egotools.training import learned_from
from egotools.training.how import How, how_for
from egotools.training.learned_from import LearnedFrom
from egotools.training.runs import Run, last_loss, once, provenance_of, run_recipe
from egotools.weights.tensors import plain_tensors

METHOD, HEADS, FACTS = "state-change", "state_change.safetensors", "state_change.json"
CENTER = POSITIONS / 2
Content = dict[str, Any]  # a report; Any: JSON values


class _Facts(TypedDict):
    """`state_change.json`."""

    features: int
    majority: int  # the more frequent state of the training clips


class Shown(TypedDict):
    """`report.json`, as far as it is shown."""

    remarks: list[str]
    clips: int
    changed: int
    epochs: int
    last: dict[str, float | None] | None
    best: dict[str, float | None] | None


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A report, and what was said of each clip."""

    content: Content
    examples: Examples
    said: Said

    def to_csv(self) -> str:
        """A line a clip: the states, the probability of a change, and when it is, in seconds of the file."""
        table, errors = io.StringIO(), errors_of(self.examples, self.said.positions)
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["id", "state_change", "predicted", "probability", "pnr", "predicted_pnr", "error"])
        for number, clip in enumerate(self.examples.clips):
            assert clip.end is not None
            share_of = self.said.positions[number] / POSITIONS
            found = [
                clip.id,
                clip.labels.get("state_change", ""),
                self.said.states[number],
                f"{self.said.change[number]:.6f}",
                clip.labels.get("pnr", ""),
                f"{clip.start + share_of * (clip.end - clip.start):.6f}",
                "" if np.isnan(errors[number]) else f"{errors[number]:.6f}",
            ]
            writer.writerow(found)
        return table.getvalue()


def train_state_change(
    folder: Path,
    manifest: Path,
    features: Sequence[Path],
    config: StateChange,
    *,
    how: How = How(),  # noqa: B008 - frozen
    seed: int = 0,
    device: str = "auto",
    preset: str | None = None,
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Trains heads on the split train of cached features, validates them on val if there is one, and keeps a run.

    Args:
        folder: of the run.
        manifest: of `egotools manifest ego4d --task state-change`.
        features: caches with rows of about 0.5 s, at least one for each of 16 positions; several are concatenated.
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
    arguments = {**options_of(config), **how.identity, "seed": seed}
    recipe = run_recipe(METHOD, arguments, manifest, features, numbered_inputs(features), preset=preset)

    def make(run: Run) -> Content:
        train, val, remarks = read_sides(manifest, features, config)
        heads, best = train_heads(train, val, config, how=how, seed=seed, device=chosen, run=run, progress=progress)
        changed = int((train.states == 1).sum())
        write_records(run, features)
        run.write(HEADS, save(plain_tensors(heads.state_dict())))
        run.write(FACTS, to_json(_Facts(features=train.features.shape[2], majority=int(2 * changed > len(train)))))
        ids = tuple(clip.id for clip in train.clips)
        learned_from.keep(run, {"": LearnedFrom(ids)})
        return {
            "command": f"train {METHOD}",
            "clips": len(train),
            "changed": changed,
            "val_clips": len(val),
            "epochs": best.epochs,
            "loss": last_loss(run),
            "last": best.last or None,
            "best": best.best or None,
            "precision_used": how.precision,
            "remarks": [*remarks, *slower],
            **provenance_of(arguments, manifest, features),
        }

    return once(folder, recipe, make, Shown)


def read_sides(manifest: Path, caches: Sequence[Path], config: StateChange) -> tuple[Examples, Examples, list[str]]:
    """The labeled clips to train on and to validate on, and remarks.

    Raises:
        TableError: there is nothing to train on.
    """
    found = read_examples(manifest, caches, config.sampling)
    labeled = found.only(found.is_labeled)
    if not len(labeled):
        raise TableError(f"{manifest}: no clip has a label in the column 'state_change'")
    train, val, remarks = to_learn_from([clip.split for clip in labeled.clips])
    if len(labeled) < len(found):
        remarks.append(f"{counted(len(found) - len(labeled), 'clip')} without a label left out")
    return labeled.only(train), labeled.only(val), [*found.remarks, *remarks]


def evaluate_state_change(
    folder: Path,
    manifest: Path,
    features: Sequence[Path],
    *,
    test_split: str | None = None,
    all_rows: bool = False,
    device: str = "auto",
) -> Evaluated:
    """What a run says of clips that it was not trained on, over all of them together.

    Args:
        folder: the run.
        manifest: of `egotools manifest ego4d --task state-change`.
        features: caches made as those that it was trained on, in any order.
        test_split: which is evaluated; None: test if it has labels, else val, else all.
        all_rows: also evaluate the clips that it was trained on.
        device: where it is computed.

    Raises:
        RunError: no run of this method, or a damaged one.
        TableError: features of another recipe, or nothing to evaluate.
    """
    chosen = choose_device(device)
    run, config, facts = open_run(folder)
    caches, remarks = matched(features_of(read_records(run)), features, run=folder)
    found = read_examples(manifest, caches, config.sampling)
    learned = (learned_from.read(run) or {}).get("")
    if test_split is None and found.is_labeled.any():
        found = found.only(found.is_labeled)
    chose = run.report(Shown)["best"] is not None
    name, rows, told = to_test_on(found.clips, learned, test_split, all_rows=all_rows, chose_on_val=chose)
    found = found.only(rows)
    said = said_by(_heads(run, facts, config).to(chosen), found)
    if not found.is_labeled.any():
        told.append("no clip has a label: only predictions are made")
    arguments = {"run": str(folder), "test_split": test_split, "all_rows": all_rows}
    content = {
        "command": f"eval {METHOD}",
        "protocol": f"{counted(len(found), 'clip')}" + (f" of {name}" if name else ""),
        "clips": len(found),
        "changed": int((found.states == 1).sum()),
        "sampling": config.sampling,
        **finite(figures_of(found, said)),
        "baselines": finite(_baselines(found, facts["majority"])),
        "remarks": [*found.remarks, *remarks, *told],
        **provenance_of(arguments, manifest, caches),
    }
    return Evaluated(content, found, said)


def _baselines(examples: Examples, majority: int) -> Content:
    """The more frequent state of the training for every clip, and a change in the middle of every clip."""
    labeled: Mask = examples.is_labeled
    return {
        "accuracy": share((examples.states == majority)[labeled]),
        "pnr_error": mean_of(errors_of(examples, CENTER)),
    }


def open_run(folder: Path) -> tuple[Run, StateChange, _Facts]:
    """A run that is done, its options and facts.

    Raises:
        RunError: there is none, of another method, not done, or damaged.
    """
    run = Run.of_method(folder, METHOD, dict[str, Any])
    run.report(Shown)  # says so if it is not done
    facts: _Facts = run.read(FACTS, _Facts)
    if facts["features"] < 1:
        raise RunError(f"{folder / FACTS} cannot be read: 'features' is {facts['features']}")
    return run, run.options(StateChange), facts


def _heads(run: Run, facts: _Facts, config: StateChange) -> StateChangeHeads:
    heads = StateChangeHeads(facts["features"], channels=config.width if config.temporal else None)
    run.load(HEADS, heads)
    return heads.eval()
