"""The small data set of the two-stream goldens: labels, features by key and lists, as caches and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fill
import numpy as np
from tabled import write_table

from egotools.manifests.segments import Segment, write_segments
from egotools.stores import Recipe, Source, open_writer
from egotools.types import Rows

GOLDENS = fill.DATA / "two_stream"
FPS = 30
VIEWS = {"C10118_rgb": "v3", "HMC_21179183_mono10bit": "e4", "HMC_84358933_mono10bit": "e4"}


def golden(case: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A case's description and its arrays."""
    with np.load(GOLDENS / f"{case}.npz", allow_pickle=False) as arrays:
        return json.loads((GOLDENS / f"{case}.json").read_text()), {name: arrays[name] for name in arrays.files}


# The classes that the data set uses, by their numbers among Assembly101's 202 actions.
NUMBERS = {
    "inspect toy": 0,
    "attach cabin": 1,
    "detach cabin": 2,
    "detach wheel": 3,
    "attach wheel": 4,
    "screw chassis": 5,
    "unscrew chassis": 7,
    "attach roof": 10,
    "attach bumper": 12,
}
CLASSES = tuple(
    {number: name for name, number in NUMBERS.items()}.get(number, f"other {number}") for number in range(202)
)


def made() -> dict[str, Any]:
    """The frames, labels and lists that the goldens were recorded with."""
    return golden("dataset")[0]["synthetic_dataset"]


def values_of(clip: str, first: int, end: int) -> np.ndarray:
    """The features of a clip's frames as the public files hold them, by key."""
    camera = clip.rpartition("/")[2]
    keys = [f"lmdb/{clip}/{camera}_{frame:010d}.jpg" for frame in range(first, end)]
    return np.abs(np.stack([fill.normal(f"input/{key}", (2048,)) for key in keys]))


def write_features(path: Path, width: int = 2048) -> Path:
    """All clips as one cache, one row a frame; the row of frame 1 is the first of the video."""
    with open_writer(path, Recipe({"imported": {"content": "assembly"}})) as writer:
        for clip, (first, end) in made()["frames"].items():
            starts = np.arange(first - 1, end - 1) / FPS
            writer.append(
                clip, Rows(values_of(clip, first, end)[:, :width], np.stack([starts, starts + 1 / FPS], axis=1))
            )
            writer.finish(clip, Source(""))
        writer.commit()
    return path


def write_lists(folder: Path, splits: Mapping[str, str] | None = None) -> tuple[Path, Path]:
    """A manifest of all clips with `splits` by short name of the recording, and the segments of all sequences."""
    recordings = made()["recordings"]
    split_of = {
        recordings[name]: split
        for name, split in (splits or {"R1": "train", "R2": "train", "R3": "pair", "R4": "pair"}).items()
    }
    clips = list(made()["frames"])
    own = [clip.partition("/")[0] for clip in clips]
    columns = {"recording": own, "camera": [clip.rpartition("/")[2] for clip in clips]}
    columns["view"] = [VIEWS[camera] for camera in columns["camera"]]
    manifest = write_table(folder / "a.csv", clips, columns, [split_of[recording] for recording in own])
    found = [
        Segment(sequence.partition("_")[2], start / FPS, end / FPS, label, sequence)
        for sequence, parts in made()["labels"].items()
        for start, end, label in parts
    ]
    write_segments(folder / "a.segments.csv", found)
    return manifest, folder / "a.segments.csv"
