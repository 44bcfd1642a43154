"""Ego4D's tasks from annotation files and videos to figures, as users type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import write_video
from ego4d_files import action, change, write
from egotools.cli.main import root

from egotools.stores import open_store

pytestmark = pytest.mark.integration
SMALL = ("avid-video", "--weights", "random:0", "--depth", "10", "--size", "16")


def typed(*words: object) -> str:
    done = CliRunner().invoke(root, [*map(str, words)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "video.mp4", 120, fps=10, size=(32, 32))
    return folder


def extract(folder: Path, manifest: Path, *more: object) -> Path:
    typed("extract", "--manifest", manifest, "--out", folder, "--workers", 1, *SMALL, *more)
    return folder / "avid-video.lmdb"


@pytest.mark.parametrize("at", ["spread", "picks"])
def test_changes_of_state_from_annotations_to_figures(videos, tmp_path, at):
    entries = [
        change(number, state=bool(number), parent_start_sec=start, parent_end_sec=start + 8)
        | {"parent_start_frame": 300 * number, "parent_end_frame": 300 * number + 240, "clip_uid": None}
        | {"parent_pnr_frame": 300 * number + 100 if number else None}
        for number, start in enumerate((0.0, 3.0))
    ]
    manifest = tmp_path / "c.csv"
    source = write(tmp_path / "fho_oscc-pnr_val.json", entries)
    typed("manifest", "ego4d", source, "--task", "state-change", "--videos", videos, "--out", manifest)
    cache = extract(tmp_path / "c", manifest, "--clips", 16, "--at", at)
    assert len(open_store(cache)["unique0"].values) == 16
    shared = ("--manifest", manifest, "--features", cache)
    typed("train", "state-change", *shared, "--out", tmp_path / "run")
    report = json.loads(typed("eval", "state-change", "--run", tmp_path / "run", *shared, "--json"))
    assert (report["clips"], report["changed"]) == (2, 1)
    assert report["pnr_error"] is not None


def test_actions_to_come_from_annotations_to_a_submission(videos, tmp_path):
    entries = [
        action(at, labels=(at % 3, at % 2), clip_parent_start_sec=0.0)
        | {"action_clip_start_sec": at / 10, "action_clip_end_sec": at / 10 + 8}
        for at in range(25)
    ]
    manifest, source = tmp_path / "l.csv", write(tmp_path / "fho_lta_val.json", entries)
    typed("manifest", "ego4d", source, "--task", "anticipation", "--videos", videos, "--out", manifest)
    cache = extract(tmp_path / "l", manifest, "--pool", "average", "--frames", 2, "--clips", 2)
    shared = ("--manifest", manifest, "--features", cache)
    typed("train", "anticipation", *shared, "--preset", "small", "--epochs", 2, "--out", tmp_path / "run")
    line = ("eval", "anticipation", "--run", tmp_path / "run", *shared, "--submission", tmp_path / "lta.json", "--json")
    report = json.loads(typed(*line))
    assert (report["windows"], report["candidates"]) == (2, 5)
    assert 0 <= report["verb"]["ed"] <= 1
    assert list(json.loads((tmp_path / "lta.json").read_text())) == ["clip_3", "clip_4"]
