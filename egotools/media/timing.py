"""When the frames of a video are shown, in seconds: by their timestamps, or at a frame rate."""

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

Seconds = npt.NDArray[np.float64]

ASSUMED_RATE = Fraction(25)
RATES = (0.1, 1000.0)  # plausible in a header; others are clock rates, or nonsense

BEGINNING = 1 << 22  # bytes of a stream that are searched for its rate

# Headers of an MPEG-4 stream: of a group of pictures, or of a picture.
MPEG4_HEADER = re.compile(rb"\x00\x00\x01([\xb3\xb6])(?=(.{12}))", re.DOTALL)
MPEG4_GROUP = b"\xb3"
BETWEEN = 2  # the type of a picture that is shown before the one decoded before it


@dataclass(frozen=True, eq=False)
class Timing:
    """When frames are shown, in seconds."""

    times: Seconds  # [F] float64, strictly ascending
    end: float  # when the last frame ends
    gaps: Seconds  # [G, 2] spans without a frame nearby
    remarks: tuple[str, ...]  # what was repaired, in sentences
    has_far_ends: bool = False  # whether some timestamps at an end were far from the others


def stamped(pts: stamps.Stamps, duration: int, stream: VideoStream, path: Path) -> Timing:
    """Frames with timestamps `pts` [F], NaN where missing; `duration` is that of the last in ticks, 0 if unknown."""
    time_base = exact(stream.time_base or 1)
    second = float(1 / time_base)
    rate = exact(stream.average_rate or stream.guessed_rate or ASSUMED_RATE)
    found = stamps.repaired(pts, usual=float(1 / (rate * time_base)), second=second)
    remarks = stamps.remarks(pts, found, second=second)
    step = found.step if found.step < 1 else int(found.step)
    length: float = duration if duration > step / 2 else step  # many writers give every frame one tick
    last, first = float(found.stamps[-1]), float(found.stamps[0])
    if len(pts) > 1 and length > max(stamps.LONG * second, stamps.STEPS * found.step):
        remarks.append(f"the last frame has a duration of {length / second:.3f} s; {step / second:.3f} s are used")
        length = step
    elif len(pts) > 1 and length > max(stamps.LONGER_THAN_THE_REST * second, last - first):
        remarks.append(f"the last frame is shown for {length / second:.3f} s, longer than all the others")
    longest = max(np.diff(found.stamps).max(initial=0.0), length)
    check_times(path, (last - first + length) / second, longest / second, len(pts), "frame")
    gaps = stamps.gaps(found.stamps, step=found.step, second=second) / second
    return Timing(
        times=found.stamps * time_base.numerator / time_base.denominator,
        end=float((Fraction(last) + Fraction(max(length, min(1.0, found.step)))) * time_base),
        gaps=gaps,
        remarks=(*remarks, *stamps.gap_remarks(gaps)),
        has_far_ends=len(found.far) > 0,
    )


def at_a_rate(count: int, stream: VideoStream, fps: float | None, path: Path) -> Timing:
    """Frames of a format without timestamps: at the rate of its header, else at `fps`, else at an assumed one."""
    stated, remark = _stated_rate(stream, path), ""
    stated = stated if stated and RATES[0] <= stated <= RATES[1] else None
    given = None if fps is None else Fraction(fps).limit_denominator(1_000_000)
    rate = stated or given or ASSUMED_RATE
    end = float(count / rate)
    if stated and given and abs(stated - given) > given / 1000:
        remark = f"its header states {float(rate):g} frames per second, not {fps:g}; the header is used"
    elif not stated and not given:
        remark = f"no frame rate in its header or in column fps; {float(rate):g} frames per second are assumed"
    check_times(path, end, float(1 / rate), count, "frame")
    return Timing(np.arange(count) / float(rate), end, np.zeros((0, 2)), (remark,) if remark else ())


def _stated_rate(stream: VideoStream, path: Path) -> Fraction | None:
    if stream.container.format.name == "m4v" and stream.codec_context.framerate:
        with open_file(path) as file:
            return _mpeg4_rate(file.read(BEGINNING), stream.codec_context.framerate.numerator)
    if stream.container.format.name != "yuv4mpegpipe":
        return exact(stream.codec_context.framerate) if stream.codec_context.framerate else None
    with open_file(path) as file:  # FFmpeg does not distinguish the header's rate from its own guess
        rate = re.search(rb" F(\d+):([1-9]\d*)\b", file.readline(1024))
    return Fraction(int(rate[1]), int(rate[2])) if rate else None


def _mpeg4_rate(data: bytes, counts: int) -> Fraction | None:
    """Pictures per second of a raw MPEG-4 stream, by the times in their headers; None if there are fewer than two.

    FFmpeg (8) gives the number of `counts` per second, which is the rate only if every picture is one count long.
    Source: ISO/IEC 14496-2, 6.2.5 and 6.3.5.
    """
    width = max((counts - 1).bit_length(), 1)
    times: list[int] = []
    before = second = 0  # of the last two reference pictures
    for kind, header in MPEG4_HEADER.findall(data):
        bits = f"{int.from_bytes(header, 'big'):0{8 * len(header)}b}"
        if kind == MPEG4_GROUP:
            second = int(bits[:5], 2) * 3600 + int(bits[5:11], 2) * 60 + int(bits[12:18], 2)
            continue
        later = bits.index("0", 2) - 2 if "0" in bits[2:] else 0  # whole seconds
        count = int(bits[later + 4 : later + 4 + width], 2)
        if int(bits[:2], 2) == BETWEEN:
            times.append((before + later) * counts + count)
        else:
            before, second = second, second + later
            times.append(second * counts + count)
    steps = np.diff(np.unique(times))
    return Fraction(counts, int(np.median(steps))) if len(steps) else None
