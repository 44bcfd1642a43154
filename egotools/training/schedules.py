"""Schedules whose parts follow each other: factors of the initial learning rate at a step, counted from 0.

Those of one formula are in `egotools.training.optimizers`.
"""

from egotools.training.optimizers import cosine


def warmup_cosine(step: int, warm: int, total: int) -> float:
    """From 0 in a straight line to 1 at step `warm`, then half a cosine down to 0, which it would reach at `total`.

    Without warm-up it is half a cosine alone. A training that is shorter than its warm-up ends within it.

    >>> [round(warmup_cosine(at, 2, 6), 3) for at in range(7)]
    [0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0]

    Source:
        Ego4D forecasting, `WarmupCosineSchedule`.
    """
    return step / warm if step < warm else cosine(step - warm, total=max(total - warm, 1))
