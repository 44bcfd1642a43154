"""Ego4D: changes of state and actions of hands and objects, natural-language queries, moments, steps of goals.

Classes of actions are counted by whoever learns them: the first release has 115 verbs and 478 nouns, the second 117
and 521.

Source:
    Grauman et al., "Ego4D: Around the World in 3,000 Hours of Egocentric Video", CVPR 2022; `fho_oscc-pnr_*.json`,
    `fho_lta_*.json`, `nlq_*.json` and `moments_*.json` of its annotations; `goalstep_*.json` of Goal-Step.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from egotools.config import option
from egotools.datasets.clips import DatasetClips
from egotools.datasets.ego4d_files import (
    FEATURES,
    Action,
    Change,
    Counts,
    check_labels,
    files_below,
    read_actions,
    read_changes,
    read_counts,
)
from egotools.datasets.ego4d_listing import Listing, Stretch
from egotools.datasets.ego4d_queries import add_moments, add_queries, add_steps
from egotools.errors import ManifestError
from egotools.texts import SPLITS, counted, named, split_name
from egotools.types import Clip

TAXONOMY = "fho_lta_taxonomy.json"
TEST = "test"  # the split whose labels are kept back
Task = Literal["state-change", "anticipation", "action", "nlq", "moments", "goalstep"]
ACTIONS = ("anticipation", "action")
TIMED = ("nlq", "moments")  # tasks whose rows may have no length
SAME = {"valid": "val", "validation": "val"}  # other words for splits in names of files


@dataclass(frozen=True)
class Ego4D:
    """Which of Ego4D's tasks the rows are for, and where the videos lie."""

    task: Task | None = option(  # noqa: RUF009 - frozen
        None,
        "state-change: fho_oscc-pnr_*.json; anticipation and action: fho_lta_*.json; nlq: nlq_*.json; moments:"
        " moments_*.json; goalstep: goalstep_*.json.",
    )
    videos: Path | None = option(  # noqa: RUF009 - frozen
        None, "Folder with <video_uid>.mp4, <clip_uid>.mp4 or <unique_id>.mp4, also in full_scale/ and clips/."
    )
    features: Path | None = option(  # noqa: RUF009 - frozen
        None, "Instead of --videos: folder with <video_uid>.pt (or .npy), the released features, as rows' files."
    )
    of: Literal["video", "clip"] | None = option(
        None, "Whose files and times: the whole video, or the clip of some minutes.  [default: whichever file there is]"
    )
    split: str | None = option(None, "Split of all rows; by default the one that the name of each file says.")
    taxonomy: Path | None = option(  # noqa: RUF009 - frozen
        None, f"Names of the classes, which labels are checked against; by default {TAXONOMY} beside the first FILE."
    )
    around: float = option(0.0, "nlq, moments: seconds before and after one of no length; 0: it is left out, named.")
    primary: bool = option(False, "moments: only the primary labels, those of the benchmark.")
    level: Literal["goal", "step", "substep"] = option("step", "goalstep: what becomes a row.")

    def __post_init__(self) -> None:
        if self.task is None:
            *others, last = get_args(Task)
            raise ValueError(f"--task is needed: {', '.join(others)} or {last}")
        if (self.videos is None) == (self.features is None):
            raise ValueError("--videos is needed, the folder of the videos, or else --features, that of their features")
        if self.taxonomy is not None and self.task not in ACTIONS:
            raise ValueError(f"--taxonomy is for --task anticipation and action, not {self.task}")
        if not 0 <= self.around < float("inf"):
            raise ValueError(f"--around is seconds, 0 or more, not {self.around}")
        for flag, is_given, tasks in (
            ("around", self.around > 0, TIMED),
            ("primary", self.primary, ("moments",)),
            ("level", self.level != "step", ("goalstep",)),
        ):
            if is_given and self.task not in tasks:
                raise ValueError(f"--{flag} is for --task {' and '.join(tasks)}, not {self.task}")

    def clips(self, files: Sequence[Path]) -> DatasetClips:
        """A clip for each row of the files whose video (or file of features) exists.

        state-change: id `unique_id`; labels `state_change` (1 or 0) and, of clips with a change, `pnr` (seconds of the
        file), both empty in test; `start_frame`, `end_frame` and `pnr_frame` count in the whole video; `video`.
        anticipation, action: id `<clip_uid>_<action_idx>`; labels `clip_uid`, `action_idx`, and `verb_label`,
        `noun_label` (numbers), `verb`, `noun` (names), empty in test; `video`.
        nlq, moments, goalstep: see `ego4d_queries.py`.

        Raises:
            ManifestError: a file that cannot be used; file and entry are named. Or not a single video.
        """
        found, remarks = self._listing(), []
        counts = self._counts(files) if self.task in ACTIONS else None
        if counts is not None:
            remarks.append(f"{counts.path}: {counts.verbs} verbs, {counts.nouns} nouns")
        for path in files:
            if not path.exists():
                raise ManifestError(f"{path}: no such file")
            remarks += self._add(found, path, split_name(self.split) if self.split else split_of(path), counts)
        names = [*dict.fromkeys(found.missing)]
        if not found.clips:
            example = f"; {found.refused[0]}" if found.refused else f", such as {names[0]}" if names else ""
            raise ManifestError(f"{found.folder}: no video of the rows of {named([*map(str, files)], 3)}{example}")
        outside = [clip.id for clip in found.clips if _has_pnr_outside(clip)]
        if outside:
            told = f"{counted(len(outside), 'clip')} whose change lies outside of them, which are kept"
            remarks.append(f"{told}: {named(outside, 3)}")
        if names:
            remarks.append(f"{counted(len(found.missing), 'row')} left out: of files that do not exist")
        if found.points and self.task in TIMED:
            remarks.append(f"{counted(len(found.points), 'row')} of no length: --around SECONDS gives them one")
        if found.repeated:
            again = named([*dict.fromkeys(found.repeated)], 3)
            remarks.append(f"{counted(len(found.repeated), 'row')} left out: there before, the same: {again}")
        return DatasetClips(found.clips, names, remarks, refused=found.refused)

    def _listing(self) -> Listing:
        if self.features is not None:
            there = files_below(self.features, FEATURES, flag="--features")
            return Listing(self.features, FEATURES[0], there, self.of)
        assert self.videos is not None  # __post_init__ refuses it
        return Listing(self.videos, ".mp4", files_below(self.videos), self.of)

    def _add(self, found: Listing, path: Path, split: str, counts: Counts | None) -> list[str]:
        """Adds the rows of a file; returns remarks."""
        is_labeled = split != TEST
        if self.task == "nlq":
            return add_queries(found, path, split, around=self.around, is_labeled=is_labeled)
        if self.task == "moments":
            return add_moments(found, path, split, around=self.around, is_primary=self.primary)
        if self.task == "goalstep":
            add_steps(found, path, split, level=self.level)
        elif self.task == "state-change":
            _add_changes(found, read_changes(path, is_labeled=is_labeled), split)
        else:
            actions = read_actions(path, is_labeled=is_labeled)
            check_labels(actions, counts)
            _add_actions(found, actions, split)
        return []

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
    words = [SAME.get(word, word) for word in re.split(r"[^a-z]+", path.stem.lower())]
    words = [word for word in words if word in SPLITS]
    if len({*words}) != 1:
        raise ManifestError(f"{path}: the name does not say which of train, val and test it is; give --split")
    return words[0]


def _add_changes(found: Listing, changes: Sequence[tuple[str, Change]], split: str) -> None:
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


def _stretches(change: Change) -> list[Stretch]:
    """The files that may hold a row, the first preferred: the whole video, the clip of some minutes, the row alone."""
    start, end = change["parent_start_sec"], change["parent_end_sec"]
    found = [Stretch("video", change["video_uid"], start, end), Stretch("row", change["unique_id"], 0.0, end - start)]
    clip, clip_start, clip_end = (change.get(name) for name in ("clip_uid", "clip_start_sec", "clip_end_sec"))
    if clip and clip_start is not None and clip_end is not None:
        found.insert(1, Stretch("clip", str(clip), clip_start, clip_end))  # type: ignore[arg-type]
    return found


def _add_actions(found: Listing, actions: Sequence[tuple[str, Action]], split: str) -> None:
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
        stretches = [Stretch("clip", clip, start, end)]
        stretches += [] if offset is None else [Stretch("video", video, offset + start, offset + end)]
        labels = {"clip_uid": clip, "action_idx": str(action["action_idx"])}
        labels |= {name: str(action.get(name, "")) for name in ("verb_label", "noun_label", "verb", "noun")}
        found.add(where, id, stretches, split, {**labels, "video": video})
