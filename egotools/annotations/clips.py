"""Clips of annotations: one for each labeled stretch of a video that is there."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.annotations.events import Annotations, Event
from egotools.annotations.videos import Videos
from egotools.errors import ClipError, ManifestError
from egotools.machine import usable_cores
from egotools.manifests.check import Span, measure_files
from egotools.manifests.table import RESERVED
from egotools.media.video import open_frames
from egotools.processes import Crash, apart
from egotools.progress import Progress, no_progress
from egotools.texts import composed, counted, named, shortened, split_name, tidy
from egotools.types import LONGEST_ID, Clip

NAMED = 3
SAME = 1e-6  # seconds by which times of one moment may differ
LENGTH_SLACK = 1.0  # seconds by which a stated length may differ from that of the file
OUTSIDE = "rows outside of their video"
REACHING = "segments that reach out of their video, of which the part inside is written"
Times = npt.NDArray[np.float64]


@dataclass
class Found:
    """The clips, remarks, and by kind what was lost or is doubtful."""

    clips: list[Clip] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    lost: dict[str, list[str]] = field(default_factory=dict)
    overlaps: list[str] = field(default_factory=list)

    def lose(self, kind: str, what: str) -> None:
        """Counts something that is not written as it was given."""
        self.lost.setdefault(kind, []).append(what)


@dataclass(frozen=True)
class _Placed:
    """An event in a clip, in seconds of the file."""

    event: Event
    clip: Clip
    start: float
    end: float


def clips_of_annotations(
    annotations: Annotations,
    videos: Videos,
    *,
    around: float | None = None,
    offset: float = 0.0,
    fps: float | None = None,
    progress: Progress = no_progress,
) -> Found:
    """One clip for each annotation of a video that is there.

    Ids are `<video>@<start>-<end>`: a segment keeps its id when others are added or changed. Columns are the labels in
    lower case, and `video`.

    Args:
        annotations: as they were read.
        videos: those that they may be about.
        around: seconds of a clip before and after a moment; None: moments are lost.
        offset: seconds of the video at the time 0 of the annotations.
        fps: the rate of frame numbers; None: each frame counts from the time at which it is shown.
        progress: reports files that are opened.

    Raises:
        ManifestError: two label columns cannot be told apart.
    """
    found = Found(remarks=list(annotations.remarks), lost={kind: list(each) for kind, each in annotations.lost.items()})
    about = _resolve(annotations.events, videos, found)
    spans = _measured([clip for clips in about.values() for clip in clips], found, progress)
    pairs = [(event, clip) for event in annotations.events for clip in about.get(event.video, ()) if clip.path in spans]
    shown: dict[Path, Times] = {}
    if fps is None:
        shown = _frame_times([clip for event, clip in pairs if event.in_frames], found)
    placed = []
    for event, clip in pairs:
        if event.in_frames and clip.path not in shown:
            continue  # the video was named
        try:
            start, end = _seconds(event, shown.get(clip.path), offset)
            placed.append(_place(event, start, end, clip, spans[clip.path], around=around, found=found))
        except _Lost as lost:
            found.lose(lost.kind, f"{event.where}: {lost}")
    placed = _once(placed, found)
    found.overlaps = _overlaps(placed)
    found.clips = _clips(placed)
    _remark_lengths(annotations.events, about, spans, found)
    _remark(about, spans, videos, found)
    return found


class _Lost(Exception):
    """An event of which no clip can be made."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def _resolve(events: Sequence[Event], videos: Videos, found: Found) -> dict[str, list[Clip]]:
    """The clip of each name of a video that is known, or the views of a recording; the others are counted."""
    about: dict[str, list[Clip]] = {}
    rows = Counter(event.video for event in events)
    places = {event.video: event.where for event in reversed(events)}
    kind = f"videos that are not in {videos.source}, or not clearly"
    for name, count in rows.items():
        try:
            about[name] = videos.views(name)
        except ManifestError as error:
            like = videos.like(name) if len(found.lost.get(kind, ())) < NAMED else ""
            hint = f" (there is {like!r})" if like else ""
            found.lose(kind, f"{error}{hint}: {counted(count, 'row')}, from {places[name]}")
    if shared := [name for name, clips in about.items() if len(clips) > 1]:
        found.remarks.append(
            f"recordings of several views, each of which gets the segments: {len(shared)} ({named(shared, NAMED)})"
        )
    if kind in found.lost and videos.left_out:
        found.remarks.append(f"not among the videos: {len(videos.left_out)} ({named(videos.left_out, NAMED)})")
    return about


def _measured(clips: Sequence[Clip], found: Found, progress: Progress) -> dict[Path, Span]:
    """What the files of clips hold; a clip of features only is not limited by any."""
    spans = {}
    for (path, _), span in measure_files(clips, progress).items():
        if isinstance(span, ClipError):
            found.lose("videos that cannot be read", str(span))
        elif span.end <= span.start:
            found.lose("videos that cannot be read", f"{path}: empty")
        else:
            spans[path] = span
    return spans | ({Path(): Span(0.0, inf)} if any(clip.path == Path() for clip in clips) else {})


def _frame_times(clips: Sequence[Clip], found: Found) -> dict[Path, Times]:
    """The borders of the frames of each file [F + 1], seconds; read in other processes."""
    files = list(dict.fromkeys((clip.path, clip.fps) for clip in clips if clip.path != Path()))
    shown = {}
    if nowhere := sorted({clip.id for clip in clips if clip.path == Path()}):
        found.lose("clips without a file, whose frames have no times (--fps)", named(nowhere, NAMED))
    for (path, _), times in apart(_borders, files, count=min(len(files), usable_cores())):
        if isinstance(times, Crash | ClipError):
            why = str(times) if isinstance(times, ClipError) else f"{path}: the decoder crashed"
            found.lose("videos whose frames cannot be read, by which numbers of frames are times (--fps)", why)
        else:
            shown[path] = times
    return shown


def _borders(file: tuple[Path, float | None]) -> Times | ClipError:
    try:
        with closing(open_frames(*file)) as frames:
            return np.append(frames.info.times, frames.info.end)
    except ClipError as error:
        return error


def _seconds(event: Event, shown: Times | None, offset: float) -> tuple[float, float | None]:
    """When an event starts and ends, in seconds of its file.

    Raises:
        _Lost: it ends before it starts.
    """
    start, end = event.start, event.end
    if shown is not None and event.in_frames:
        start, end = _at_frame(start, shown), None if end is None else _at_frame(end, shown)
    start, end = start + offset, None if end is None else end + offset
    if end is not None and end < start:
        raise _Lost("segments that end before they start", f"{start:g} to {end:g} s")
    return start, end


def _place(
    event: Event, start: float, end: float | None, clip: Clip, span: Span, *, around: float | None, found: Found
) -> _Placed:
    """The part of an event that is in its clip.

    Raises:
        _Lost: there is none.
    """
    if event.total is not None and event.total > span.end - span.start + LENGTH_SLACK + span.frame:
        raise _Lost(
            "events of observations that are longer than their only known file, whose times may count through others",
            f"{event.total:g} s, {clip.path.name} {span.end - span.start:g} s",
        )
    first, last = clip.start, min(span.end, inf if clip.end is None else clip.end)
    is_moment = end is None or end - start < SAME
    if start >= last or (start < first - SAME if is_moment or end is None else end <= first):
        raise _Lost(OUTSIDE, _against(start, end, clip, last))
    if is_moment or end is None:
        if around is None:
            raise _Lost("moments, of which --around SECONDS makes segments", _said(start, end))
        begin, stop = start - around, start + around
    else:
        begin, stop = start, end
        if stop > last + span.frame + SAME or begin < first - span.frame - SAME:
            found.lose(REACHING, f"{event.where}: {_against(start, end, clip, last)}")
    begin, stop = max(begin, first), min(stop, last)
    if stop <= begin:
        raise _Lost(OUTSIDE, _against(start, end, clip, last))
    return _Placed(event, clip, begin, stop)


def _against(start: float, end: float | None, clip: Clip, last: float) -> str:
    name = clip.path.name or clip.id
    return f"{_said(start, end)}, {name} has {clip.start:g} to {last:g} s"


def _at_frame(number: float, shown: Times) -> float:
    """When a frame begins; after the last one, at the mean rate."""
    most = len(shown) - 1
    if number <= most:
        return float(shown[int(number)])
    return float(shown[-1] + (number - most) * (shown[-1] - shown[0]) / max(most, 1))


def _said(start: float, end: float | None) -> str:
    return f"at {start:g} s" if end is None or end == start else f"{start:g} to {end:g} s"


def _once(placed: Sequence[_Placed], found: Found) -> list[_Placed]:
    """Each segment once."""
    kept: dict[tuple[object, ...], _Placed] = {}
    twice = []
    for one in placed:
        key = (one.clip.id, one.start, one.end, one.event.track, tuple(sorted(one.event.labels.items())))
        if kept.setdefault(key, one) is not one:
            twice.append(f"{one.event.where}, as {kept[key].event.where}")
    if twice:
        found.remarks.append(f"repeated annotations, written once: {len(twice)} ({named(twice, NAMED, between='; ')})")
    return list(kept.values())


def _overlaps(placed: Sequence[_Placed]) -> list[str]:
    """Segments of one clip and track that begin before another has ended."""
    ordered = sorted(placed, key=lambda one: (one.clip.id, one.event.track, one.start, one.end))
    latest: dict[tuple[str, str], _Placed] = {}
    found = []
    for one in ordered:
        key = (one.clip.id, one.event.track)
        before = latest.get(key)
        if before is not None and one.start < before.end - SAME:
            spans = " and ".join(f"{each.start:g} to {each.end:g} s" for each in (before, one))
            found.append(f"{before.event.where} and {one.event.where}: {spans} of {one.clip.id!r}")
        if before is None or one.end > before.end:
            latest[key] = one
    return found


def _clips(placed: Sequence[_Placed]) -> list[Clip]:
    """The clips, with ids that differ and columns that can be told apart."""
    columns = _columns({name: None for one in placed for name in one.event.labels})
    used: Counter[str] = Counter()
    clips = []
    for one in placed:
        own = f"@{_decimal(one.start)}-{_decimal(one.end)}"
        prefix = shortened(composed(one.clip.id), LONGEST_ID - len(own) - 12)
        id = prefix + own
        used[id] += 1
        if used[id] > 1:  # of the same time, so that it does not matter which one has which number
            id = f"{id}#{used[id]}"
        given = {columns[name]: tidy(text) for name, text in one.event.labels.items()}
        split = split_name(given.pop("split", "")) or one.clip.split
        video = one.clip.labels.get("video") or one.clip.path.stem or one.clip.id
        others = {name: text for name, text in one.clip.labels.items() if name not in given and name != "video"}
        labels = {**given, "video": video, **others}
        clips.append(Clip(id, one.clip.path, one.start, one.end, split, labels, one.clip.fps))
    return clips


def _columns(names: Mapping[str, None]) -> dict[str, str]:
    """The manifest's name of each label column: in lower case, and none that has another meaning.

    Raises:
        ManifestError: two would be the same.
    """
    columns: dict[str, str] = {}
    for name in names:
        plain = tidy(name).lower()
        plain = f"table {plain}" if plain in {*RESERVED, "video"} - {"split"} else plain
        if plain in columns.values():
            same = next(other for other in columns if columns[other] == plain)
            raise ManifestError(f"the label columns {same!r} and {name!r} differ in case or spaces only; rename one")
        columns[name] = plain
    return columns


def _decimal(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _remark_lengths(
    events: Sequence[Event], about: Mapping[str, Sequence[Clip]], spans: Mapping[Path, Span], found: Found
) -> None:
    """A remark on videos that last longer or shorter than annotations say: their times may be of another copy."""
    stated = {event.video: event.length for event in events if event.length is not None and event.video in about}
    differ = []
    for clip, length in [(clip, length) for name, length in stated.items() for clip in about[name]]:
        span = spans.get(clip.path)
        if span is not None and abs(span.end - span.start - length) > LENGTH_SLACK + 0.01 * length:
            differ.append(f"{clip.path.name} {span.end - span.start:g} s, not {length:g} s")
    if differ:
        found.remarks.append(
            f"videos that last longer or shorter than the annotations say: {len(differ)} ({named(differ, NAMED)});"
            " their times may be those of another copy"
        )


def _remark(about: Mapping[str, Sequence[Clip]], spans: Mapping[Path, Span], videos: Videos, found: Found) -> None:
    """Remarks on videos without annotations or whose clock does not begin at 0, on times, on columns."""
    if len(found.lost.get(OUTSIDE, ())) > len(found.clips):
        found.remarks.append("most rows are outside: are times in another unit (--unit), or from elsewhere (--offset)?")
    ids = {clip.id for clips in about.values() for clip in clips}
    if without := [clip.id for clip in videos.clips if clip.id not in ids]:
        found.remarks.append(f"videos without annotations: {len(without)} ({named(without, NAMED)})")
    late = [f"{path.name}: {span.start:g} s" for path, span in spans.items() if span.start > max(span.frame, 0.05)]
    if late:
        found.remarks.append(
            f"videos whose first frame is not at 0 s: {len(late)} ({named(late, NAMED)}); annotations are taken as"
            " seconds of the file; if theirs count from the first frame, add --offset"
        )
    if found.clips:
        names = ", ".join(map(repr, dict.fromkeys(name for clip in found.clips for name in clip.labels)))
        found.remarks.append(f"columns of labels: {names}")
