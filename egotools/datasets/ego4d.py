"""Ego4D, hands and objects: clips with or without a change of state, and actions in their order.

Classes are counted by whoever learns them: the first release has 115 verbs and 478 nouns, the second 117 and 521.

Source:
    Grauman et al., "Ego4D: Around the World in 3,000 Hours of Egocentric Video", CVPR 2022; `fho_oscc-pnr_*.json` and
    `fho_lta_*.json` of its annotations.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from egotools.config import option
from egotools.datasets.clips import DatasetClips
from egotools.datasets.ego4d_files import (
    Action,
    Change,
    Counts,
    check_labels,
    files_below,
    read_actions,
    read_changes,
    read_counts,
)
from egotools.errors import ManifestError
from egotools.texts import SPLITS, counted, named, split_name
from egotools.types import Clip

TAXONOMY = "fho_lta_taxonomy.json"
TEST = "test"  # the split whose labels are kept back
Task = Literal["state-change", "anticipation", "action"]


class _Stretch(NamedTuple):
    """A stretch of a file: by its name without suffix, seconds."""

    stem: str
    start: float
    end: float


@dataclass(frozen=True, eq=False)
class _Listing:
    """What the rows of annotations become."""

    videos: Path
    there: Mapping[str, Path]  # files by their names without suffix
    clips: list[Clip] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # names of files, once for each row that needs it
    refused: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)  # ids of rows that are there again, the same
    known: dict[str, tuple[str, object]] = field(default_factory=dict)  # by id, where its first row is, and the row

    def is_new(self, where: str, id: str, row: object) -> bool:
        """Whether a row is the first with its id; of later ones, those that differ are refused."""
        place, first = self.known.setdefault(id, (where, row))
        if place == where:
            return True
        if first == row:
            self.repeated.append(id)
        else:
            self.refused.append(f"{where}: the id {id!r} is also that of {place.rpartition(' ')[2]}, which differs")
        return False

    def first(self, stretches: Sequence[_Stretch]) -> _Stretch | None:
        """The first that has a file."""
        return next((each for each in stretches if each.stem in self.there), None)

    def add(self, where: str, id: str, stretches: Sequence[_Stretch], split: str, labels: Mapping[str, str]) -> None:
        """One more clip, or why there is none."""
        stretch = self.first(stretches)
        if stretch is None:
            self.missing.append(str(self.videos / f"{stretches[0].stem}.mp4"))
            return
        try:
            clip = Clip(id, self.there[stretch.stem], stretch.start, stretch.end, split=split, labels=labels)
        except ManifestError as error:  # times out of order
            self.refused.append(f"{where}: {error}")
            return
        self.clips.append(clip)


@dataclass(frozen=True)
class Ego4D:
    """Which task of Ego4D's hands and objects the rows are for, and where the videos lie."""

    task: Task | None = option(  # noqa: RUF009 - frozen
        None, "state-change: fho_oscc-pnr_*.json; anticipation and action: fho_lta_*.json."
    )
    videos: Path | None = option(  # noqa: RUF009 - frozen
        None, "Folder with <video_uid>.mp4, <clip_uid>.mp4 or <unique_id>.mp4, also in full_scale/ and clips/."
    )
    split: str | None = option(None, "Split of all rows; by default the one that the name of each file says.")
    taxonomy: Path | None = option(  # noqa: RUF009 - frozen
        None, f"Names of the classes, which labels are checked against; by default {TAXONOMY} beside the first FILE."
    )

    def __post_init__(self) -> None:
        if self.task is None:
            raise ValueError("--task is needed: state-change, anticipation or action")
        if self.videos is None:
            raise ValueError("--videos is needed, the folder of the videos")
        if self.taxonomy is not None and self.task == "state-change":
            raise ValueError("--taxonomy is for --task anticipation and action: state changes have no classes")

    def clips(self, files: Sequence[Path]) -> DatasetClips:
        """A clip for each row of the files whose video exists.

        state-change: id `unique_id`; labels `state_change` (1 or 0) and, of clips with a change, `pnr` (seconds of the
        file), both empty in test; `start_frame`, `end_frame` and `pnr_frame` count in the whole video; `video`.
        anticipation, action: id `<clip_uid>_<action_idx>`; labels `clip_uid`, `action_idx`, and `verb_label`,
        `noun_label` (numbers), `verb`, `noun` (names), empty in test; `video`.

        Raises:
            ManifestError: a file that cannot be used; file and entry are named. Or not a single video.
        """
        assert self.videos is not None
        found, remarks = _Listing(self.videos, files_below(self.videos)), []
        counts = None if self.task == "state-change" else self._counts(files)
        if counts is not None:
            remarks.append(f"{counts.path}: {counts.verbs} verbs, {counts.nouns} nouns")
        for path in files:
            if not path.exists():
                raise ManifestError(f"{path}: no such file")
            split = split_name(self.split) if self.split else split_of(path)
            if self.task == "state-change":
                _add_changes(found, read_changes(path, is_labeled=split != TEST), split)
            else:
                actions = read_actions(path, is_labeled=split != TEST)
                check_labels(actions, counts)
                _add_actions(found, actions, split)
        names = [*dict.fromkeys(found.missing)]
        if not found.clips:
            example = f"; {found.refused[0]}" if found.refused else f", such as {names[0]}"
            raise ManifestError(f"{self.videos}: no video of the rows of {named([*map(str, files)], 3)}{example}")
        outside = [clip.id for clip in found.clips if _has_pnr_outside(clip)]
        if outside:
            told = f"{counted(len(outside), 'clip')} whose change lies outside of them, which are kept"
            remarks.append(f"{told}: {named(outside, 3)}")
        if names:
            remarks.append(f"{counted(len(found.missing), 'row')} left out: of files that do not exist")
        if found.repeated:
            again = named([*dict.fromkeys(found.repeated)], 3)
            remarks.append(f"{counted(len(found.repeated), 'row')} left out: there before, the same: {again}")
        return DatasetClips(found.clips, names, remarks, refused=found.refused)

    def _counts(self, files: Sequence[Path]) -> Counts | None:
        if self.taxonomy is not None:
            return read_counts(self.taxonomy)
        beside = files[0].parent / TAXONOMY
        return read_counts(beside) if beside.is_file() else None


def split_of(path: Path) -> str:
    """The split that the name of a file says: `fho_lta_test_unannotated.json` is of `test`.

    Raises:
        ManifestError: it says none, or several.
    """
    words = [word for word in re.split(r"[^a-z]+", path.stem.lower()) if word in SPLITS]
    if len({*words}) != 1:
        raise ManifestError(f"{path}: the name does not say which of train, val and test it is; give --split")
    return words[0]


def _add_changes(found: _Listing, changes: Sequence[tuple[str, Change]], split: str) -> None:
    for where, change in changes:
        if not found.is_new(where, change["unique_id"], (split, change)):
            continue
        if (why := _wrong(change)) is not None:
            found.refused.append(f"{where}: {why}")
            continue
        start, end, state = change["parent_start_frame"], change["parent_end_frame"], change.get("state_change")
        pnr, stretches = _pnr_frame(change) if state else None, _stretches(change)
        at, seconds = found.first(stretches), ""
        if at is not None and pnr is not None:
            seconds = repr(at.start + (pnr - start) * (at.end - at.start) / (end - start))
        labels = {
            "state_change": "" if state is None else str(int(state)),
            "pnr": seconds,
            "start_frame": str(start),
            "end_frame": str(end),
            "pnr_frame": "" if pnr is None else str(pnr),
            "video": change["video_uid"],
        }
        found.add(where, change["unique_id"], stretches, split, labels)


def _wrong(change: Change) -> str | None:
    """Why the frames of a row cannot be used."""
    if change["parent_end_frame"] <= change["parent_start_frame"]:
        return f"'parent_end_frame' {change['parent_end_frame']} is not after {change['parent_start_frame']}"
    if change.get("state_change") and _pnr_frame(change) is None:
        return "'state_change' is true, but there is no 'parent_pnr_frame'"
    return None


def _has_pnr_outside(clip: Clip) -> bool:
    assert clip.end is not None  # rows have one
    pnr = clip.labels.get("pnr", "")
    return pnr != "" and not clip.start <= float(pnr) <= clip.end


def _pnr_frame(change: Change) -> int | None:
    """The frame of no return, counted in the whole video; older files have another name for it."""
    found = change.get("parent_pnr_frame")
    return change.get("pnr_frame") if found is None else found


def _stretches(change: Change) -> list[_Stretch]:
    """The files that may hold a row, the first preferred: the whole video, the clip of some minutes, the row alone."""
    start, end = change["parent_start_sec"], change["parent_end_sec"]
    found = [_Stretch(change["video_uid"], start, end), _Stretch(change["unique_id"], 0.0, end - start)]
    clip, clip_start, clip_end = (change.get(name) for name in ("clip_uid", "clip_start_sec", "clip_end_sec"))
    if clip and clip_start is not None and clip_end is not None:
        found.insert(1, _Stretch(str(clip), clip_start, clip_end))  # type: ignore[arg-type]
    return found


def _add_actions(found: _Listing, actions: Sequence[tuple[str, Action]], split: str) -> None:
    for where, action in actions:
        clip, video, offset = action["clip_uid"], action.get("video_uid", ""), action.get("clip_parent_start_sec")
        if not clip:
            found.refused.append(f"{where}: 'clip_uid' is {'null' if clip is None else 'empty'}")
            continue
        if action["action_idx"] < 0:
            found.refused.append(f"{where}: 'action_idx' is {action['action_idx']}")
            continue
        id = f"{clip}_{action['action_idx']}"
        if not found.is_new(where, id, (split, action)):
            continue
        # Of an action in the first seconds the window around it may begin before its file does.
        start, end = max(action["action_clip_start_sec"], 0.0), action["action_clip_end_sec"]
        stretches = [_Stretch(clip, start, end)]
        stretches += [] if offset is None else [_Stretch(video, offset + start, offset + end)]
        labels = {"clip_uid": clip, "action_idx": str(action["action_idx"])}
        labels |= {name: str(action.get(name, "")) for name in ("verb_label", "noun_label", "verb", "noun")}
        found.add(where, id, stretches, split, {**labels, "video": video})
