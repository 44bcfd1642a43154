"""Repairs wrong timestamps of frames: pure functions of arrays.

A timestamp is wrong if it goes back, repeats, is missing, or is far from all others. Repairs are local;
a file without errors keeps its timestamps exactly. F frames in display order, G gaps.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from egotools.types import IntArray

Stamps = npt.NDArray[np.float64]  # ticks; NaN: missing
Flags = npt.NDArray[np.bool_]

SHORT = 8  # up to this many frames have wrong timestamps, rather than a clock that restarts
AHEAD = 2000  # frames to look ahead for the timestamps to recover
REORDERED = 16  # places by which decoding order may differ from display order; the limit of H.264
FEW = 3  # frames at an end of the file that may be far from all others
ONE_IN = 20  # and at most 1 in this many of all frames
LONG = 3600.0  # seconds without a frame, unless the file's own steps are as long
LONGER_THAN_THE_REST = 60.0  # likewise, if all the rest of the file is shorter
STEPS = 10  # this many usual steps are not long


@dataclass(frozen=True, eq=False)
class Repaired:
    """Timestamps [F] that ascend strictly; the frames with wrong ones, by kind of error; the usual step."""

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
        usual: ticks from frame to frame if the timestamps do not tell.
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


def remarks(stamps: Stamps, found: Repaired, *, second: float) -> list[str]:
    """What was repaired, in sentences.

    Args:
        stamps: [F], as stored in the file.
        found: the result of `repaired`.
        second: ticks per second.
    """

    def seconds(frame: int) -> str:
        return f"{stamps[frame] / second:.3f} s"

    def shown(frame: int) -> str:
        return f"{found.stamps[frame] / second:.3f} s"

    said = []
    for frames, what in ((found.disordered, "out of order"), (found.far, "far from all others")):
        if len(frames):
            first = int(frames[0])
            others = len(frames) - 1
            more = f"; so {'is 1 other' if others == 1 else f'are {others} others'}" if others else ""
            said.append(f"frame {first} is stamped {seconds(first)}, {what}; it is shown at {shown(first)}{more}")
    if len(found.repeated):
        first, count = int(found.repeated[0]), len(found.repeated)
        frames_are = "1 frame is" if count == 1 else f"{count} frames are"
        where = (
            f"frame {first} at {seconds(first)}" if count == 1 else f"the first is frame {first} at {seconds(first)}"
        )
        said.append(f"{frames_are} stamped like the one before ({where}); each is shown between its neighbors")
    for first in found.restarts[:FEW].tolist():
        said.append(f"the clock restarts at frame {first} ({seconds(first)}); it is shown at {shown(first)}")
    return said


def _differ(stamps: Stamps) -> Flags:
    """Which timestamps differ from the one before."""
    return np.append(np.ones(1, np.bool_), np.diff(stamps) != 0)[: len(stamps)]


def _is_in_decoding_order(stamps: Stamps) -> bool:
    """Whether timestamps go back often, but only by a few places, so that sorting is enough."""
    if (np.diff(stamps) < 0).sum() <= len(stamps) // ONE_IN + 1:
        return False
    places = np.argsort(stamps, kind="stable")
    return bool(np.abs(places - np.arange(len(stamps))).max() <= REORDERED)


def _on_one_clock(values: Stamps, places: IntArray, step: float) -> tuple[Flags, Stamps, IntArray]:
    """Which timestamps to keep [F], all converted to the first clock [F], and the places where a clock restarts.

    Where timestamps go back, some before were too late, or some after are too early until they catch up,
    or the clock restarts. The fewest frames are taken as wrong; more than a few only if the clock then continues
    as if nothing had happened.
    """

    def fits(before: int, after: int) -> bool:
        expected = (places[after] - places[before]) * step
        return bool(abs(values[after] - values[before] - expected) <= expected / 2)

    values = values.copy()
    kept: list[int] = []
    begin, restarts = 0, []  # number of kept ones on earlier clocks
    i = 0
    while i < len(values):
        if kept and len(kept) == begin and values[i] <= values[kept[-1]]:  # the start of the current clock was wrong
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
    """Timestamps [F], of which some are known: the others evenly between, but never long after the one before."""
    if len(places) == count:
        return values
    if not len(places):
        return step * np.arange(count, dtype=np.float64)
    each = np.append(np.diff(values) / np.diff(places), step)
    each[each > 3 * step] = step
    frames = np.arange(count)
    before = np.maximum(np.searchsorted(places, frames, side="right") - 1, 0)
    each_of = np.where(frames < places[0], step, each[before])
    result: Stamps = values[before] + (frames - places[before]) * each_of
    return result


def _with_near_ends(stamps: Stamps, step: float, second: float) -> tuple[Stamps, IntArray]:
    """Moves the few timestamps at either end that are far from all others next to them; returns those frames, too."""
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
    rest = rises.sum() - rises + step
    long = (rises > LONG * second) | ((rises > LONGER_THAN_THE_REST * second) & (rises > rest))
    result: Flags = long & (rises > STEPS * step)
    return result
