"""Memory Storyboard from a manifest to a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch

from egotools.config import file_digest, options_of
from egotools.errors import TrainingError
from egotools.loading.kept_files import FILES, write_files
from egotools.machine import choose_device
from egotools.manifests.segments import write_segments
from egotools.manifests.table import read_manifest
from egotools.methods.initial import initial_weights
from egotools.methods.storyboard.batches import new_memory
from egotools.methods.storyboard.evaluation import EvalSet, LabeledSet, evaluation_of, read_labeled_set, set_names
from egotools.methods.storyboard.export import MAPPING, TENSORS, keep_network
from egotools.methods.storyboard.held import LabelsOf
from egotools.methods.storyboard.labels import by_length
from egotools.methods.storyboard.learners import CLASSIFIES, Learner
from egotools.methods.storyboard.options import StoryboardOptions
from egotools.methods.storyboard.segments import found_segments, frame_classes
from egotools.methods.storyboard.stream import Stream, stream_of
from egotools.methods.storyboard.training import Trained, learn
from egotools.progress import Progress, no_progress
from egotools.tables.table import manifest_digest
from egotools.texts import counted, named
from egotools.training import learned_from
from egotools.training.curves import run_picture
from egotools.training.how import How, how_for
from egotools.training.learned_from import LearnedFrom
from egotools.training.runs import Run, once, provenance_of, run_recipe
from egotools.training.seeding import seeded
from egotools.weights.storyboard import load_storyboard, read_storyboard, write_label_mapping

METHOD = "storyboard"
SEGMENTS, PICTURE = "segments.csv", "training.png"
EVALUATED = ("knn", "svm")
BEST = ("_oracle", "_validation")  # accuracies whose best of all evaluations is reported, as in the paper
PANELS: dict[str, Sequence[str]] = {
    "loss": ("loss",),
    "parts": ("curr_loss", "tc_loss", "tc_curr_loss", "cross_loss", "replay_loss"),
    "classes": ("classes", "merged_classes"),
}

NAMED = 3

Content = dict[str, Any]  # a report; Any: JSON values


class Shown(TypedDict):
    """`report.json`, as far as it is shown. Any: JSON values."""

    remarks: list[str]
    clips: int
    frames: int
    steps: int
    last: dict[str, Any]


def train_storyboard(
    folder: Path,
    manifest: Path,
    options: StoryboardOptions,
    *,
    segments: Path | None = None,
    init: str | None = None,
    evaluate: Sequence[EvalSet] = (),
    eval_every: int | None = None,
    skip_unreadable: bool = False,
    workers: int = 1,
    how: How = How(),  # noqa: B008 - frozen
    seed: int = 0,
    device: str = "auto",
    preset: str | None = None,
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Learns from the clips of a manifest as one stream, seen once, kept as a run in `folder`.

    Args:
        folder: of the run.
        manifest: the stream, in its order.
        options: of memories, views, losses and segments.
        segments: with the memory `iid`, a segments CSV whose labels are the classes.
        init: begin with the weights of a checkpoint, a file or `run:DIR`.
        evaluate: labeled images for evaluations.
        eval_every: steps between two evaluations, beside the one at the end.
        skip_unreadable: leave out clips and frames that cannot be read, instead of ending.
        workers: 1: another process decodes; 0: this one.
        how: precision, gradients, logging.
        seed: of the network, memories and views.
        device: where it is trained.
        preset: reported only.
        progress: is told the steps.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is, one that was
        interrupted is resumed.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TrainingError: the stream is too short, a file cannot be read, or two sets of labeled images have one name.
        WeightsError: `init` is of another network.
    """
    names = set_names(evaluate)
    chosen, clips = choose_device(device), read_manifest(manifest)
    how, told = how_for(how, chosen)
    arguments = {**options_of(options), **how.identity, "seed": seed, "skip_unreadable": skip_unreadable}
    arguments["learner"] = arguments.pop("method")  # a run's method is the command
    arguments |= {**digests(segments, init, evaluate), "eval_every": eval_every}
    begun: Content = {} if init is None else {"init": init}
    recipe = run_recipe(METHOD, arguments, manifest, preset=preset, **begun)

    def make(run: Run) -> Content:
        kept = run.path / FILES
        stream = stream_of(
            clips,
            kept if kept.exists() else None,
            fps=options.fps,
            height=options.height,
            skip_unreadable=skip_unreadable,
            workers=workers,
            progress=progress,
        )
        default, classes = default_labels(options, stream, segments)
        new_memory(options, len(stream), default, seed)  # refuses a stream that is too short
        sets = [
            read_labeled_set(each, name, options.viewing, workers=workers)
            for each, name in zip(evaluate, names, strict=True)
        ]
        learner = new_learner(options, classes, seed)
        about_init = [] if init is None else begin_with(learner, init)
        learner = learner.to(chosen).to(memory_format=torch.channels_last)
        if not kept.exists():
            write_files(kept, stream.files)
        with seeded(seed, chosen):
            trained = learn(
                learner,
                stream,
                options,
                default=default,
                seed=seed,
                run=run,
                workers=workers,
                skip_unreadable=skip_unreadable,
                how=how,
                evaluation=evaluation_of(sets, options.viewing, how, seed),
                eval_every=eval_every,
                progress=progress,
            )
        keep(run, learner, stream, trained, options, sets)
        remarks = [*stream.remarks, *about_init, *told, *remarks_on(options, trained.unreadable)]
        told_all = {"precision_used": how.precision, "remarks": remarks}
        return {**report_of(run, stream, learner, trained, sets), **told_all, **provenance_of(arguments, manifest)}

    return once(folder, recipe, make, Shown)


def digests(segments: Path | None, init: str | None, evaluate: Sequence[EvalSet]) -> Content:
    """Of the files that a training takes beside its manifest.

    Raises:
        TrainingError: one cannot be read.
        RunError, TableError: as `init_file` and `manifest_digest`.
    """
    files = {"segments": segments, "init": None if init is None else init_file(init)}
    try:
        found = {name: None if path is None else file_digest(path) for name, path in files.items()}
    except OSError as error:
        raise TrainingError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return {
        **found,
        "evaluate": [[manifest_digest(each.manifest), each.label] for each in evaluate],
    }


def default_labels(options: StoryboardOptions, stream: Stream, segments: Path | None) -> tuple[LabelsOf, int]:
    """Labels of frames as they arrive, and the number of classes.

    Raises:
        TrainingError: a class is longer than the stream, or the segments do not fit it.
        ValueError: segments for another memory than `iid`.
    """
    if segments is not None:
        if options.memory != "iid":
            raise ValueError("--segments is for --memory iid; other memories find segments themselves")
        table, classes = frame_classes(segments, stream)
        return lambda ids: table[ids], classes
    length = options.class_length or 0
    if options.has_labels and length > len(stream):
        raise TrainingError(f"--class-length {length} is longer than the stream, {len(stream)} frames; lower it")
    classes = len(stream) // length + 1 if length else len(stream.clips)  # one is spare where they fit, as published
    return by_length(length) if length else stream.clip_numbers, classes


def remarks_on(options: StoryboardOptions, unreadable: Mapping[int, str]) -> list[str]:
    """What was asked for and has no effect, and frames that were left out."""
    is_idle = options.merge_from != "never" and not options.merges
    remarks = ["--merge-from has no effect: no segments are found"] if is_idle else []
    if unreadable:
        told = named([*dict.fromkeys(unreadable.values())], NAMED, between="; ")
        remarks.append(f"{counted(len(unreadable), 'frame')} left out: unreadable: {told}")
    return remarks


def new_learner(options: StoryboardOptions, classes: int, seed: int) -> Learner:
    """The network before its first step, drawn by the seed."""
    assert options.method is not None
    has_labels = options.has_labels
    with seeded(seed):
        return Learner(
            options.method,
            18 if options.depth == "18" else 50,
            norm=options.norm,
            activation=options.activation,
            classes=classes if options.method in CLASSIFIES else 0,
            curr_loss_coef=options.curr_loss_coef,
            tc_loss_coef=options.tc_loss_coef if has_labels else 0.0,
            tc_curr_coef=options.tc_curr_coef if has_labels else 0.0,
            osiris=options.osiris,
        )


def begin_with(learner: Learner, init: str) -> list[str]:
    """Loads a checkpoint into a learner; says which heads it lacks, which keep their initial values.

    Raises:
        WeightsError: it is of another network.
    """
    missing = load_storyboard(learner, read_storyboard(init_file(init))).missing
    heads = sorted({name.partition(".")[0] for name in missing})
    return [f"--init {init} has no {' or '.join(heads)} that fits: drawn by the seed"] if heads else []


def init_file(init: str) -> Path:
    """The checkpoint that `--init` says: a file, or the network of a run.

    Raises:
        TrainingError, RunError: as `initial_weights`.
    """
    return initial_weights(init, TENSORS, [METHOD])


def keep(
    run: Run,
    learner: Learner,
    stream: Stream,
    trained: Trained,
    options: StoryboardOptions,
    sets: Sequence[LabeledSet],
) -> None:
    """Writes what was learned: the network, segments, merged classes, and the picture of the training."""
    keep_network(run, learner, crop_size=options.crop_size, vertical_flip=options.vertical_flip)
    learned_from.keep(run, {"": LearnedFrom(tuple(clip.id for clip in stream.clips))})
    if options.segments:
        write_segments(run.path / SEGMENTS, found_segments(stream, trained.windows, trained.mapping))
    if options.merges:
        write_label_mapping(run.path / MAPPING, trained.mapping)
    accuracies = [f"{each.name}_{kind}_validation" for each in sets for kind in EVALUATED]
    panels = PANELS | ({"accuracy": accuracies} if sets else {})
    run.write(PICTURE, run_picture(run, panels, f"train {METHOD}"))


def report_of(run: Run, stream: Stream, learner: Learner, trained: Trained, sets: Sequence[LabeledSet]) -> Content:
    """Sizes, the last losses, the figures of the last evaluation, and the best accuracies of all."""
    lines = run.metrics()
    own = tuple(f"{each.name}_{kind}_" for each in sets for kind in EVALUATED)
    last = {name: value for name, value in lines[-1].items() if not own or not name.startswith(own)}
    evaluation = {name: value for name, value in lines[-1].items() if name not in last}
    best = {name: max(line[name] for line in lines if name in line) for name in evaluation if name.endswith(BEST)}
    return {
        "command": f"train {METHOD}",
        "clips": len(stream.clips),
        "frames": len(stream),
        "steps": trained.steps,
        "windows": len(trained.windows),
        "parameters": sum(each.numel() for each in learner.parameters()),
        "last": last,
        "evaluation": evaluation,
        "best": best,
    }
