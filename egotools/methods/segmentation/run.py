"""Temporal segmentation from files to a run, and a run back from its files."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from egotools.config import field_values, file_digest, options_of, to_json
from egotools.errors import RunError, TableError, WeightsError
from egotools.machine import choose_device
from egotools.manifests.classes import read_classes
from egotools.manifests.segments import read_segments
from egotools.manifests.table import read_manifest
from egotools.methods.records import read_records, write_records
from egotools.methods.segmentation.items import Asks, every
from egotools.methods.segmentation.network import Refining, SegmentationNetwork
from egotools.methods.segmentation.options import Axis, Data, Training
from egotools.methods.segmentation.training import Examples, Plan, Trained, new_head, train_network
from egotools.methods.two_stream.refiner import RefinerFacts, read_refiner, refiner_file, write_refiner
from egotools.nn.c2f_tcn import C2FTCN
from egotools.progress import Progress, no_progress
from egotools.stores.opening import open_store
from egotools.tables.matching import Feature, features_of, numbered_inputs
from egotools.tables.sequences import RECORDING, FeatureSequence, Sequences, read_sequences
from egotools.texts import split_name
from egotools.training import learned_from
from egotools.training.how import How, how_for
from egotools.training.learned_from import LearnedFrom
from egotools.training.runs import Run, once, provenance_of, run_recipe
from egotools.weights.run_files import RUN
from egotools.weights.tensors import load_into, read_tensors

METHOD = "segmentation"
HEAD, BEST_HEAD, FACTS = "head.safetensors", "head.best.safetensors", "segmentation.json"
CLASSIFIERS = ("outcc",)  # the layers that know the classes
FIRST, LAST = "inc.conv.conv.0.weight", "outcc.conv.weight"
FIGURES = ("mof", "edit", "f1@10", "f1@25", "f1@50", "total")

Content = dict[str, Any]  # a report; Any: JSON values


class _Epoch(TypedDict, total=False):
    epoch: float
    total: float | None


class ReportShape(TypedDict):
    """`report.json`, as far as it is shown; figures that are not finite are null."""

    remarks: list[str]
    protocol: str
    epochs: int
    last: _Epoch | None
    best: _Epoch | None


class _Facts(TypedDict):
    """`segmentation.json`."""

    classes: list[str]
    features: int
    width: int
    attention_axis: Axis | None


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What a run has trained, and on what."""

    run: Run
    network: SegmentationNetwork
    classes: tuple[str, ...]
    features: tuple[Feature, ...]
    caches: tuple[Path, ...]
    is_refined: Asks
    learned: LearnedFrom | None
    data: Data
    config: Training


def train_segmentation(
    folder: Path,
    manifest: Path,
    segments: Path,
    features: Sequence[Path],
    data: Data,
    config: Training,
    *,
    how: How = How(),  # noqa: B008 - frozen
    seed: int = 0,
    device: str = "auto",
    preset: str | None = None,
    progress: Progress = no_progress,
) -> tuple[Content, bool]:
    """Trains a segmentation network on the split train, validates it on val if there is one, and keeps a run.

    Args:
        folder: of the run.
        manifest: which clips, with their splits, recordings and views.
        segments: labels at times.
        features: caches; several are concatenated.
        data: which rows make a sequence, and what the network sees of it.
        config: what is trained.
        how: precision, gradients, logging.
        seed: of the network, the orders and the zooms.
        device: where it is trained.
        preset: its name, for the run's origin.
        progress: of epochs.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is, one that was
        interrupted is resumed.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TableError: features, labels or splits that cannot be used.
        WeightsError: a refiner or a checkpoint that does not fit.
    """
    chosen = choose_device(device)
    how, slower = how_for(how, chosen)
    start = None if config.init is None else refiner_file(config.init)
    digests = {"init": start, "head": config.head, "classes": data.classes, "segments": segments}
    arguments = {**options_of(data), **options_of(config), **how.identity, "seed": seed}
    arguments |= {name: None if path is None else _digest(path) for name, path in digests.items()}
    places = {name: None if path is None else str(path.absolute()) for name, path in digests.items()}
    recipe = run_recipe(METHOD, arguments, manifest, features, numbered_inputs(features), preset=preset, **places)

    def make(run: Run) -> Content:
        train, validation = read_data(manifest, segments, features, data)
        refining, facts, remarks = read_refining(config, train.width)
        head, told = started(config, train.width, len(train.classes), seed)
        examples = Examples(train.sequences, validation.sequences, features, len(train.classes))
        plan = Plan(examples, data, config, how, seed, chosen, refined_by(facts, config.refine_student))
        write_records(run, features)
        trained = train_network(plan, head, refining, run, progress=progress)
        _write(run, trained, train, refining, facts)
        remarks = [*dict.fromkeys([*train.remarks, *validation.remarks, *remarks, *told, *slower])]
        provenance = {"precision_used": how.precision, **provenance_of(arguments, manifest, features)}
        return {**_report(trained, plan), "classes": list(train.classes), "remarks": remarks, **provenance}

    return once(folder, recipe, make, ReportShape)


def read_data(manifest: Path, segments: Path, caches: Sequence[Path], data: Data) -> tuple[Sequences, Sequences]:
    """The sequences to train on, and those to validate on, none if no clip has the split val.

    Raises:
        TableError: there is nothing to train on.
    """
    there = {split_name(clip.split) for clip in read_manifest(manifest)}
    if "train" not in there:
        has = ", ".join(sorted(there - {""})) or "none"
        raise TableError(
            f"{manifest}: no clip has the split 'train'; there are {has}; 'egotools manifest split' makes splits"
        )
    classes = classes_of(data.classes, segments)

    def read(split: str, views: tuple[str, ...]) -> Sequences:
        return read_sequences(manifest, caches, segments, classes=classes, splits=[split], reading=data.reading(views))

    train = read("train", data.train_views)
    if "val" not in there:
        told = "no clip has the split val: nothing is validated, and the last epoch is kept"
        return train, Sequences([], classes, train.caches, train.width, (told,))
    return train, read("val", data.eval_views or data.train_views)


def classes_of(file: Path | None, segments: Path) -> tuple[str, ...]:
    """The names of the classes in their order: those of a file, or all labels of the segments, sorted."""
    if file is not None:
        return tuple(read_classes(file))
    return tuple(sorted({segment.label for segment in read_segments(segments)}))


def read_refining(config: Training, width: int) -> tuple[Refining | None, RefinerFacts | None, list[str]]:
    """The refiner that `--init` names, how it is used, and remarks.

    Raises:
        TableError: the features have another width than those that it refines.
    """
    if config.init is None:
        return None, None, []
    refiner, facts = read_refiner(config.init)
    if facts.width != width:
        raise TableError(
            f"{config.init} refines features of width {facts.width}, the caches have {width}: give the caches that it"
            " was trained on"
        )
    default: Axis = facts.attention_axis if config.init.startswith(RUN) else "none"
    axis = config.attention_axis or default
    differs = f"{config.init} was trained with --attention-axis {facts.attention_axis}, and is used with {axis}"
    remarks = [differs] if axis != facts.attention_axis else []
    return Refining(refiner, axis, config.refiner_dropout), facts, remarks


def refined_by(facts: RefinerFacts | None, refine_student: bool) -> Asks:
    """Which views a refiner changes."""
    return every if facts is None or refine_student else facts.refines


def started(config: Training, features: int, classes: int, seed: int) -> tuple[C2FTCN, list[str]]:
    """The network to train, with the weights to begin with; and remarks.

    Raises:
        WeightsError: the checkpoint does not fit the features or the width.
    """
    head = new_head(features, classes, config.width, seed=seed)
    if config.head is None:
        return head, []
    tensors = read_tensors(config.head)
    load_into(head, tensors, heads=CLASSIFIERS, source=str(config.head))
    known = len(tensors[LAST]) if LAST in tensors else 0
    if known == classes:
        return head, []
    return head, [f"{config.head} knows {known} classes, not {classes}: the layers that tell them apart start anew"]


def read_head(path: Path, classes: int) -> C2FTCN:
    """A trained network from a file: a run's, or a published checkpoint.

    Raises:
        WeightsError: the file cannot be read, or is of something else, or of other classes.
    """
    tensors = read_tensors(path)
    if not all(name in tensors and tensors[name].ndim == 3 for name in (FIRST, LAST)):
        raise WeightsError(f"{path}: contains no C2F-TCN, whose first parameter is {FIRST}")
    if len(tensors[LAST]) != classes:
        raise WeightsError(f"{path}: knows {len(tensors[LAST])} classes, there are {classes}")
    width, features, _ = tensors[FIRST].shape
    try:
        head = C2FTCN(features, classes, width=width)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from error
    load_into(head, tensors, heads=(), source=str(path))
    return head


def open_segmentation(folder: Path, *, weights: str = "last") -> TrainedRun:
    """The run of a training that is done, with its last weights or its best.

    Raises:
        RunError: there is none, of another method, not done, or damaged.
    """
    run = Run.of_method(folder, METHOD, dict[str, Any])
    run.report()  # says so if it is not done
    found: _Facts = run.read(FACTS, _Facts)
    identity, origin = run.recipe.identity, run.recipe.origin
    files = {name: origin.get(name) for name in ("classes", "init", "head")}
    try:
        data = Data(**field_values(Data, {**identity, "classes": files["classes"]}))
        config = Training(**field_values(Training, {**identity, "init": files["init"], "head": files["head"]}))
    except ValueError as error:
        raise RunError(f"{folder / 'config.json'} cannot be read: {error}") from error
    path = folder / (BEST_HEAD if weights == "best" else HEAD)
    if weights == "best" and not path.is_file():
        path = folder / HEAD  # where nothing is validated, the last is the best that is known
    try:
        head = read_head(path, len(found["classes"]))
        refining, is_refined = _own_refining(folder, found["attention_axis"], config)
    except WeightsError as error:
        raise RunError(f"{folder} cannot be used: {error}") from error
    network = SegmentationNetwork(head, refining, padding=config.padding, smoothing=config.smoothing).eval()
    records, learned = read_records(run), learned_from.read(run)
    return TrainedRun(
        run,
        network,
        tuple(found["classes"]),
        tuple(features_of(records)),
        tuple(Path(each["cache"]) for each in records.values()),
        is_refined,
        None if learned is None else learned[""],
        data,
        config,
    )


def _own_refining(folder: Path, axis: Axis | None, config: Training) -> tuple[Refining | None, Asks]:
    if axis is None:
        return None, every
    refiner, facts = read_refiner(f"{RUN}{folder}")
    return Refining(refiner, axis, config.refiner_dropout), refined_by(facts, config.refine_student)


def _write(run: Run, trained: Trained, train: Sequences, refining: Refining | None, facts: RefinerFacts | None) -> None:
    head = trained.network.head
    if refining is not None and facts is not None:
        write_refiner(run, refining.refiner, facts)
    run.write(HEAD, _bytes(head.state_dict()))
    if trained.progress.weights:
        run.write(BEST_HEAD, _bytes(trained.progress.weights))
    axis = None if refining is None else refining.axis
    width = head.state_dict()[FIRST].shape[0]
    content = _Facts(classes=list(train.classes), features=train.width, width=width, attention_axis=axis)
    run.write(FACTS, to_json(content))
    learned_from.keep(run, {"": learned_of(train.sequences)})


def learned_of(sequences: Collection[FeatureSequence]) -> LearnedFrom:
    """What a training on sequences has seen: their clips, and other views of the same recordings with them."""
    ids = tuple(dict.fromkeys(each.id for each in sequences))
    return LearnedFrom(ids, RECORDING, tuple(sorted({each.recording for each in sequences})))


def _bytes(tensors: dict[str, Tensor]) -> bytes:
    return save_tensors({name: value.detach().cpu().contiguous() for name, value in tensors.items()})


def _report(trained: Trained, plan: Plan) -> Content:
    best, counted = trained.progress, plan.examples
    has_validation = bool(counted.validation)
    found = f"trained on {len(counted.train)} sequences"
    return {
        "command": "train segmentation",
        "protocol": f"{found}, validated on {len(counted.validation)}" if has_validation else found,
        "sequences": len(counted.train),
        "items": trained.items,
        "epochs": best.epochs,
        "last": best.last if has_validation else None,
        "best": best.best if has_validation else None,
        "parameters": _count(trained.network.head),
    }


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror}") from error


def width_of(caches: Sequence[Path]) -> int:
    """Features a row, of all caches together."""
    return sum(open_store(path).width for path in caches)
