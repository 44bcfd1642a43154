"""Computes when the frames of a video show, in seconds: from their timestamps, repaired if wrong, or a rate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

from egotools.files.disk import open_file
from egotools.media import stamps
from egotools.media.containers import exact
from egotools.media.limits import check_times
from egotools.media.mpeg4_rate import picture_rate

Seconds = npt.NDArray[np.float64]

ASSUMED_RATE = Fraction(25)
RATES = (0.1, 1000.0)  # that a header may state; others are clock rates, or nonsense

BEGINNING = 1 << 22  # bytes of a stream searched for its rate
MOST_SAID = 3  # gaps listed in remarks


@dataclass(frozen=True, eq=False)
class Timing:
    """When frames show, in seconds, as in `FrameIndex`; whether some at an end had timestamps far from the others."""

    times: Seconds
    end: float
    gaps: Seconds
    remarks: tuple[str, ...]
    has_far_ends: bool = False


def stamped(pts: stamps.Stamps, duration: int, stream: VideoStream, path: Path) -> Timing:
    """The timing of frames with timestamps `pts` [F], NaN if missing; `duration` is the last one's, 0 if unknown."""
    time_base = exact(stream.time_base or 1)
    second = float(1 / time_base)
    found = stamps.repaired(pts, usual=float(1 / (_frame_rate(stream) * time_base)), second=second)
    remarks = stamps.remarks(pts, found, second=second)
    step = found.step if found.step < 1 else int(found.step)
    length: float = duration if duration > step / 2 else step  # many writers give every frame one tick
    last, first = float(found.stamps[-1]), float(found.stamps[0])
    if len(pts) > 1 and length > max(stamps.LONG * second, stamps.STEPS * found.step):
        remarks.append(
            f"the last frame states a duration of {length / second:.3f} s; it is shown for {step / second:.3f} s"
        )
        length = step
    elif len(pts) > 1 and length > max(stamps.LONGER_THAN_THE_REST * second, last - first):
        remarks.append(f"the last frame is shown for {length / second:.3f} s, longer than all the others")
    longest = max(np.diff(found.stamps).max(initial=0.0), length)
    check_times(path, (last - first + length) / second, longest / second, len(pts), "frame")
    gaps = stamps.gaps(found.stamps, step=found.step, second=second)
    remarks += [
        f"no frame between {a:.1f} s and {b:.1f} s; no rows there" for a, b in (gaps / second)[:MOST_SAID].tolist()
    ]
    return Timing(
        times=found.stamps * time_base.numerator / time_base.denominator,
        end=float((Fraction(last) + Fraction(max(length, min(1.0, found.step)))) * time_base),
        gaps=gaps / second,
        remarks=tuple(remarks),
        has_far_ends=len(found.far) > 0,
    )


def at_a_rate(count: int, stream: VideoStream, fps: float | None, path: Path) -> Timing:
    """The timing of frames in a format without times: at the rate of its header, else `fps`, else an assumed one."""
    said = _stated_rate(stream, path)
    stated = said if said and RATES[0] <= said <= RATES[1] else None
    given = None if fps is None else Fraction(fps).limit_denominator(1_000_000)
    rate, remarks = stated or given or ASSUMED_RATE, []
    if stated and given and abs(stated - given) > given / 1000:
        remarks.append(f"its header says {float(stated):g} frames per second, not {fps:g}; the header is used")
    elif not stated and not given:
        remarks.append(
            f"its header gives no frame rate and there is no column fps; {float(rate):g} frames per second are assumed"
        )
    check_times(path, float(count / rate), float(1 / rate), count, "frame")
    return Timing(np.arange(count) / float(rate), float(count / rate), np.zeros((0, 2)), tuple(remarks))


def _stated_rate(stream: VideoStream, path: Path) -> Fraction | None:
    if stream.container.format.name == "m4v" and stream.codec_context.framerate:
        with open_file(path) as file:
            return picture_rate(file.read(BEGINNING), stream.codec_context.framerate.numerator)
    if stream.container.format.name != "yuv4mpegpipe":
        return exact(stream.codec_context.framerate) if stream.codec_context.framerate else None
    with open_file(path) as file:  # FFmpeg does not distinguish the header's rate from the one that it assumes
        rate = re.search(rb" F(\d+):([1-9]\d*)\b", file.readline(1024))
    return Fraction(int(rate[1]), int(rate[2])) if rate else None


def _frame_rate(stream: VideoStream) -> Fraction:
    return exact(stream.average_rate or stream.guessed_rate or 25)
