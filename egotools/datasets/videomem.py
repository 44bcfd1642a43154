"""VideoMem: `ground-truth_dev-set.csv`, `resized_mp4/`, and a split of train and val.

Source:
    Cohendet et al., "VideoMem", ICCV 2019; the layout is that of modular-memorability.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from egotools.config import option
from egotools.datasets.clips import DatasetClips, check_differ, checked_score, present, read_json
from egotools.errors import ManifestError
from egotools.files.csv_files import read_csv
from egotools.types import Clip
from egotools.weights.pickles import read_pickle

SCORES = "ground-truth_dev-set.csv"
SPLIT = "train_test_split_videomem.pkl"
VAL_SHARE = 1 / 8  # of 8000 labelled videos 1000


@dataclass(frozen=True)
class VideoMem:
    """VideoMem: ground-truth_dev-set.csv and resized_mp4; short-term scores become the label memorability.

    Without a split file (train_test_split_videomem.pkl) one clip of eight is drawn for val.

    \b
    egotools manifest videomem ROOT --out m.csv
    egotools manifest videomem ROOT --split mine.json --out m.csv
    """

    split: Path | None = option(None, "Pickle or JSON of train and val names.")  # noqa: RUF009 - frozen
    seed: int = option(0, "Seed of everything random.")

    def clips(self, root: Path) -> DatasetClips:
        """The clips; the short-term score is the label `memorability`, every further column one of its name.

        A split file is a pickle of two lists of names (train, val), or a JSON `{"train": [...], "val": [...]}`.

        Raises:
            ManifestError: scores or splits that cannot be used, or not a single video.
            WeightsError: a pickle that holds anything but lists of names.
        """
        clips = _clips(root)
        split = root / SPLIT if self.split is None and (root / SPLIT).is_file() else self.split
        if split is not None:
            return _split(clips, root, split)
        drawn = set(random.Random(self.seed).sample(range(len(clips)), round(len(clips) * VAL_SHARE)))
        clips = [replace(clip, split="val" if at in drawn else "train") for at, clip in enumerate(clips)]
        return present(clips, root, [f"no {SPLIT}: {len(drawn)} clips were drawn for val, seed {self.seed}"])


def _split(clips: Sequence[Clip], root: Path, split: Path) -> DatasetClips:
    names = {part: {Path(name).stem for name in own} for part, own in _names(split).items()}
    if both := sorted(names["train"] & names["val"]):
        raise ManifestError(f"{split}: {len(both)} videos are in train and in val, such as {both[0]}")
    split_of = {name: part for part, own in names.items() for name in sorted(own)}
    known = {clip.id for clip in clips}
    remarks = []
    if strangers := [name for name in split_of if name not in known]:
        remarks.append(f"{len(strangers)} videos of {split.name} have no score, such as {strangers[0]}")
    if left := [clip.id for clip in clips if clip.id not in split_of]:
        remarks.append(f"{len(left)} videos are in no split, such as {left[0]}")
    return present([replace(clip, split=split_of.get(clip.id, "")) for clip in clips], root, remarks)


def _clips(root: Path) -> list[Clip]:
    """By position, as the reference reads them: the name, the short-term score; the rest by name."""
    path = root / SCORES
    columns, rows = read_csv(path, known=())
    if len(columns) < 2:
        raise ManifestError(f"{path}: two columns are needed, the name and the score")
    clips = []
    for number, values in rows:
        name, score, *_ = (values[column] for column in columns)
        stem = Path(name).stem
        labels = {"memorability": repr(checked_score(score, f"{path}, row {number}"))}
        labels |= {column: values[column] for column in columns[2:]}
        clips.append(Clip(stem, root / "resized_mp4" / f"{stem}.mp4", labels=labels))
    if not clips:
        raise ManifestError(f"{path}: no videos, only the first line")
    check_differ(clips, path)
    return clips


def _names(path: Path) -> dict[str, Sequence[str]]:
    """The names of train and val."""
    found: Any = read_json(path) if path.suffix.lower() == ".json" else read_pickle(path)
    if isinstance(found, (list, tuple)) and len(found) == 2:
        found = {"train": found[0], "val": found[1]}
    if not isinstance(found, dict) or not all(_are_names(found.get(part)) for part in ("train", "val")):
        raise ManifestError(f"{path}: holds no two lists of names, train and val")
    return {"train": found["train"], "val": found["val"]}


def _are_names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)
