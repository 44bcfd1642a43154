"""A run or a published checkpoint applied to the sequences of a manifest, and compared with the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from egotools.config import options_of
from egotools.errors import TableError
from egotools.evaluate.leakage import unlearned
from egotools.machine import choose_device
from egotools.manifests.segments import read_segments
from egotools.manifests.table import read_manifest
from egotools.methods.segmentation.comparison import Comparison, compare, remarks_of
from egotools.methods.segmentation.evaluation import comparison_report
from egotools.methods.segmentation.items import Asks
from egotools.methods.segmentation.network import SegmentationNetwork
from egotools.methods.segmentation.options import Applying, Data, Scoring, Training
from egotools.methods.segmentation.prediction import Slots, predict_sequences
from egotools.methods.segmentation.predictions import Prediction
from egotools.methods.segmentation.run import (
    BEST_HEAD,
    FIRST,
    classes_of,
    open_segmentation,
    read_head,
    read_refining,
    refined_by,
    width_of,
)
from egotools.progress import Progress, no_progress
from egotools.tables.matching import matched
from egotools.tables.sequences import RECORDING, FeatureSequence, Sequences, read_sequences
from egotools.tables.table import Table
from egotools.texts import split_name
from egotools.training.learned_from import NOTHING, LearnedFrom
from egotools.training.runs import provenance_of

Content = dict[str, Any]  # a report; Any: JSON values


@dataclass(frozen=True, eq=False)
class _Applied:
    """A network, and what it takes to apply it."""

    network: SegmentationNetwork
    classes: tuple[str, ...]
    caches: Sequence[Path]
    is_refined: Asks
    learned: LearnedFrom | None
    data: Data
    remarks: tuple[str, ...]


def evaluate_segmentation(
    manifest: Path,
    segments: Path,
    features: Sequence[Path],
    applying: Applying,
    scoring: Scoring,
    *,
    background: Sequence[str] = (),
    device: str = "auto",
    progress: Progress = no_progress,
) -> tuple[Content, Comparison, list[Prediction]]:
    """Predicts the sequences of a split and compares them with the truth.

    Args:
        manifest: which clips.
        segments: the truth.
        features: caches; of a run by default its own.
        applying: what is evaluated, and on which sequences.
        scoring: averages and rare classes.
        background: classes that are no segments for edit and F1.
        device: where the network runs.
        progress: of the prediction.

    Returns:
        The report, the compared videos, and all predictions.

    Raises:
        RunError, WeightsError: no such run or checkpoint, or a damaged one.
        TableError: features or labels that cannot be used, or nothing to evaluate.
    """
    chosen = choose_device(device)
    applied = _of_run(applying, features) if applying.run is not None else _of_head(applying, features)
    found, split = _sequences(manifest, segments, applied, applying)
    how = Slots(
        applying.chunks or (applied.data.chunk,), applied.data.slots, applying.batch_size, applied.data.frame_shift
    )
    predictions = predict_sequences(
        applied.network.on(chosen),
        found.sequences,
        applied.caches,
        applied.classes,
        how,
        device=chosen,
        is_refined=applied.is_refined,
        progress=progress,
    )
    own = {(each.id, each.name) for each in predictions} | {(each.recording, each.name) for each in predictions}
    truth = [each for each in read_segments(segments) if (each.id, each.sequence) in own]
    comparison = compare(predictions, truth, str(segments))
    remarks = [*found.remarks, *applied.remarks, *remarks_of(comparison)]
    arguments = {**options_of(applying), **options_of(scoring), "background": list(background), "split": split}
    content = {
        "command": "eval segmentation",
        "protocol": f"{len(predictions)} videos of {split or 'all splits'}",
        **comparison_report(comparison, background, scoring),
        "remarks": list(dict.fromkeys(remarks)),
        **provenance_of({**arguments, "segments": str(segments)}, manifest, applied.caches),
    }
    return content, comparison, predictions


def _of_run(applying: Applying, features: Sequence[Path]) -> _Applied:
    assert applying.run is not None
    trained = open_segmentation(applying.run, weights=applying.weights)
    caches, remarks = matched(trained.features, features or trained.caches, run=applying.run)
    data, network = trained.data, trained.network
    if applying.weights == "best" and not (applying.run / BEST_HEAD).is_file():
        remarks = [*remarks, f"{applying.run} has validated nothing: its last epoch is evaluated"]
    if applying.frame_shift is not None:
        data = replace(data, frame_shift=applying.frame_shift)
    network.padding = applying.padding or network.padding
    return _Applied(network, trained.classes, caches, trained.is_refined, trained.learned, data, tuple(remarks))


def _of_head(applying: Applying, features: Sequence[Path]) -> _Applied:
    assert applying.head is not None
    assert applying.classes is not None
    if not features:
        raise TableError("--head needs --features: the caches to evaluate on")
    classes = classes_of(applying.classes, applying.classes)
    head = read_head(applying.head, len(classes))
    _check_width(head.state_dict()[FIRST].shape[1], features, str(applying.head))
    config = Training(
        init=applying.init, attention_axis=applying.attention_axis, refine_student=applying.refine_student
    )
    refining, facts, remarks = read_refining(config, width_of(features))
    network = SegmentationNetwork(head, refining, padding=applying.padding or "trim").eval()
    data = Data(frame_shift=applying.frame_shift or 0, shared_span=bool(applying.shared_span))
    asks = refined_by(facts, applying.refine_student)
    return _Applied(network, classes, features, asks, NOTHING, data, tuple(remarks))


def _check_width(width: int, caches: Sequence[Path], source: str) -> None:
    if (found := width_of(caches)) != width:
        raise TableError(f"{source} takes {width} features a row, the caches have {found}")


def _sequences(manifest: Path, segments: Path, applied: _Applied, applying: Applying) -> tuple[Sequences, str]:
    """The sequences to evaluate, without those that the run was trained on, and the name of their split."""
    there = {split_name(clip.split) for clip in read_manifest(manifest)}
    usual = () if applying.all_rows else ("test", "val")
    split = split_name(applying.split) if applying.split else next((each for each in usual if each in there), "")
    found = read_sequences(
        manifest,
        applied.caches,
        segments,
        classes=None,  # labels that the network does not know are errors of it, not of the file
        splits=[split] if split else None,
        reading=applied.data.reading(applying.views),
    )
    unknown = sorted({*found.classes} - {*applied.classes})
    told = [f"{len(unknown)} classes are unknown to the network, which gets them wrong: {', '.join(unknown[:5])}"]
    if not {*found.classes} & {*applied.classes}:
        raise TableError(
            f"{segments}: none of the labels, such as {found.classes[0]!r}, is a class of the network, such as"
            f" {applied.classes[0]!r}"
        )
    kept, remarks = _unlearned(found.sequences, applied.learned, all_rows=applying.all_rows)
    if split == "val" and not applying.split:
        remarks = [*remarks, "no clip has the split test: val is evaluated"]
    if split == "val" and applying.weights == "best" and applying.run is not None:
        remarks = [*remarks, "the best epoch was chosen on val, which flatters it there"]
    remarks = [*found.remarks, *(told if unknown else []), *remarks]
    return replace(found, sequences=kept, remarks=tuple(remarks)), split


def _unlearned(
    sequences: Sequence[FeatureSequence], learned: LearnedFrom | None, *, all_rows: bool
) -> tuple[list[FeatureSequence], list[str]]:
    count = len(sequences)
    table = Table(
        np.array([each.id for each in sequences], object),
        np.zeros((count, 0), np.float32),
        np.zeros((count, 2)),
        {RECORDING: np.array([each.recording for each in sequences], object)},
        np.array([each.split for each in sequences], object),
    )
    rows, remarks = unlearned(table, learned, np.ones(count, bool), all_rows=all_rows)
    return [each for each, is_kept in zip(sequences, rows.tolist(), strict=True) if is_kept], remarks
