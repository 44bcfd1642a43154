"""One training of the segmentation network on the device, and what it is worth on the validation sequences.

Axes: K slots of an item, C classes, T rows of a sequence.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from egotools.methods.segmentation.items import Asks, Items, every, predicted, with_draws
from egotools.methods.segmentation.network import Refining, SegmentationNetwork
from egotools.methods.segmentation.options import Data, Training
from egotools.methods.segmentation.slots import frame_labels
from egotools.metrics.segmentation import Segments, runs, scores, without
from egotools.nn.c2f_tcn import C2FTCN
from egotools.progress import Progress, no_progress
from egotools.tables.chunks import Draw, PooledItems, draws
from egotools.tables.sequences import UNLABELED, FeatureSequence
from egotools.training.best import BestEpoch, Figures
from egotools.training.epochs import steps_of
from egotools.training.fit import fit
from egotools.training.how import How
from egotools.training.optimizers import optimizer_of, step
from egotools.training.runs import Run
from egotools.training.seeding import seeded
from egotools.types import FloatArray

SCORE = "total"  # of five figures on the validation sequences: what the best epoch is chosen by
POOLED = "pooled"  # beginning of the names of folders of a run while it is trained


@dataclass(frozen=True, eq=False)
class Examples:
    """Sequences to train and to validate on, and the caches of their features."""

    train: Sequence[FeatureSequence]
    validation: Sequence[FeatureSequence]
    caches: Sequence[Path]
    classes: int


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, with the weights of the last epoch, and those of the best."""

    network: SegmentationNetwork
    progress: BestEpoch
    items: int


@dataclass(frozen=True, eq=False)
class Plan:
    """What a training is, all of it decided."""

    examples: Examples
    data: Data
    config: Training
    how: How
    seed: int
    device: torch.device
    is_refined: Asks = every


def new_head(features: int, classes: int, width: int, *, seed: int) -> C2FTCN:
    """A network of random weights; torch's own random state is untouched."""
    with seeded(seed):
        return C2FTCN(features, classes, width=width)


def train_network(
    plan: Plan, head: C2FTCN, refining: Refining | None, run: Run, *, progress: Progress = no_progress
) -> Trained:
    """Trains a head, changed in place, and validates it after every epoch if there is something to validate on.

    Args:
        plan: data and options.
        head: with the weights to begin with.
        refining: what changes the features before the head sees them.
        run: keeps metrics and checkpoint, from which the same call resumes; pooled features are in it meanwhile.
        progress: of epochs.

    Raises:
        TrainingError: as `fit`.
        TableError: the batches cannot be divided into steps.
    """
    config = plan.config
    is_kept = refining is not None and refining.is_of_slots and config.padding == "trim"
    network = SegmentationNetwork(
        head, None if is_kept else refining, padding=config.padding, smoothing=config.smoothing
    ).on(plan.device)
    kept = refining if is_kept else None
    with ExitStack() as stack:
        train, read = _pooled(plan, plan.examples.train, kept, run.path / f"{POOLED}-train", stack)
        validator = None
        if plan.examples.validation:
            validator = _Validator(
                plan, *_pooled(plan, plan.examples.validation, kept, run.path / f"{POOLED}-val", stack)
            )
        best = _fitted(plan, network, (train, read), validator, run, progress)
    if is_kept:
        network = SegmentationNetwork(head, refining, padding=config.padding, smoothing=config.smoothing)
    return Trained(network.on(plan.device).eval(), best, len(train.parts))


@dataclass(frozen=True, eq=False)
class _Validator:
    """Figures of the network on whole sequences, row by row."""

    plan: Plan
    found: Items
    read: PooledItems

    def figures(self, network: SegmentationNetwork) -> Figures:
        """MoF, edit, three F1, and their sum, in percent."""
        chunk = self.plan.data.chunk
        probabilities = predicted(network, self.found, self.read, chunk, self.plan.config.batch_size)
        pairs = zip(probabilities, self.plan.examples.validation, strict=True)
        return scores([_pair(values, each, chunk) for values, each in pairs], average="corpus")


def _pair(probabilities: FloatArray, sequence: FeatureSequence, chunk: int) -> tuple[Segments, Segments]:
    """Predicted and true segments of a sequence, in rows."""
    labels = frame_labels([(probabilities, chunk)], len(sequence))
    return runs(labels), without(runs(sequence.labels), [UNLABELED])


def _pooled(
    plan: Plan, sequences: Sequence[FeatureSequence], kept: Refining | None, folder: Path, stack: ExitStack
) -> tuple[Items, PooledItems]:
    """Items of sequences, and their slots from a file: refined ones if the refiner always does the same to a slot."""
    config, data = plan.config, plan.data
    found = Items.of(
        sequences,
        data.chunk,
        classes=plan.examples.classes,
        padding=config.padding,
        slots=data.slots,
        device=plan.device,
        is_refined=plan.is_refined,
    )
    if kept is None:
        return found, stack.enter_context(PooledItems(found.parts, plan.examples.caches, folder))
    kept.refiner.to(plan.device).eval()

    def refined(part: FeatureSequence, values: FloatArray) -> FloatArray:
        return kept.alone(values) if plan.is_refined(part.view) else values

    return found, stack.enter_context(PooledItems(found.parts, plan.examples.caches, folder, change=refined))


def _fitted(
    plan: Plan,
    network: SegmentationNetwork,
    items: tuple[Items, PooledItems],
    validator: _Validator | None,
    run: Run,
    progress: Progress,
) -> BestEpoch:
    config, how, (found, read) = plan.config, plan.how, items
    steps, best = steps_of(len(found.parts), config.batch_size, how), BestEpoch(SCORE)

    measured = None if validator is None else partial(validator.figures, network)

    def told(epochs: int) -> None:
        progress("training", epochs, config.epochs)

    def drawn(first: int) -> Iterator[Draw]:
        return draws(
            first,
            [len(part) for part in found.parts],
            plan.data.chunking,
            batch_size=config.batch_size,
            epochs=config.epochs,
            seed=plan.seed,
        )

    with seeded(plan.seed, plan.device):
        fit(
            network,
            with_draws(found, drawn, read),
            optimizer_of(network, "adam", lr=config.learning_rate, weight_decay=config.weight_decay),
            run,
            steps=steps * config.epochs,
            state={"progress": best},
            rate=lambda at: step(at // steps, every=config.step, factor=config.factor),
            after_step=best.after_step(network.head, measured, steps, told),
            is_over=partial(best.is_over, config.patience if validator is not None else None),
            how=replace(how, log_every=how.log_every or steps),
        )
    return best
