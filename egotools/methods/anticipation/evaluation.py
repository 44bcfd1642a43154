"""What a run of anticipation is worth, and its predictions for the challenge.

Axes: W windows, Z steps, K candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egotools.config import finite
from egotools.errors import TableError
from egotools.machine import choose_device
from egotools.methods.anticipation.run import METHOD, Shown, check_classes, network_of, open_run
from egotools.methods.anticipation.training import Sequences, draw_sequences, measured
from egotools.methods.anticipation.windows import Windows, read_actions, windows_of
from egotools.methods.records import read_records
from egotools.methods.sides import to_test_on
from egotools.metrics.edit_distance import EditDistances
from egotools.tables.matching import features_of, matched
from egotools.texts import counted
from egotools.training import learned_from
from egotools.training.runs import provenance_of

Content = dict[str, Any]  # a report; Any: JSON values
HEADS = ("verb", "noun")


@dataclass(frozen=True)
class Drawing:
    """How often, and how many, candidate sequences are drawn."""

    seeds: int = 3
    candidates: int | None = None  # None: as many as the run says
    seed: int = 0  # the first

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"--seeds must be above 0, not {self.seeds}")
        if self.candidates is not None and self.candidates < 1:
            raise ValueError(f"--candidates must be above 0, not {self.candidates}")


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A report, and the candidates of all windows by the first seed."""

    content: Content
    windows: Windows
    sequences: Sequences

    def submission(self) -> dict[str, dict[str, list[list[int]]]]:
        """For the challenge: by `<clip_uid>_<action_idx>` of the last observed action K lists of Z verbs, and nouns."""
        verbs, nouns = (each.transpose(0, 2, 1).tolist() for each in (self.sequences.verbs, self.sequences.nouns))
        rows = zip(self.windows.names, verbs, nouns, strict=True)
        return {name: {"verb": verb, "noun": noun} for name, verb, noun in rows}


def evaluate_anticipation(
    folder: Path,
    manifest: Path,
    features: Sequence[Path],
    drawing: Drawing = Drawing(),
    *,
    submission: Path | None = None,
    test_split: str | None = None,
    all_rows: bool = False,
    device: str = "auto",
) -> Evaluated:
    """Edit distances of a run's predictions for windows that it was not trained on, as mean and deviation over seeds.

    Args:
        folder: the run.
        manifest: of `egotools manifest ego4d --task anticipation`.
        features: caches made as those that it was trained on, in any order.
        drawing: of candidate sequences.
        submission: where the candidates will be written; then windows without labels are predicted, too.
        test_split: which is evaluated; None: test if it has labels or a submission is asked for, else val, else all.
        all_rows: also evaluate the windows that it was trained on.
        device: where it is computed.

    Raises:
        RunError: no run of this method, or a damaged one.
        TableError: features of another recipe, labels beyond the run's classes, or nothing to evaluate.
    """
    chosen = choose_device(device)
    run, config, facts = open_run(folder)
    caches, remarks = matched(features_of(read_records(run)), features, run=folder)
    actions = read_actions(manifest, caches)
    check_classes(actions, (facts["verbs"], facts["nouns"]), str(manifest), str(folder))
    found = windows_of(actions, config)
    if submission is None:
        found = _labeled(found, manifest)
    learned, chose = (learned_from.read(run) or {}).get(""), run.report(Shown)["best"] is not None
    name, rows, told = to_test_on(found.last, learned, test_split, all_rows=all_rows, chose_on_val=chose)
    kept, is_labeled = found.only(rows), found.only(rows).is_labeled
    network, candidates = network_of(run, facts, config).to(chosen), drawing.candidates or config.candidates
    seeds = [drawing.seed + number for number in range(drawing.seeds)]
    made = [draw_sequences(network, kept, candidates, seed=seed) for seed in seeds]
    if not is_labeled.all():
        told.append(f"{counted(int((~is_labeled).sum()), 'window')} without labels predicted only")
    arguments = {"run": str(folder), "test_split": test_split, "all_rows": all_rows, "seeds": seeds}
    arguments |= {"submission": None if submission is None else str(submission)}
    content = {
        "command": f"eval {METHOD}",
        "protocol": f"{counted(len(kept), 'window')}" + (f" of {name}" if name else ""),
        "windows": len(kept),
        "labeled": int(is_labeled.sum()),
        "candidates": candidates,
        "range": config.windows,
        **finite(_figures(kept, made, (facts["frequent_verb"], facts["frequent_noun"]))),
        "remarks": [*found.remarks, *remarks, *told],
        **provenance_of(arguments, manifest, caches),
    }
    return Evaluated(content, kept, made[0])


def _labeled(found: Windows, manifest: Path) -> Windows:
    if not found.is_labeled.any():
        raise TableError(
            f"{manifest}: no window has labels, so there is nothing to compare; --submission FILE writes predictions"
        )
    return found.only(found.is_labeled)


def _figures(windows: Windows, made: Sequence[Sequences], frequent: Sequence[int]) -> Content:
    """Of verbs and of nouns: the figures over seeds, and beside them those of the most frequent class at each step."""
    has = windows.is_labeled
    labeled, steps = windows.only(has), windows.targets.shape[1]
    by_seed = [measured(labeled, Sequences(each.verbs[has], each.nouns[has])) for each in made]
    constant = [np.full((len(labeled), steps, 1), each) for each in frequent]
    baseline = measured(labeled, Sequences(*constant))
    return {
        name: {**_over_seeds([each[at] for each in by_seed]), "constant": _figure(baseline[at])}
        for at, name in enumerate(HEADS)
    }


def _figure(distances: EditDistances) -> Content:
    return {"ed": distances.by_length[-1], "by_length": distances.by_length, "area": distances.area}


def _over_seeds(distances: Sequence[EditDistances]) -> Content:
    """Means over seeds, and sample deviations, NaN of a single seed."""
    whole, areas = (
        np.array(each) for each in zip(*((each.by_length[-1], each.area) for each in distances), strict=True)
    )
    deviation = [float(each.std(ddof=1)) if len(each) > 1 else float("nan") for each in (whole, areas)]
    return {
        "ed": whole.mean(),
        "ed_deviation": deviation[0],
        "by_length": np.mean([each.by_length for each in distances], axis=0),
        "area": areas.mean(),
        "area_deviation": deviation[1],
    }
