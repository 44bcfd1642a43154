"""Ego4D's natural-language queries, moments, and Goal-Step: stretches of videos with a text or a label.

Seconds count in the whole video (`video_*`) or in the clip of some minutes (`clip_*`, `start_time`); Goal-Step's in
the whole video only.

Source:
    Grauman et al., CVPR 2022, `nlq_*.json` and `moments_*.json`; Song et al., "Ego4D Goal-Step", NeurIPS 2023.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from egotools.datasets.ego4d_files import read_file
from egotools.datasets.ego4d_listing import Listing, Of, Stretch
from egotools.errors import ManifestError
from egotools.files.json_files import check_shape

Level = Literal["goal", "step", "substep"]
TIMES = ("video_start_sec", "video_end_sec", "clip_start_sec", "clip_end_sec")
TEXTS = ("query", "template", "slot_x", "verb_x", "slot_y", "verb_y")  # of a query


class _Query(TypedDict, total=False):
    """A query; those of test have no times."""

    query: str | None
    video_start_sec: float | None
    video_end_sec: float | None
    clip_start_sec: float | None
    clip_end_sec: float | None


class _Asked(TypedDict):
    annotation_uid: str
    language_queries: list[_Query]


class _Span(TypedDict):
    clip_uid: str
    video_start_sec: float
    video_end_sec: float
    clip_start_sec: float
    clip_end_sec: float


class _AskedClip(_Span):
    annotations: list[_Asked]


class _AskedVideo(TypedDict):
    video_uid: str
    clips: list[_AskedClip]


class _ClipQueries(TypedDict):
    """The queries of a clip, as EgoVLPv2's code has them: its `exact_times` are seconds of the clip."""

    exact_times: list[list[float]]
    sentences: list[str]
    annotation_uids: list[str]
    query_idx: list[int]


class _Label(TypedDict):
    label: str
    primary: bool
    start_time: float
    end_time: float
    video_start_time: float
    video_end_time: float


class _Labeled(TypedDict):
    annotator_uid: str
    labels: list[_Label]


class _LabeledClip(TypedDict):
    clip_uid: str
    annotations: list[_Labeled]


class _LabeledVideo(TypedDict):
    video_uid: str
    clips: list[_LabeledClip]


class _Substep(TypedDict, total=False):
    """A step or substep; all but the times and texts may be null."""

    is_relevant: str | None
    is_procedural: bool | None
    is_continued: bool | None


class _Part(_Substep):
    start_time: float
    end_time: float
    step_category: str
    step_description: str


class _Step(_Part):
    segments: list[_Part]


class _Goal(TypedDict):
    video_uid: str
    start_time: float
    end_time: float
    goal_category: str
    goal_description: str
    segments: list[_Step]


class _Goals(TypedDict):
    videos: list[_Goal]


def add_queries(found: Listing, path: Path, split: str, *, around: float, is_labeled: bool) -> list[str]:
    """Adds a row a query: id `<annotation_uid>_<number of the query>`; of files without times the clip asked about.

    Args:
        found: gets the rows.
        path: `nlq_*.json`, or EgoVLPv2's form of it, by clip.
        split: of the rows.
        around: seconds before and after a query of no length.
        is_labeled: whether queries must have times.

    Returns:
        Remarks.

    Raises:
        ManifestError: it cannot be read, or an entry is missing or of another type; it is named.
    """
    content = read_file(path)
    if isinstance(content, dict) and "videos" not in content:
        _add_clip_queries(found, path, content, split, around)
        return []
    silent = 0
    for where, video, clip, id, query in _queries(path, content):
        if not query.get("query"):
            silent += 1
            continue
        has_times = query.get("video_start_sec") is not None
        times: Mapping[str, Any] = query if has_times or is_labeled else clip
        if missing := [name for name in TIMES if times.get(name) is None]:
            found.refused.append(f"{where}: there is no {missing[0]!r}; queries without times are of --split test")
        elif found.is_new(where, id, (split, clip["clip_uid"], query)):
            stretches = _both(video, clip["clip_uid"], times, ("video_start_sec", "clip_start_sec"), around)
            labels = {name: str(query.get(name) or "") for name in TEXTS}
            found.add(where, id, stretches, split, {**labels, "clip": clip["clip_uid"], "video": video})
    return [f"{path}: {silent} queries without text left out"] if silent else []


def _queries(path: Path, content: Any) -> Iterator[tuple[str, str, _AskedClip, str, _Query]]:  # Any: a JSON value
    """Each query: where it is, its video, its clip, its id, and its entry."""
    for where, video, clip in _clips(path, content, _AskedVideo):
        for asked in clip["annotations"]:
            uid = asked["annotation_uid"]
            for number, query in enumerate(asked["language_queries"]):
                yield f"{where}.{uid}.{number}", video, clip, f"{uid}_{number}", query


def _add_clip_queries(found: Listing, path: Path, content: Any, split: str, around: float) -> None:
    _check(path, content, dict[str, _ClipQueries])
    for clip, asked in content.items():
        columns = asked["annotation_uids"], asked["query_idx"], asked["exact_times"], asked["sentences"]
        if len({*map(len, columns)}) != 1 or any(len(times) != 2 for times in asked["exact_times"]):
            raise ManifestError(f"{path}: {clip}: its lists differ in length, or times are not pairs")
        for uid, number, (start, end), query in zip(*columns, strict=True):
            where, id = f"{path}: {clip}.{uid}.{number}", f"{uid}_{number}"
            if found.is_new(where, id, (split, clip, start, end, query)):
                stretch = _stretch("clip", clip, start, end, around)
                found.add(where, id, [stretch], split, {"query": query, "clip": clip})


def add_moments(found: Listing, path: Path, split: str, *, around: float, is_primary: bool) -> list[str]:
    """Adds a row a label: id `<clip_uid>_<number of the annotator>_<number of the label>`.

    Args:
        found: gets the rows.
        path: `moments_*.json`.
        split: of the rows.
        around: seconds before and after a moment of no length.
        is_primary: whether only primary labels, which the benchmark is about, become rows.

    Returns:
        Remarks.

    Raises:
        ManifestError: as `add_queries`.
    """
    others = 0
    for where, video, clip, id, annotator, label in _labels(path):
        if is_primary and not label["primary"]:
            others += 1
        elif found.is_new(where, id, (split, label)):
            stretches = _both(video, clip, label, ("video_start_time", "start_time"), around)
            labels = {"label": label["label"], "primary": str(int(label["primary"])), "annotator": annotator}
            found.add(where, id, stretches, split, {**labels, "clip": clip, "video": video})
    return [f"{path}: {others} labels are not primary and are left out"] if others else []


def _labels(path: Path) -> Iterator[tuple[str, str, str, str, str, _Label]]:
    """Each moment: where it is, its video, its clip, its id, its annotator, and its entry."""
    for where, video, clip in _clips(path, read_file(path), _LabeledVideo):
        uid = clip["clip_uid"]
        for one, annotation in enumerate(clip["annotations"]):
            for number, label in enumerate(annotation["labels"]):
                yield f"{where}.{one}.{number}", video, uid, f"{uid}_{one}_{number}", annotation["annotator_uid"], label


def add_steps(found: Listing, path: Path, split: str, *, level: Level) -> None:
    """Adds a row a goal, step or substep of Goal-Step: ids `<video_uid>`, `<video_uid>_3`, `<video_uid>_3_1`.

    Args:
        found: gets the rows.
        path: `goalstep_*.json`.
        split: of the rows.
        level: which of them become rows.

    Raises:
        ManifestError: as `add_queries`.
    """
    content = read_file(path)
    _check(path, content, _Goals)
    for at, goal in enumerate(content["videos"]):
        video = goal["video_uid"]
        for id, entry, labels in _parts(goal, level):
            where = f"{path}: videos.{at}{id.removeprefix(video).replace('_', '.segments.')}"
            stretch = Stretch("video", video, entry["start_time"], entry["end_time"])
            if found.is_new(where, id, (split, entry)):
                found.add(where, id, [stretch], split, {**labels, "video": video})


def _parts(goal: _Goal, level: Level) -> Iterator[tuple[str, _Goal | _Part, dict[str, str]]]:
    """The goal, its steps or their substeps: ids, entries, and labels."""
    goal_labels = {"goal_category": goal["goal_category"], "goal_description": goal["goal_description"]}
    if level == "goal":
        yield goal["video_uid"], goal, goal_labels
        return
    for number, step in enumerate(goal["segments"]):
        id = f"{goal['video_uid']}_{number}"
        if level == "step":
            yield id, step, {**_step_labels(step), **goal_labels}
            continue
        for nested, substep in enumerate(step["segments"]):
            parent = {"parent_step_category": step["step_category"]}
            yield f"{id}_{nested}", substep, {**_step_labels(substep), **parent, **goal_labels}


def _step_labels(part: _Part) -> dict[str, str]:
    flags = {name: part.get(name) for name in ("is_procedural", "is_continued")}
    return {
        "step_category": part["step_category"],
        "step_description": part["step_description"],
        "is_relevant": part.get("is_relevant") or "",
        **{name: "" if flag is None else str(int(bool(flag))) for name, flag in flags.items()},
    }


def _both(video: str, clip: str, times: Mapping[str, Any], starts: tuple[str, str], around: float) -> list[Stretch]:
    """The stretch of the whole video, and that of the clip; `starts` names their entries."""
    ofs: tuple[tuple[Of, str], ...] = ("video", video), ("clip", clip)
    names = [(start, start.replace("start", "end")) for start in starts]
    return [
        _stretch(of, stem, times[start], times[end], around)
        for (of, stem), (start, end) in zip(ofs, names, strict=True)
    ]


def _stretch(of: Of, stem: str, start: float, end: float, around: float) -> Stretch:
    """A stretch; one of no length becomes `around` seconds longer on both sides."""
    if start == end:
        return Stretch(of, stem, max(start - around, 0.0), end + around)
    return Stretch(of, stem, start, end)


def _clips(path: Path, content: Any, shape: Any) -> Iterator[tuple[str, str, Any]]:  # Any: JSON values, and a type
    """The clips of an annotation file: where each is, its video, and its entry."""
    listed = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ManifestError(f"{path}: holds no list 'videos'; is it the file of this --task?")
    _check(path, listed, list[shape], "videos")
    for at, video in enumerate(listed):
        for number, clip in enumerate(video["clips"]):
            yield f"{path}: videos.{at}.clips.{number}", video["video_uid"], clip


def _check(path: Path, content: Any, shape: Any, entry: str = "") -> None:  # Any: JSON values, and a type
    try:
        check_shape(content, shape, entry)
    except ValueError as error:
        raise ManifestError(f"{path}: {error}; is it the file of this --task?") from error
