"""Frame numbers in file names: whether files are frames of a video, where each belongs, and which are missing."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

FEWEST_FRAMES = 8  # a folder with fewer numbered images is a folder of images
MOST_GAPS = 10  # the frames of a video may have one gap in so many
RANGES = 4  # of missing numbers that a remark names


def frame_numbers(names: Sequence[str]) -> list[int] | None:
    """The number at the end of each name, before its suffix; None if the names differ in more than that."""
    matches = [match for name in names if (match := re.fullmatch(r"(.*?)(\d+)(\.\w+)", name, re.DOTALL))]
    is_one_series = len(matches) == len(names) and len({match[1] for match in matches}) <= 1
    return [int(match[2]) for match in matches] if is_one_series else None


def step_of(numbers: Sequence[int]) -> int | None:
    """The step by which ascending numbers rise, gaps aside; None if there is no common step.

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
    """The position of each frame in its video, the first at 0, and remarks on what the names leave open.

    If the numbers rise by a common step, they determine the positions, so that a missing frame moves no other.
    Otherwise frames follow one another.

    Args:
        names: file names, in natural order.

    Raises:
        ValueError: two files have the same number.
    """
    order = list(range(len(names)))
    numbers = frame_numbers(names)
    if len(names) == 1:
        return order, []
    if numbers is None:
        return order, ["the names differ in more than one number at their end: frames are in the order of the names"]
    for at, (before, after) in enumerate(itertools.pairwise(numbers)):
        if before == after:
            raise ValueError(f"{names[at]} and {names[at + 1]} have the same number; remove one of them")
    step = step_of(numbers)
    if step is None:
        return order, ["the numbers in the names have no common step: frames follow one another without gaps"]
    remarks = []
    if numbers[0] not in (0, 1, step):
        remarks.append(f"the first frame is number {numbers[0]}; times are counted from it")
    found = [(number - numbers[0]) // step for number in numbers]
    if lost := found[-1] + 1 - len(found):
        said = "1 frame is missing" if lost == 1 else f"{lost} frames are missing"
        remarks.append(f"{said} of {found[-1] + 1} ({_missing(numbers, step)}); the one before is shown until the next")
    return found, remarks


def _missing(numbers: Sequence[int], step: int) -> str:
    """The missing numbers as text: "number 10 to 12, 40"."""
    gaps = [(a + step, b - step) for a, b in itertools.pairwise(numbers) if b - a > step]
    named = [f"{first}" if first == last else f"{first} to {last}" for first, last in gaps[:RANGES]]
    return "number " + ", ".join(named) + (" and more" if len(gaps) > RANGES else "")


def are_frames(names: Sequence[str]) -> bool:
    """Whether image names look like the frames of one video: `frame_0001.jpg`, `frame_0002.jpg`, ...

    They share everything but a number that rises by a common step, with few gaps. Numbers padded to two digits
    (`01.png`) are how people number pictures, not how programs number frames; numbers with gaps after four capitals
    (`IMG_1203.JPG`) are how cameras number photographs.
    """
    numbers = _running(names)
    if numbers is None or any(re.search(r"(?<!\d)0\d\.\w+$", name) for name in names):
        return False
    gaps = _gaps(numbers)
    if gaps == 0:
        return True
    is_camera = all(re.fullmatch(r"[A-Z_][A-Z0-9_]{3}\d{4}\.\w+", name) for name in names)
    return gaps <= max(1, len(numbers) // MOST_GAPS) and not is_camera


def may_be_frames(names: Sequence[str]) -> bool:
    """Whether image names could be those of frames, some of them missing, or with several numbers in each name."""
    numbers = _running(names)
    if numbers is not None:
        return _gaps(numbers) > 0
    parts = [re.split(r"(\d+)", name) for name in sorted(names)]
    if len(names) < FEWEST_FRAMES or len({tuple(part[::2]) for part in parts}) > 1:
        return False
    columns = [sorted(map(int, column)) for column in zip(*(part[1::2] for part in parts), strict=True)]
    return any(column[0] < column[-1] and step_of(column) is not None for column in columns)


def _running(names: Sequence[str]) -> list[int] | None:
    """The numbers of at least eight names of one kind, ascending by a common step; else None."""
    numbers = sorted(frame_numbers(names) or [])
    if len(numbers) < FEWEST_FRAMES or len({Path(name).suffix.lower() for name in names}) > 1:
        return None
    return None if step_of(numbers) is None else numbers


def _gaps(numbers: Sequence[int]) -> int:
    return sum(after - before != step_of(numbers) for before, after in itertools.pairwise(numbers))
