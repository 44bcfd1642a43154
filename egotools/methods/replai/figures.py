"""How well a network of RepLAI tells sounds apart, and the order of a change: figures of moments. Axes: N moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.losses.audio_visual import correspondence_loss, state_change_loss
from egotools.methods.replai.network import Changes, Matched
from egotools.metrics.pairs import Scores, matching_auc, matching_auc_within, order_score, recall_at
from egotools.types import IntArray

TOPS = (1, 5)


def figures_of(
    matched: Matched,
    changes: Changes,
    *,
    groups: IntArray,
    directions: Sequence[str] | None = None,
    batch_size: int,
    temperature: float,
) -> dict[str, Any]:
    """Figures, JSON-ready (hence Any); those that are not defined are NaN.

    Args:
        matched: [N, D] each, of norm 1.
        changes: [N, D] each.
        groups: [N], of moments that look and sound alike because they are of one recording.
        directions: of each moment's change, in words; empty: not known. None: nobody knows.
        batch_size: among how many moments the loss of correspondence tells a sound apart, as in training.
        temperature: of that loss.

    Returns:
        auc: how often what belongs together has a higher score than what does not, over all pairs; `auc_within`
            among the moments of each group, of which there are `within_moments`.
        r1, r5: how often the own sound is the best, or among the five best, for what is seen; `r1_seen`, `r5_seen` the
            other way round; `r1_chance`, `r5_chance` of guessing.
        order: how often the sound fits the change better than the reversed change; `order_shuffled` with each other
            moment's sound in turn, `order_opposite` with those of changes in another direction.
        clr_loss, aot_loss: the losses of training.
    """
    seen = (matched.before + matched.after) / 2
    scores: Scores = (seen @ matched.sound.T).double().numpy()
    within, compared = matching_auc_within(scores, groups)
    right, wrong = (
        (F.normalize(change, dim=1) @ F.normalize(changes.sound, dim=1).T).double().numpy()
        for change in (changes.forward, changes.backward)
    )
    others = ~np.eye(len(scores), dtype=bool)
    figures: dict[str, Any] = {"auc": matching_auc(scores), "auc_within": within, "within_moments": compared}
    figures |= {f"r{k}": recall_at(scores, k) for k in TOPS}
    figures |= {f"r{k}_seen": recall_at(scores.T, k) for k in TOPS}
    figures |= {f"r{k}_chance": min(k / len(scores), 1.0) for k in TOPS}
    figures |= {"order": order_score(np.diagonal(right), np.diagonal(wrong))}
    figures |= {"order_shuffled": order_score(right, wrong, others)}
    if directions is not None:
        names = np.array(directions, dtype=object)
        is_known = names != ""
        figures["order_opposite"] = order_score(
            right, wrong, (names[:, None] != names[None]) & is_known[:, None] & is_known[None]
        )
    figures["clr_loss"] = _correspondence(matched, batch_size, temperature)
    figures["aot_loss"] = state_change_loss(*changes)[0].item()
    return figures


def _correspondence(matched: Matched, batch_size: int, temperature: float) -> float:
    """The mean over whole batches; one that is smaller only if there is no other."""
    count = len(matched.sound) // batch_size * batch_size or len(matched.sound)
    batches = zip(*(torch.split(each[:count], batch_size) for each in matched), strict=True)
    losses = [correspondence_loss(*batch, *batch, temperature=temperature) for batch in batches]
    return torch.stack(losses).mean().item()
