"""Narrow networks of RepLAI, and audible videos with a cache of their moments."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import pytest
from audible import write_audible
from click.testing import CliRunner

SMALL = {"net": "r2plus1d10", "size": 16, "min_size": 18, "max_size": 24, "frames": 4, "batch_size": 2}


def make_narrow(patch: pytest.MonkeyPatch) -> None:
    """Networks of a few channels, where tests are not about numbers."""
    from egotools.methods.replai import network
    from egotools.nn import r2plus1d, spec_cnn

    for module in (r2plus1d, spec_cnn):
        patch.setattr(module, "WIDTH", 8)
    patch.setattr(r2plus1d, "WIDTHS", (4, 4, 4, 8))
    patch.setattr(network, "HIDDEN", 8)


def write_manifest(path: Path, videos: Path, splits: Mapping[str, str], **labels: Mapping[str, str]) -> Path:
    """Of videos by their stems, with their splits and labels."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "path", "start", "end", "split", *labels])
        for stem, split in splits.items():
            rows.writerow([stem, videos / f"{stem}.mp4", "", "", split, *(each[stem] for each in labels.values())])
    return path


def write_videos(folder: Path, count: int) -> Path:
    """Videos v0, v1, ... whose sound has a moment every half second, and `silent`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        write_audible(folder / f"v{number}.mp4", seconds=2.5, rate=8000, size=(32, 48))
    write_audible(folder / "silent.mp4", seconds=2.5, rate=0, size=(32, 48))
    return folder


def extract_moments(manifest: Path, out: Path) -> Path:
    """A cache of moments, as the command line makes it."""
    from egotools.cli.main import root

    done = CliRunner().invoke(root, ["extract", "--manifest", str(manifest), "--out", str(out), "moments"])
    assert (out / "moments.lmdb").exists(), done.output
    return out / "moments.lmdb"
