"""Repair of wrong timestamps of audio packets: pure functions of arrays.

Sound is its own clock: a packet begins when the one before it ends. Timestamps that differ from that mean a gap or a
restarted clock, or are wrong. P packets; timestamps and lengths are in ticks.
"""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from egotools.media.stamps import is_long
from egotools.types import IntArray

JITTER_SECONDS = 0.02  # timestamps jitter by less; more is a gap in the stream, which is silence
ODD_SECONDS = 1.0  # of sound at most whose timestamps lie apart from those before and after
ODD_SHARE = 4  # and a part of the file's
LONGEST_PACKET = 1.0  # seconds more than the others
RESTART_SECONDS = 1.0  # a jump back by more means that the clock restarts; by less, packets overlap
WORTH_A_REMARK = 0.1  # seconds; smaller repairs are not reported


def unbroken(said: Sequence[int | None], durations: Sequence[int], ticks: float) -> tuple[IntArray, IntArray]:
    """Timestamps and lengths [P] of packets; one without a timestamp begins when the one before ends.

    A length that is missing, or that spans a gap, becomes the usual one.
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
    """When packets begin: `stamps` [P]; `gaps` [G, 2] too long to be plausible; what was repaired, in sentences."""

    stamps: IntArray
    gaps: IntArray
    remarks: list[str]


def heard(stamps: IntArray, lengths: IntArray, ticks: float) -> Heard:
    """When packets begin; the same array of timestamps if nothing was repaired.

    Args:
        stamps: [P] as the packets state.
        lengths: [P] of the packets.
        ticks: seconds per tick.
    """
    before = np.cumsum(lengths) - lengths  # the clock of the sound itself
    offsets = stamps - before  # of the timestamps from it: constant, but for gaps
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
        after = [*later.tolist(), number + 1][: len(runs) - number - 1]
        following = [int(offsets[runs[at][0]]) + shift for at in after]
        if short[number] and _is_odd(offset, level, following, ticks, total):
            odd.append(first)
            level = following[0] if level is None else level
            result[first:last] = (level or 0) + before[first:last]
            continue
        step = 0.0 if level is None else (offset - level) * ticks
        if step < -RESTART_SECONDS:
            restarts.append(first)
            shift += (level or 0) - offset
        elif is_long(step, total):
            gaps.append(first)
        result[first:last] = stamps[first:last] + shift
        level = int(offsets[last - 1]) + shift
    silent = np.array([(result[at - 1] + lengths[at - 1], result[at]) for at in gaps], np.int64).reshape(-1, 2)
    return Heard(result, silent, _sentences(stamps, result, silent, ticks, odd, restarts))


def _is_odd(offset: int, before: int | None, after: Sequence[int], ticks: float, total: float) -> bool:
    """Whether timestamps lie apart from those before and after; at an end of the file, too far from the others.

    `after`: the offsets of the next long run and of the next one; empty at the end.
    """
    if before is not None and after:
        above, below = offset - max(before, after[0]), min(before, after[0]) - offset
        return max(above, below) * ticks > JITTER_SECONDS
    steps = [other - offset for other in after] if before is None else [offset - before]
    return all(step * ticks < -JITTER_SECONDS or bool(is_long(step * ticks, total)) for step in steps)


def _sentences(
    stamps: IntArray, result: IntArray, silent: IntArray, ticks: float, odd: list[int], restarts: list[int]
) -> list[str]:
    shown = [at for at in odd if abs(stamps[at] - result[at]) * ticks > WORTH_A_REMARK]
    remarks = []
    if shown:
        said, right = stamps[shown[0]] * ticks, result[shown[0]] * ticks
        others = f"; so are {len(shown) - 1} more groups of packets" if shown[1:] else ""
        remarks.append(
            f"the audio packet at {right:.3f} s has timestamp {said:.3f} s, out of order; "
            f"it is played right after the one before it{others}"
        )
    if restarts:
        remarks.append(f"the audio clock restarts at {result[restarts[0]] * ticks:.3f} s{_first_of(restarts)}")
    if len(silent):
        begin, end = (silent[0] * ticks).tolist()
        gap = f"no sound between {begin:.3f} s and {end:.3f} s{_first_of(silent)}"
        remarks.append(f"{gap}; no rows are made there")
    return remarks


def _first_of(found: Sized) -> str:
    return "" if len(found) == 1 else f" (the first of {len(found)} times)"
