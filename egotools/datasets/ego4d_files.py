"""The annotation files of Ego4D's hands and objects, read and checked, and the videos that lie in a folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any, TypedDict

from egotools.errors import ManifestError
from egotools.files.json_files import check_shape, read_json

FOLDERS = ("", "full_scale", "clips")  # of Ego4D's downloads
FEATURES = (".pt", ".npy")  # of files of features
NAMES = ("video_uid", "clip_uid", "unique_id")  # entries that name files
Located = list[tuple[str, Any]]  # entries, each with words for where it is


class _Parent(TypedDict):
    unique_id: str
    video_uid: str
    parent_start_sec: float
    parent_end_sec: float
    parent_start_frame: int
    parent_end_frame: int


class Change(_Parent, total=False):
    """An entry of `fho_oscc-pnr_*.json`; frames count in the whole video, `clip_*` seconds in `<clip_uid>`."""

    clip_uid: str | None
    clip_start_sec: float | None
    clip_end_sec: float | None
    state_change: bool
    parent_pnr_frame: int | None
    pnr_frame: int | None


class _Timed(TypedDict):
    clip_uid: str | None
    action_idx: int
    action_clip_start_sec: float
    action_clip_end_sec: float


class Action(_Timed, total=False):
    """An entry of `fho_lta_*.json`; seconds count in `<clip_uid>`."""

    video_uid: str
    clip_parent_start_sec: float
    verb: str
    noun: str
    verb_label: int
    noun_label: int


class Taxonomy(TypedDict):
    """`fho_lta_taxonomy.json`."""

    verbs: list[str]
    nouns: list[str]


@dataclass(frozen=True)
class Counts:
    """How many classes a taxonomy has."""

    path: Path
    verbs: int
    nouns: int


def read_changes(path: Path, *, is_labeled: bool) -> list[tuple[str, Change]]:
    """The entries of a file of state changes, each with words for where it is.

    Raises:
        ManifestError: it cannot be read, or an entry is missing or of another type; it is named.
    """
    return _entries(path, Change, ("state_change",) if is_labeled else ())


def read_actions(path: Path, *, is_labeled: bool) -> list[tuple[str, Action]]:
    """The entries of a file of actions, each with words for where it is.

    Raises:
        ManifestError: it cannot be read, or an entry is missing or of another type; it is named.
    """
    return _entries(path, Action, ("verb_label", "noun_label") if is_labeled else ())


def read_counts(path: Path) -> Counts:
    """How many verbs and nouns a taxonomy has.

    Raises:
        ManifestError: it cannot be read, or is another file.
    """
    found: Taxonomy = read_file(path, Taxonomy)
    return Counts(path, len(found["verbs"]), len(found["nouns"]))


def check_labels(actions: Sequence[tuple[str, Action]], counts: Counts | None) -> None:
    """Refuses numbers of classes that there cannot be.

    Raises:
        ManifestError: names the first.
    """
    for where, action in actions:
        for name in ("verb", "noun"):
            label = action.get(f"{name}_label", 0)
            most = None if counts is None else getattr(counts, f"{name}s")
            if label < 0 or (most is not None and label >= most):  # type: ignore[operator]
                why = f"{counts.path} has {most} {name}s" if counts is not None else "classes count from 0"
                raise ManifestError(f"{where}.{name}_label is {label}, but {why}")


def files_below(videos: Path, suffixes: Sequence[str] = (".mp4",), *, flag: str = "--videos") -> dict[str, Path]:
    """The files of a folder by their names without suffix, and those of its folders `full_scale` and `clips`.

    Args:
        videos: the folder.
        suffixes: which files count; of two that differ in nothing else the first.
        flag: the option that names the folder, for messages.

    Raises:
        ManifestError: it is no folder, or cannot be read.
    """
    if not videos.is_dir():
        raise ManifestError(f"{videos}: {flag} is not a folder")
    found: dict[str, Path] = {}
    for name in FOLDERS:
        folder = videos / name
        if not folder.is_dir():
            continue
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise ManifestError(f"{folder}: cannot be read: {error.strerror}") from error
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            if suffix.lower() in suffixes and entry.is_file():
                found.setdefault(stem, Path(entry.path))
    return found


def _entries(path: Path, shape: Any, needed: Sequence[str]) -> Located:  # Any: a type as a value
    """The entries of a list, or of the list `clips` of an object."""
    content = read_file(path)
    listed = content.get("clips") if isinstance(content, dict) else content
    if not isinstance(listed, list):
        raise ManifestError(f"{path}: holds no list 'clips', and is no list itself; is it one of Ego4D's annotations?")
    if not listed:
        raise ManifestError(f"{path}: it lists no clips")
    try:
        check_shape(listed, list[shape], "clips")
    except ValueError as error:
        raise ManifestError(f"{path}: {error}; is it the file of this --task?") from error
    for number, entry in enumerate(listed):
        for name in needed:
            if name not in entry:
                raise ManifestError(
                    f"{path}: the entry 'clips.{number}.{name}' is missing; files without labels are of --split test"
                )
        if bad := [name for name in NAMES if not _is_name(entry.get(name) or "")]:
            raise ManifestError(f"{path}: 'clips.{number}.{bad[0]}' is {entry[bad[0]]!r}, which names no file")
    return [(f"{path}: clips.{number}", entry) for number, entry in enumerate(listed)]


def _is_name(text: str) -> bool:
    """Whether a text stays in the folder of the videos, and can be written into a manifest."""
    return "/" not in text and not text.startswith(".") and text.isprintable()


def read_file(path: Path, shape: Any = Any, *, hint: str = "") -> Any:  # Any: JSON values, and a type as a value
    """The content of an annotation file.

    Args:
        path: the file.
        shape: what it must be, as for `check_shape`.
        hint: ends the message if it is not.

    Raises:
        ManifestError: it cannot be read, or has another shape.
    """
    try:
        return read_json(path, shape)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not JSON, or cut off: {error}") from error
    except ValueError as error:
        raise ManifestError(f"{path}: {error}{hint}") from error
