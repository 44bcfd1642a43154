"""Frames by the numbers in their file names: where each stands, and what is missing."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

RANGES = 4  # of missing numbers that a remark names


def frame_numbers(names: Sequence[str]) -> list[int] | None:
    """The number at the end of each name, before its suffix; None where the names differ in more than that."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\.\w+)", name, re.DOTALL) for name in names]
    matches = [part for part in parts if part is not None]
    if len(matches) < len(names) or len({match[1] for match in matches}) > 1:
        return None
    return [int(match[2]) for match in matches]


def step_of(numbers: Sequence[int]) -> int | None:
    """The step by which ascending numbers rise, gaps aside; None where they follow no step.

    >>> step_of([0, 30, 60, 120])
    30
    >>> step_of([3, 13, 16, 37]) is None
    True
    """
    steps = Counter(after - before for before, after in itertools.pairwise(numbers))
    if not steps:
        return 1
    step, count = steps.most_common(1)[0]
    is_step = step > 0 and 2 * count > steps.total() and all(each % step == 0 for each in steps)
    return step if is_step else None


def positions(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """The place of each frame in its video, the first at 0, and remarks on what the names leave open.

    Frames whose numbers rise by one step stand where their number says, so that a missing one moves no other. Others
    follow one another.

    Args:
        names: of files, in natural order.

    Raises:
        ValueError: two files have one number.
    """
    order = list(range(len(names)))
    numbers = frame_numbers(names)
    if len(names) == 1:
        return order, []
    if numbers is None:
        return order, ["the names differ in more than one number at their end: frames follow in the order of the names"]
    for before, after in itertools.pairwise(range(len(names))):
        if numbers[before] == numbers[after]:
            raise ValueError(f"{names[before]} and {names[after]} have one number; remove one of them")
    step = step_of(numbers)
    if step is None:
        return order, ["the numbers in the names rise by no common step: frames follow one another, without gaps"]
    remarks = []
    if numbers[0] not in (0, 1, step):
        remarks.append(f"the first frame is number {numbers[0]}; times count from it")
    found = [(number - numbers[0]) // step for number in numbers]
    if lost := found[-1] + 1 - len(found):
        said = "1 frame is missing" if lost == 1 else f"{lost} frames are missing"
        remarks.append(f"{said} of {found[-1] + 1} ({_missing(numbers, step)}); the one before is shown until the next")
    return found, remarks


def _missing(numbers: Sequence[int], step: int) -> str:
    """The missing numbers, in words: "number 10 to 12, 40"."""
    gaps = [(a + step, b - step) for a, b in itertools.pairwise(numbers) if b - a > step]
    named = [f"{first}" if first == last else f"{first} to {last}" for first, last in gaps[:RANGES]]
    return "number " + ", ".join(named) + (" and more" if len(gaps) > RANGES else "")
