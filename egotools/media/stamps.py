"""Repair of wrong frame timestamps: pure functions of arrays.

A timestamp is wrong if it goes back, repeats, is missing, or lies far from all others. Repairs are local: a file
without faults keeps its timestamps exactly. F frames in display order, G gaps.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from egotools.types import IntArray

Stamps = npt.NDArray[np.float64]  # ticks; NaN: missing
Flags = npt.NDArray[np.bool_]

SHORT = 8  # up to so many frames in a row have wrong timestamps; more are on a clock that restarted
AHEAD = 2000  # frames to look ahead for the timestamps to come back
REORDERED = 16  # places that timestamps in decoding order may lie from where they belong; H.264 allows no more
FEW = 3  # frames at an end of the file that may lie far from all others; and remarks of one kind
ONE_IN = 20  # and their share of all
LONG = 3600.0  # seconds without a frame or sound, unless the file's own steps are as long
LONGER_THAN_THE_REST = 60.0  # the same where all the rest of the file is shorter
STEPS = 10  # times the file's usual step is not long


@dataclass(frozen=True, eq=False)
class Repaired:
    """Strictly ascending timestamps [F]; the frames whose timestamps were wrong, by what was wrong; the usual step."""

    stamps: Stamps
    step: float
    disordered: IntArray
    repeated: IntArray
    far: IntArray  # at an end of the file
    restarts: IntArray  # the first frames after the clock restarted


def repaired(stamps: Stamps, *, usual: float, second: float) -> Repaired:
    """Timestamps in display order, repaired where necessary.

    Args:
        stamps: [F].
        usual: ticks from frame to frame if the timestamps themselves do not tell.
        second: ticks per second.
    """
    known = np.flatnonzero(~np.isnan(stamps))
    values = stamps[known]
    if _is_in_decoding_order(values):
        values = np.sort(values)
    new = _differ(values)
    steps = np.diff(values[new]) / np.diff(known[new])
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else usual
    kept, restarts = np.ones(len(values), np.bool_), np.zeros(0, np.int64)
    if (steps < 0).any():
        kept, values, restarts = _on_one_clock(values, known, step)
    disordered, known, values = known[~kept], known[kept], values[kept]
    new = _differ(values)
    repeated, known, values = known[~new], known[new], values[new]
    filled, far = _with_near_ends(_filled(known, values, len(stamps), step), step, second)
    return Repaired(filled, step, disordered, repeated, far, restarts)


def gaps(stamps: Stamps, *, step: float, second: float) -> Stamps:
    """Spans without a frame nearby [G, 2], in ticks: from one `step` after a frame to the next frame.

    Pauses are not gaps: only what is longer than an hour, or than a minute and all the rest of the file.
    """
    last = np.flatnonzero(_are_long(np.diff(stamps), step, second))
    return np.stack([stamps[last] + step, stamps[last + 1]], axis=1)


def gap_remarks(gaps: Stamps) -> list[str]:
    """The first few gaps [G, 2] in seconds, in sentences."""
    return [f"no frames between {a:.1f} s and {b:.1f} s; no rows are made there" for a, b in gaps[:FEW].tolist()]


def remarks(stamps: Stamps, found: Repaired, *, second: float) -> list[str]:
    """What was repaired, in sentences.

    Args:
        stamps: [F], as the file has them.
        found: their repair.
        second: ticks per second.
    """

    def said(frame: int) -> str:
        return f"{stamps[frame] / second:.3f} s"

    def shown(frame: int) -> str:
        return f"it is shown at {found.stamps[frame] / second:.3f} s"

    result = []
    for frames, what in ((found.disordered.tolist(), "out of order"), (found.far.tolist(), "far from all others")):
        if frames:
            first, others = frames[0], len(frames) - 1
            more = f"; so {'is 1 other' if others == 1 else f'are {others} others'}" if others else ""
            result.append(f"frame {first} has timestamp {said(first)}, {what}; {shown(first)}{more}")
    if count := len(found.repeated):
        first = int(found.repeated[0])
        which = "1 frame has" if count == 1 else f"{count} frames have"
        where = f"{'' if count == 1 else 'the first is '}frame {first} at {said(first)}"
        result.append(f"{which} the timestamp of the one before ({where}); each is shown between its neighbors")
    restarts = found.restarts[:FEW].tolist()
    return result + [f"the clock restarts at frame {first} ({said(first)}); {shown(first)}" for first in restarts]


def _differ(stamps: Stamps) -> Flags:
    """Which timestamps differ from the one before."""
    return np.append(True, np.diff(stamps) != 0)[: len(stamps)]


def _is_in_decoding_order(stamps: Stamps) -> bool:
    """Whether timestamps go back often, but only by a few places, so that it is enough to sort them."""
    if (np.diff(stamps) < 0).sum() <= len(stamps) // ONE_IN + 1:
        return False
    places = np.argsort(stamps, kind="stable")
    return bool(np.abs(places - np.arange(len(stamps))).max() <= REORDERED)


def _on_one_clock(values: Stamps, places: IntArray, step: float) -> tuple[Flags, Stamps, IntArray]:
    """Which timestamps to keep [F], all of them on the first one's clock [F], and the places where the clock restarts.

    Where timestamps go back, some before were too late, or some after are too early until they have caught up, or the
    clock restarts. As few frames as possible are taken for wrong; more than a few only if the clock then continues
    undisturbed.
    """

    def fits(before: int, after: int) -> bool:
        expected = (places[after] - places[before]) * step
        return bool(abs(values[after] - values[before] - expected) <= expected / 2)

    values = values.copy()
    kept: list[int] = []
    begin, restarts = 0, []  # how many of those kept are on earlier clocks
    i = 0
    while i < len(values):
        if kept and len(kept) == begin and values[i] <= values[kept[-1]]:  # the first on the present clock was wrong
            values[i:] += values[kept[-1]] + (places[i] - places[kept[-1]]) * step - values[i]
        if len(kept) == begin or values[i] >= values[kept[-1]]:
            kept.append(i)
            i += 1
            continue
        later = values[i : i + AHEAD] > values[kept[-1]]
        caught_up = i + int(np.argmax(later)) if later.any() else None
        above = len(kept) - bisect_left(kept, values[i], begin, key=lambda place: float(values[place]))
        before = kept[-above - 1] if above < len(kept) - begin else None
        skips = caught_up is not None and (caught_up - i <= SHORT or fits(kept[-1], caught_up))
        drops = above <= FEW if before is None else above <= SHORT or fits(before, i)
        if caught_up is not None and skips and (not drops or caught_up - i <= above):
            i = caught_up
        elif drops:
            del kept[-above:]
        else:
            values[i:] += values[kept[-1]] + step - values[i]
            restarts.append(places[i])
            begin = len(kept)
    flags = np.zeros(len(values), np.bool_)
    flags[kept] = True
    return flags, values, np.array(restarts, np.int64)


def _filled(places: IntArray, values: Stamps, count: int, step: float) -> Stamps:
    """`count` timestamps [F], some of them known: the others evenly between, but never long after the one before."""
    if len(places) == count:
        return values
    if not len(places):
        return step * np.arange(count, dtype=np.float64)
    each = np.append(np.diff(values) / np.diff(places), step)
    each[each > 3 * step] = step
    frames = np.arange(count)
    before = np.maximum(np.searchsorted(places, frames, side="right") - 1, 0)
    each_of = np.where(frames < places[0], step, each[before])
    return np.asarray(values[before] + (frames - places[before]) * each_of)


def _with_near_ends(stamps: Stamps, step: float, second: float) -> tuple[Stamps, IntArray]:
    """Timestamps, the few at either end that lie far from all others moved next to them; and which frames those are."""
    few = min(FEW, len(stamps) // ONE_IN)
    rises = np.diff(stamps)
    after = np.flatnonzero(_are_long(rises, step, second)) + 1  # the first frames after a long pause
    late, early = after[after >= len(stamps) - few], after[after <= few]
    if not len(late) and not len(early):
        return stamps, np.zeros(0, np.int64)
    stamps = stamps.copy()
    for frame in late:
        stamps[frame:] -= rises[frame - 1] - step
    for frame in early:
        stamps[:frame] += rises[frame - 1] - step
    far = np.append(np.arange(early.max(initial=0)), np.arange(late.min(initial=len(stamps)), len(stamps)))
    return stamps, far.astype(np.int64)


def _are_long(rises: Stamps, step: float, second: float) -> Flags:
    return np.asarray(is_long(rises, rises.sum() - rises + step, second) & (rises > STEPS * step))


def is_long(pause: Stamps | float, rest: Stamps | float, second: float = 1.0) -> Flags | bool:
    """Whether a pause is too long to be plausible in a file that holds `rest` besides, in ticks; elementwise."""
    return (pause > LONG * second) | ((pause > LONGER_THAN_THE_REST * second) & (pause > rest))
