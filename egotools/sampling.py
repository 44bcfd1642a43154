"""Chooses the times and frames of a clip that rows are computed from: pure index arithmetic.

Every row of features covers an interval of time, and its frames are taken from the middle of that interval
outward, so that sampling at a video's own rate yields each frame once, and rounding never falls on a frame's edge.
"""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from egotools.errors import ClipError
from egotools.types import Clip, FrameWindows, IntArray, VideoInfo

Times = npt.NDArray[np.float64]

MOST_FRAMES = 5000  # of a clip read with --frames all: 1 GB of 256x256 frames, all in memory at once
MOST_ROWS = 10_000_000  # per clip; two days at 60 per second


def extent(clip: Clip, start: float, end: float, *, slack: float = 0.0) -> tuple[float, float]:
    """The seconds of the file that a clip covers, in a file with content from `start` to `end`.

    Annotations round times, so a clip may end up to 0.1 s plus `slack` seconds after the file does.

    Raises:
        ClipError: the clip begins after the file's end, or ends after it.
    """
    if clip.start >= end:
        raise ClipError(f"{clip.path}: the clip begins at {clip.start:g} s, the file ends at {end:.3f} s")
    if clip.end is not None and clip.end > end + slack + 0.1:
        raise ClipError(f"{clip.path}: the clip ends at {clip.end:g} s, the file at {end:.3f} s")
    last = end if clip.end is None else min(clip.end, end)
    if last <= start:
        raise ClipError(f"{clip.path}: the clip ends at {last:g} s, the file begins at {start:.3f} s")
    return max(clip.start, start), last


def check_rows(count: float) -> None:
    """Refuses an absurd number of rows before memory is allocated for them.

    Raises:
        ClipError: more than ten million for one clip.
    """
    if not count <= MOST_ROWS:
        raise ClipError(f"{count:.0f} rows for one clip, at most {MOST_ROWS} are possible: request fewer per second")


def check_positive(**options: float | None) -> None:
    """Refuses meaningless rates, lengths and counts, by the names of their options; None is not given.

    Raises:
        ValueError: the message names the option.
    """
    for name, value in options.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"--{name} must be above 0, not {value}")


def intervals(start: float, end: float, length: float, hop: float) -> Times:
    """Intervals [T, 2] of `length` seconds, one every `hop` seconds, that lie in [start, end]; at least one.

    The last one is kept, cut at `end`, when its middle lies inside.

    >>> intervals(0.0, 2.4, 1.0, 1.0).tolist()
    [[0.0, 1.0], [1.0, 2.0]]
    >>> intervals(0.0, 0.3, 1.0, 1.0).tolist()
    [[0.0, 0.3]]

    Raises:
        ClipError: too many.
    """
    count = _count(end - start - length / 2, hop)
    starts = start + hop * np.arange(count)
    return np.stack([starts, np.minimum(starts + length, end)], axis=1)


def whole_intervals(start: float, end: float, length: float, hop: float) -> Times:
    """Intervals [T, 2] of `length` seconds, one every `hop` seconds, all of them whole in [start, end]; at least one.

    What is left after the last one gets a further one, which ends at `end`, if it is half of what a further one adds.

    >>> whole_intervals(0.0, 2.6, 1.0, 1.0).tolist()
    [[0.0, 1.0], [1.0, 2.0], [1.6, 2.6]]

    Raises:
        ClipError: too many.
    """
    spare = end - start - length
    starts = start + hop * np.arange(_count(spare, hop))
    if end - starts[-1] - length >= hop - min(hop, length) / 2 - 1e-6:
        starts = np.append(starts, end - length)
    return np.stack([starts, starts + length], axis=1)


def _count(spare: float, hop: float) -> int:
    """How many windows begin in `spare` seconds, the first at 0 and one every `hop`; at least one."""
    check_rows(spare / hop)
    return max(1, math.floor(spare / hop + 1e-6) + 1)


def near(times: Times, gaps: Times) -> npt.NDArray[np.bool_]:
    """Which windows [T, 2] have their middle outside all gaps [G, 2]of the file.

    >>> near(np.array([[0.0, 1.0], [1.0, 2.0]]), np.array([[1.1, 90.0]])).tolist()
    [True, False]
    """
    middles = times.mean(axis=1)[:, None]
    inside = (gaps[:, 0] <= middles) & (middles < gaps[:, 1])
    result: npt.NDArray[np.bool_] = ~inside.any(axis=1)
    return result


def spread(total: int, count: int) -> IntArray:
    """At most `count` different positions out of `total`, first and last among them.

    >>> spread(10, 3).tolist()
    [0, 4, 9]
    """
    return np.unique(np.linspace(0, max(total - 1, 0), min(count, total)).astype(np.int64))


def floor_linspace(total: int, count: int) -> IntArray:
    """`count` positions [count] out of `total`: evenly spaced numbers from 0 to total - 1 in float32, truncated.

    Positions repeat if there are fewer. The numbers are those of torch.linspace by its formula, which counts the second
    half down from the end: truncation shows the rounding. Its CPU kernels deviate from it in a few cases, by the width
    of the machine's vectors; this does not.

    >>> floor_linspace(9, 8).tolist()
    [0, 1, 2, 3, 4, 5, 6, 8]
    >>> floor_linspace(7, 8).tolist()
    [0, 0, 1, 2, 3, 4, 5, 6]

    Source:
        RepLAI's temporal subsampling, `torch.linspace(0, total - 1, count).long()`.

    Raises:
        ValueError: nothing to choose from, or nothing to choose.
    """
    if total < 1 or count < 1:
        raise ValueError(f"{count} positions out of {total} cannot be chosen")
    last, at = np.float32(total - 1), np.arange(count, dtype=np.float32)
    step = last / np.float32(max(count - 1, 1))
    from_end = last - step * at[::-1] if count > 1 else at
    return np.where(at < count // 2, step * at, from_end).astype(np.int64)


def evenly(start: float, end: float, count: int) -> Times:
    """`count` equal parts [count, 2] of [start, end]."""
    edges = np.linspace(start, end, count + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def single_frames(
    video: VideoInfo, clip: Clip, *, fps: float | None, frames: int | None, stride: int | None
) -> FrameWindows:
    """Windows of one frame: `fps` per second, or `frames` evenly spaced over the clip, or every `stride`-th one.

    Raises:
        ClipError: the clip lies outside the video.
    """
    start, end = extent(clip, video.times[0], video.end, slack=1 / video.fps)
    if stride is not None:
        inside = frames_inside(video, start, end)
        chosen = inside[inside % stride == 0]
        return FrameWindows(chosen[:, None], np.stack([video.times[chosen], video.ends[chosen]], axis=1))
    if frames is not None:
        check_rows(frames)
        # Equal parts of the frames, not of the time: the middle frame of F is F // 2 whatever their timestamps.
        inside = frames_inside(video, start, end)
        chosen = inside[((np.arange(frames) + 0.5) * len(inside) / frames).astype(np.int64)]
        times = evenly(start, end - _hidden(video, start, end), frames)
        return FrameWindows(chosen[:, None], _past_gaps(times, video))
    if fps is None:
        raise ValueError("one of fps, frames and stride must be given")
    times = intervals(start, end, 1 / fps, 1 / fps)
    times = times[near(times, video.gaps)]
    middles = np.minimum(times[:, 0] + 0.5 / fps, (times[:, 0] + end) / 2)
    return FrameWindows(video.at(middles)[:, None], times)


def spread_middles(video: VideoInfo, clip: Clip, *, count: int) -> FrameWindows:
    """One window of `count` frames: the middle one of each of as many equal parts of the clip.

    Raises:
        ClipError: the clip lies outside the video.
    """
    parts = single_frames(video, clip, fps=None, frames=count, stride=None)
    return FrameWindows(parts.frames.T, np.array([[parts.times[0, 0], parts.times[-1, 1]]]))


def frame_stacks(
    video: VideoInfo, clip: Clip, *, length: int, fps: float | None, hop: float | None, clips: int | None
) -> FrameWindows:
    """Windows of `length` frames at `fps` (None: every frame), one every `hop` seconds or `clips` evenly spaced.

    If there are several, the first begins with the clip and the last ends with it; a single one is in the middle.
    Without `hop` and `clips` windows follow each other without a gap. If a clip is shorter than a window, its last
    frame is repeated.

    Raises:
        ClipError: the clip lies outside the video.
    """
    start, end = extent(clip, video.times[0], video.end, slack=1 / video.fps)
    inside = frames_inside(video, start, end)
    rate = video.fps if fps is None else fps
    span = length / rate
    times = window_times(video, start, end, span, hop=hop, clips=clips)
    indices: IntArray
    if fps is None:
        indices = video.at(times[:, 0] + 0.5 / rate)[:, None] + np.arange(length)
    else:
        indices = video.at(times[:, :1] + (np.arange(length) + 0.5) / rate)
    return FrameWindows(np.clip(indices, inside[0], inside[-1]), times)


def window_times(
    video: VideoInfo, start: float, end: float, span: float, *, hop: float | None, clips: int | None
) -> Times:
    """Windows [T, 2] of `span` seconds between two times of a file: one every `hop` seconds, or `clips` evenly spaced.

    As `frame_stacks` places them; a window that does not fit is cut at `end`.
    """
    if clips is not None:
        check_rows(clips)
        spare = max(end - start - _hidden(video, start, end) - span, 0.0)
        starts: Times = _past_gaps(start + evenly_begun(spare, clips), video)
        return np.stack([starts, np.minimum(starts + span, end)], axis=1)
    # A remainder shorter than a window would be mostly repeated frames, so only a clip's first one is padded.
    count = _count(end - start - span, hop or span)
    starts = start + (hop or span) * np.arange(count, dtype=np.float64)
    times = np.stack([starts, np.minimum(starts + span, end)], axis=1)
    return times[near(times, video.gaps)]


def evenly_begun(spare: float, count: int) -> Times:
    """When `count` windows begin of which the last can begin at `spare`; a single one is in the middle.

    >>> evenly_begun(7.5, 4).tolist(), evenly_begun(7.5, 1).tolist()
    ([0.0, 2.5, 5.0, 7.5], [3.75])
    """
    return np.linspace(0, spare, count) if count > 1 else np.array([spare / 2])


def picked_frames(start: int, end: int, positions: int) -> IntArray:
    """The frames [P] that stand for a clip's positions, from frame `start` up to `end`, counted in the whole video.

    The first P numbers that divide by ceil((end - start) / P), or if there are fewer, by the floor: in the usual clip
    of 240 frames the 16 picks begin up to 14 frames late.

    >>> picked_frames(10, 250, 16).tolist()[:3]
    [15, 30, 45]

    Source:
        Ego4D, hands and objects, `_sample_frames`.

    Raises:
        ValueError: the clip has fewer than P frames.
    """
    count = end - start
    if count < positions:
        raise ValueError(f"{count} frames, {positions} are needed")
    for step in (-(-count // positions), count // positions):
        found = np.arange(-(-start // step) * step, end, step, dtype=np.int64)
        if len(found) >= positions:
            break
    return found[:positions]


def spread_frames(video: VideoInfo, clip: Clip, *, count: int | Literal["all"]) -> FrameWindows:
    """One window of `count` frames: frame round(i (F - 1) / (count - 1)) of the clip's F, from first to last.

    Halves are rounded to even. A clip with fewer frames repeats some; a single frame is the first. "all" takes all F.

    Raises:
        ClipError: the clip lies outside the video, or has more frames than can be read at once.
    """
    start, end = extent(clip, video.times[0], video.end, slack=1 / video.fps)
    inside = frames_inside(video, start, end)
    if count == "all":
        if len(inside) > MOST_FRAMES:
            raise ClipError(
                f"{clip.path}: the clip has {len(inside)} frames, but --frames all reads at most {MOST_FRAMES};"
                " give a number of frames, or cut the clips (egotools manifest windows)"
            )
        return FrameWindows(inside[None], np.array([[start, end]]))
    chosen = inside[np.rint(np.linspace(0, len(inside) - 1, count)).astype(np.int64)]
    return FrameWindows(chosen[None], np.array([[start, end]]))


def window_frames(
    video: VideoInfo,
    start: float,
    end: float,
    count: int,
    *,
    rule: Literal["rate", "all"] = "rate",
    last: float = math.inf,
) -> IntArray:
    """Indices [count] of frames between two times of a file, by `floor_linspace`; some may be alike.

    Args:
        video: the file.
        start: seconds of the file.
        end: seconds of the file.
        count: how many.
        rule: of which frames they are. "rate": those that begin in [start, end), the first
            round((end - start) * fps) of them, or if there are fewer, from the first one on again, as RepLAI has it.
            "all": those that begin in [start, end], as Ego4D's recognition has it. If none does, the one shown at
            `start`.
        last: seconds of the file; with "rate", no frame that begins then or later, such as where a clip ends.
    """
    if rule == "all":
        inside = frames_inside(video, start, end + 2e-4)
        return inside[floor_linspace(len(inside), count)]
    inside = frames_inside(video, start, min(end, last))
    # Microseconds: 0.5 s at 25 a second are 12.5 frames, which the rounding of both times must not decide.
    total = max(1, round(round(end - start, 6) * round(video.fps, 3)))
    return inside[floor_linspace(total, count) % len(inside)]


def _hidden(video: VideoInfo, start: float, end: float) -> float:
    """Seconds of gaps between two times."""
    return float(np.diff(np.clip(video.gaps, start, end)).sum())


def _past_gaps(moments: Times, video: VideoInfo) -> Times:
    """Times counted as if the file had no gaps, converted to times of the file."""
    for begin, end in video.gaps.tolist():
        moments = np.where(moments >= begin, moments + (end - begin), moments)
    return moments


def frames_inside(video: VideoInfo, start: float, end: float) -> IntArray:
    """Indices of the frames that begin in [start, end), or, if none does, of the one shown at `start`."""
    first, last = np.searchsorted(video.times, [start - 1e-4, end - 1e-4])
    if first >= last:
        return video.at([start])
    return np.arange(first, last, dtype=np.int64)
