"""Repairs wrong timestamps of audio packets.

Sound has a clock of its own: a packet is heard when the one before it ends. Timestamps that disagree mean
a gap, a clock that restarts, or an error. P packets; timestamps and lengths are in ticks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from egotools.media.stamps import LONG, LONGER_THAN_THE_REST
from egotools.types import IntArray

JITTER_SECONDS = 0.02  # timestamps jitter by less; more is a gap in the stream, which is silence
ODD_SECONDS = 1.0  # at most this much sound may have outlying timestamps
ODD_SHARE = 4  # and at most 1 / ODD_SHARE of the file
LONGEST_PACKET = 1.0  # seconds longer than the others
ANEW_SECONDS = 1.0  # a step back by more: the clock restarts; by less, packets overlap
TOLD_SECONDS = 0.1  # smaller repairs are not worth a remark


def unbroken(said: Sequence[int | None], durations: Sequence[int], ticks: float) -> tuple[IntArray, IntArray]:
    """Timestamps and lengths [P] of packets; a packet without a timestamp is heard when the one before ends.

    A length that is missing, or spans a gap, is replaced by the usual one.
    """
    lengths = np.array(durations, np.int64)
    steps = np.array([after - one for one, after in pairwise(said) if one is not None and after is not None] or [0])
    usual = max(int(np.median(lengths[lengths > 0] if (lengths > 0).any() else steps)), 0)
    lengths[(lengths <= 0) | (lengths > usual + LONGEST_PACKET / ticks)] = usual
    stamps = np.zeros(len(said), np.int64)
    expected = next((stamp for stamp in said if stamp is not None), 0)
    for number, stamp in enumerate(said):
        stamps[number] = expected if stamp is None else stamp
        expected = int(stamps[number] + lengths[number])
    return stamps, lengths


@dataclass(frozen=True, eq=False)
class Heard:
    """When packets are heard: `stamps` [P]; implausibly long `gaps` [G, 2]; what was repaired, in sentences."""

    stamps: IntArray
    gaps: IntArray
    remarks: list[str]


def heard(stamps: IntArray, lengths: IntArray, ticks: float) -> Heard:
    """When packets are heard; the same array if nothing was repaired.

    Args:
        stamps: [P] the packets' own timestamps.
        lengths: [P] the length of each.
        ticks: seconds of a tick.
    """
    before = np.cumsum(lengths) - lengths  # the clock of the sound itself
    offsets = stamps - before  # of the timestamps from it: constant, except for gaps
    total = float(lengths.sum()) * ticks
    edges = np.flatnonzero(np.abs(np.diff(offsets)) * ticks > JITTER_SECONDS) + 1
    if not len(edges):
        return Heard(stamps, np.empty((0, 2), np.int64), [])
    runs = list(pairwise([0, *edges.tolist(), len(stamps)]))
    result, level, shift = stamps.copy(), None, 0
    odd: list[int] = []
    restarts: list[int] = []
    gaps: list[int] = []
    short = [lengths[first:last].sum() * ticks <= min(ODD_SECONDS, total / ODD_SHARE) for first, last in runs]
    for number, (first, last) in enumerate(runs):
        offset = int(offsets[first]) + shift
        later = number + 1 + np.flatnonzero(~np.array(short[number + 1 :], np.bool_))[:1]  # the next that is not short
        following = [
            int(offsets[runs[at][0]]) + shift for at in [*later.tolist(), number + 1][: len(runs) - number - 1]
        ]
        if short[number] and _is_odd(offset, level, following, ticks, total):
            odd.append(first)
            level = following[0] if level is None else level
            result[first:last] = (level or 0) + before[first:last]
            continue
        step = 0.0 if level is None else (offset - level) * ticks
        if step < -ANEW_SECONDS:
            restarts.append(first)
            shift += (level or 0) - offset
        elif not is_believed(step, total):
            gaps.append(first)
        result[first:last] = stamps[first:last] + shift
        level = int(offsets[last - 1]) + shift
    silent = np.array([(result[at - 1] + lengths[at - 1], result[at]) for at in gaps], np.int64).reshape(-1, 2)
    return Heard(result, silent, _sentences(stamps, result, silent, ticks, odd, restarts))


def is_believed(gap: float, rest: float) -> bool:
    """Whether a gap of so many seconds is plausible in a file with `rest` seconds besides."""
    return gap <= LONG and (gap <= LONGER_THAN_THE_REST or gap <= rest)


def _is_odd(offset: int, before: int | None, after: Sequence[int], ticks: float, total: float) -> bool:
    """Whether timestamps differ from those before and after; at an end of the file, whether they are too far away.

    `after` are the offsets of the next two long runs; empty at the end.
    """
    if before is not None and after:
        above, below = offset - max(before, after[0]), min(before, after[0]) - offset
        return max(above, below) * ticks > JITTER_SECONDS
    steps = [other - offset for other in after] if before is None else [offset - before]
    return all(step * ticks < -JITTER_SECONDS or not is_believed(step * ticks, total) for step in steps)


def _sentences(
    stamps: IntArray, result: IntArray, silent: IntArray, ticks: float, odd: list[int], restarts: list[int]
) -> list[str]:
    told = [at for at in odd if abs(stamps[at] - result[at]) * ticks > TOLD_SECONDS]
    remarks = []
    if told:
        said, right = stamps[told[0]] * ticks, result[told[0]] * ticks
        others = f"; so are {len(told) - 1} more groups of packets" if told[1:] else ""
        remarks.append(
            f"the audio packet at {right:.3f} s is stamped {said:.3f} s, out of order; "
            f"it is played right after the one before it{others}"
        )
    if restarts:
        remarks.append(
            f"the audio timestamps start over {_times(len(restarts))} at {result[restarts[0]] * ticks:.3f} s"
        )
    if len(silent):
        begin, end = (silent[0] * ticks).tolist()
        remarks.append(
            f"there is no sound {_times(len(silent))} from {begin:.3f} to {end:.3f} s; no rows are made there"
        )
    return remarks


def _times(count: int) -> str:
    return "once," if count == 1 else f"{count} times, first"
