"""Project files of BORIS: JSON with observations, their events and media, and the behaviors' types.

Source:
    The format as BORIS 4 to 9 writes it; an event's time is the time in the media, one after another, plus the
    observation's "time offset".
"""

from pathlib import Path
from typing import Any, TypedDict

from egotools.annotations.events import Annotations
from egotools.annotations.media import Mark, Media, Status, add_paired, other_players, track_of, variable_name
from egotools.errors import ManifestError
from egotools.files.json_files import check_shape, parse_json
from egotools.texts import counted

LARGEST_TIME = 1e9  # seconds
EVENT = ("behavior", "subject", "behavioral category", "modifiers", "comment")


class Behavior(TypedDict):
    """A behavior of the ethogram."""

    code: str
    type: str


def read_project(path: Path, text: str, where: str) -> Annotations:
    """The events of all observations of media files.

    Raises:
        ManifestError: it is not a project of BORIS.
    """
    try:
        project = parse_json(text)
        check_shape(project, dict[str, Any])
        check_shape(project.get("observations"), dict[str, dict[str, Any]], "observations")
        check_shape(project.get("behaviors_conf"), dict[str, Behavior], "behaviors_conf")
    except ValueError as error:
        raise ManifestError(f"{path}: not a project of BORIS: {error}") from error
    ethogram = {each["code"]: each for each in project["behaviors_conf"].values()}
    count = counted(len(project["observations"]), "observation")
    found = Annotations(remarks=[f"{path}: a project of BORIS, {count}"])
    for name, observation in project["observations"].items():
        try:
            _read_observation(name, observation, ethogram, f"{where}observation {name!r}", found)
        except ValueError as error:
            raise ManifestError(f"{path}: observation {name!r}: {error}") from error
    return found


def _read_observation(
    name: str, observation: dict[str, Any], ethogram: dict[str, Any], where: str, found: Annotations
) -> None:
    events = observation.get("events", [])
    check_shape(events, list[list[Any]], "events")
    if observation.get("media_creation_date_as_offset") and events:
        found.lose("observations whose times are dates, not times of their media", where)
        return
    media = _media(observation, where, found)
    if media is None:
        if events:
            kind = observation.get("type", "no type")
            found.lose("observations without a video", f"{where}: {kind}, {len(events)} events")
        return
    variables = observation.get("independent_variables") or {}
    check_shape(variables, dict[str, Any], "independent_variables")
    own = {"observation id": name}
    common = own | {variable_name(key, {*EVENT, *own}): str(value) for key, value in variables.items()}
    marks = []
    for number, event in enumerate(events, 1):
        place = f"{where}, event {number}"
        mark, problem = _mark(event, ethogram, common, place)
        if mark is None:
            found.lose("events that cannot be used", f"{place}: {problem}")
        else:
            marks.append(mark)
    add_paired(marks, media, found)


def _mark(event: list[Any], ethogram: dict[str, Any], common: dict[str, str], place: str) -> tuple[Mark | None, str]:
    """An event as a mark, or what is wrong with it."""
    if len(event) < 3:
        return None, "it has fewer than three entries"
    time, subject, code, modifiers, comment = [*event[:5], "", ""][:5]
    if type(time) not in (int, float) or not abs(time) < LARGEST_TIME:
        return None, f"{time!r} is not a time"
    texts = [str(each or "") for each in (subject, code, modifiers, comment)]
    subject, code, modifiers, comment = texts
    if code not in ethogram:
        return None, f"{code!r} is not in the ethogram"
    status: Status = "POINT" if ethogram[code]["type"].lower().startswith("point") else "TOGGLE"
    category = str(ethogram[code].get("category") or "")
    labels = dict(zip(EVENT, (code, subject, category, modifiers, comment), strict=True))
    track = track_of(subject, category)
    return Mark(float(time), (subject, code, modifiers), status, labels | common, place, track), ""


def _media(observation: dict[str, Any], where: str, found: Annotations) -> Media | None:
    players = observation.get("file")
    if not isinstance(players, dict) or observation.get("type", "MEDIA") != "MEDIA":
        return None
    check_shape(players, dict[str, list[str]], "file")
    info = observation.get("media_info") or {}
    check_shape(info, dict[str, Any], "media_info")
    lengths = info.get("length") or {}
    check_shape(lengths, dict[str, float], "media_info.length")
    offset = observation.get("time offset") or 0.0
    check_shape(offset, float, "time offset")
    files = players.get("1", [])
    others = [player for player, each in players.items() if each and player != "1"]
    if others and files:
        found.remarks.append(f"{where}: {other_players(others)}")
    return Media(files, [lengths.get(file) or None for file in files], float(offset)) if files else None
