"""Pre-trains MemDPC on clips that are read from video, and validates it."""

from __future__ import annotations

from functools import partial

from torch import nn

from egotools.loading.spans import SpanExamples
from egotools.methods.memdpc.clips import clips_of
from egotools.methods.memdpc.network import WAYS, Pretraining
from egotools.methods.memdpc.options import MemDPCOptions, Training
from egotools.progress import Progress, no_progress
from egotools.training.how import How
from egotools.training.learning import Figures, Trained, learn
from egotools.training.optimizers import milestones, optimizer_of
from egotools.training.runs import Run
from egotools.training.validation import Validation
from egotools.training.world import ALONE, World


def pretrain(
    model: Pretraining,
    train: SpanExamples,
    val: SpanExamples | None,
    options: MemDPCOptions,
    *,
    seed: int,
    run: Run | None = None,
    workers: int = 0,
    how: How = How(),  # noqa: B008 - frozen
    world: World = ALONE,
    progress: Progress = no_progress,
) -> Trained:
    """Trains a network, changed in place.

    Args:
        model: on the device where it is trained.
        train: clips to learn from.
        val: clips to validate on; None: there are none.
        options: as the examples'.
        seed: of the order of clips and of what is drawn for them; dropout draws from torch's own random state.
        run: keeps metrics and checkpoint, from which the same call resumes; None: nothing is kept.
        workers: processes that read; 0: this one.
        how: precision, gradients, logging.
        world: the processes that train together.
        progress: is told the steps.

    Raises:
        TrainingError: as `fit` and the loader; or too few clips for a batch, or a precision that would spoil gradients.
    """
    device = next(model.parameters()).device
    finish = partial(clips_of, sampling=options, device=device)
    return learn(
        model,
        train,
        None if val is None else PretrainingValidation(val, options.batch_size, world, how, finish, workers),
        options,
        optimizer_of(model, "adam", lr=options.learning_rate, weight_decay=options.weight_decay),
        finish=finish,
        rate=partial(rate_at, options=options),
        validate_every=options.validate_every,
        seed=seed,
        run=run,
        workers=workers,
        how=how,
        world=world,
        progress=progress,
    )


def rate_at(step: int, *, options: Training, epoch: float) -> float:
    """The factor of the learning rate in a step; epochs of so many steps."""
    places = [round(place * epoch) for place in options.schedule]
    return milestones(step, places=places, is_true=options.true_schedule)


class PretrainingValidation(Validation):
    """Means over the clips; `top1` and `clip` are those of both directions, which decides what is best."""

    def __call__(self, model: nn.Module) -> Figures:
        assert isinstance(model, Pretraining)
        gathers, model.gathers_negatives = model.gathers_negatives, False
        figures = super().__call__(model)
        model.gathers_negatives = gathers
        return {**figures, **{name: sum(figures[f"{name}_{way}"] for way in WAYS) / 2 for name in ("top1", "clip")}}
