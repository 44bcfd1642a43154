"""Small annotation files of Ego4D's hands and objects, with the entries that released ones have."""

from __future__ import annotations

import json
from pathlib import Path


def change(number: int = 1, *, state: bool | None = True, **more: object) -> dict[str, object]:
    """An entry of `fho_oscc-pnr_*.json`: 8 s at 30 fps that begin at 100 s of the video; without `state` as in test."""
    unlabeled = {
        "clip_id": number,
        "unique_id": f"unique{number}",
        "video_uid": "video",
        "parent_start_sec": 100.0,
        "parent_end_sec": 108.0,
        "parent_start_frame": 3000,
        "parent_end_frame": 3240,
    }
    clip = {
        "clip_uid": "clip",
        "clip_start_sec": 20.0,
        "clip_end_sec": 28.0,
        "clip_start_frame": 600,
        "clip_end_frame": 840,
        "clip_pnr_frame": 690 if state else None,
        "state_change": state,
        "parent_pnr_frame": 3090 if state else None,
    }
    return {**unlabeled, **({} if state is None else clip), **more}


def action(index: int, *, clip: str | None = "clip", labels: tuple[int, int] | None = (3, 5), **more: object) -> dict:
    """An entry of `fho_lta_*.json`: 8 s that begin at twice its number; without labels as in test."""
    named = {} if labels is None else {"verb_label": labels[0], "noun_label": labels[1], "verb": "take", "noun": "cup"}
    return {
        "video_uid": "video",
        "clip_uid": clip,
        "clip_parent_start_sec": 80.0,
        "clip_parent_end_sec": 380.0,
        "action_clip_start_sec": 2.0 * index,
        "action_clip_end_sec": 2.0 * index + 8.0,
        "action_clip_start_frame": 60 * index,
        "action_clip_end_frame": 60 * index + 240,
        "action_idx": index,
        **named,
        **more,
    }


def write(path: Path, entries: object, *, bare: bool = False) -> Path:
    path.write_text(json.dumps(entries if bare else {"version": "v2", "clips": entries}))
    return path


def videos(folder: Path, *names: str) -> Path:
    """A folder with files of these names; importers look at no content."""
    for name in names:
        path = folder / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder
