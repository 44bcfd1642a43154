"""Clips that could not be read: `<cache>.failed.csv`, itself a manifest, with the reason as its `error` column."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from egotools.manifests import read_manifest, write_manifest
from egotools.types import Clip


def failures_path(cache: Path) -> Path:
    """Where the failures of a cache stand."""
    return cache.with_name(f"{cache.name}.failed.csv")


def write_failures(cache: Path, tried: Sequence[Clip], failed: Sequence[tuple[Clip, str]]) -> None:
    """Brings the failures of a cache up to date: those of the clips that were tried now replace their earlier ones."""
    path = failures_path(cache)
    ids = {clip.id for clip in tried}
    earlier = [clip for clip in read_manifest(path) if clip.id not in ids] if path.is_file() else []
    now = [dataclasses.replace(clip, labels={**clip.labels, "error": reason}) for clip, reason in failed]
    if earlier or now:
        write_manifest(path, [*earlier, *now])
    else:
        path.unlink(missing_ok=True)
