"""Features that Ego4D and Ego-Exo4D released become caches whose rows have the right times."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from ego4d_files import write
from egotools.cli.main import root

from egotools.datasets.released_features import Windows
from egotools.errors import StoreError
from egotools.rebuild.quick_status import QuickStatus
from egotools.stores import open_store


def run(*arguments: object, status: int = 0) -> Result:
    done = CliRunner().invoke(root, [*map(str, arguments)])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def released(folder: Path, *, width: int = 4, **rows: int) -> Path:
    folder.mkdir(exist_ok=True)
    for name, count in rows.items():
        torch.save(torch.arange(count * width).reshape(count, width).float(), folder / f"{name}.pt")
    return folder


def metadata(path: Path, **frames: int) -> Path:
    listed = [{"video_uid": uid, "video_metadata": {"num_frames": n, "fps": 30.0}} for uid, n in frames.items()]
    return write(path, {"videos": listed}, bare=True)


def sampled(frames: int, window: int, stride: int) -> list[tuple[Fraction, Fraction]]:
    """What the sampler that the features were made with gives: each window starts a stride after the one before."""
    spans: list[tuple[Fraction, Fraction]] = []
    start = Fraction(0)
    while True:
        begin = max(start - max(start + window - frames, Fraction(0)), Fraction(0))
        span = (begin, min(begin + window, Fraction(frames)))
        if spans and spans[-1] == span:
            return spans
        spans.append(span)
        start = begin + stride


@pytest.mark.parametrize(("window", "stride"), [(32, 16), (1, 5), (32, 6)])
def test_rows_lie_where_the_sampler_put_them(window, stride):
    for frames in [*range(1, 120), 1799, 1800]:
        times = Windows(window, stride, fps=1).times(frames)
        assert times.tolist() == [[float(start), float(end)] for start, end in sampled(frames, window, stride)]


def test_the_documented_example_comes_over_and_is_cut_by_annotations(tmp_path):
    features = released(tmp_path / "f", video=2, other=3)
    lengths = metadata(tmp_path / "ego4d.json", video=39, other=64, absent=100)
    done = run("cache", "import", features, "--from", "ego4d", "--frames", lengths, "--out", tmp_path / "c.lmdb")
    assert "2 clips, 5 rows of 4 features" in done.stderr
    store = open_store(tmp_path / "c.lmdb")
    assert (store["video"].times * 30).tolist() == [[0, 32], [7, 39]]
    assert (store["other"].times * 30).tolist() == [[0, 32], [16, 48], [32, 64]]
    np.testing.assert_array_equal(store["other"].values, np.arange(12).reshape(3, 4))
    goal = {"video_uid": "other", "start_time": 0.0, "end_time": 2.0, "goal_category": "g", "goal_description": "d"}
    steps = [{"start_time": 1.0, "end_time": 2.0, "step_category": "s", "step_description": "d", "segments": []}]
    path = write(tmp_path / "goalstep_val.json", {"videos": [{**goal, "segments": steps}]}, bare=True)
    line = ("--task", "goalstep", "--features", features, "--out", tmp_path / "s.csv")
    run("manifest", "ego4d", path, *line)
    line = ("--manifest", tmp_path / "s.csv", "--out", tmp_path / "cut")
    run("derive", "cut", "--features", tmp_path / "c.lmdb", *line)
    cut = open_store(tmp_path / "cut/c.lmdb")
    assert (cut["other_0"].times * 30).tolist() == [[16, 48], [32, 64]]  # middles at 32 and 48 of the frames 30 to 60


def test_files_that_cannot_be_used_are_named_and_the_others_imported(tmp_path):
    features = released(tmp_path / "f", a=2, b=2, late=2, unknown=2)
    released(features, width=5, wide=2)
    np.save(features / "array.npy", np.ones((2, 4), np.float16))
    torch.save({"x": torch.ones(2, 4)}, features / "dict.pt")
    torch.save(torch.ones(8), features / "flat.pt")
    torch.save(torch.full((2, 4), float("nan")), features / "nan.pt")
    (features / "cut.pt").write_bytes((features / "a.pt").read_bytes()[:200])
    (features / "manifest.csv").touch()
    same = dict.fromkeys(("a", "b", "array", "dict", "flat", "nan", "cut", "wide"), 48)
    lengths = metadata(tmp_path / "ego4d.json", **same, late=200)
    line = ("cache", "import", features, "--from", "ego4d", "--frames", lengths, "--out", tmp_path / "c.h5")
    for _ in range(2):  # repeated, it says the same
        said = run(*line, status=1).stderr
        for why in (
            "dict: ",
            "holds dict, not a dense tensor",
            "has the shape [8], not [rows, features]",
            "8 NaN or infinite values",
            "cut.pt: not readable as weights",
            "wide.pt has 5 features, a has 4",
            "late.pt has 2 rows; a video of 200 frames has 12 with --window 32 --stride 16",
            "unknown: the file of --frames does not have it",
            "ignored, not .npy or .pt files: 1 (manifest.csv)",
        ):
            assert why in said
        assert said.count("left out: ") == 7
    assert "there already: nothing to do" in said
    assert [*open_store(tmp_path / "c.h5")] == ["a", "array", "b"]


def test_a_cache_is_stale_when_a_file_or_a_length_has_changed(tmp_path):
    features = released(tmp_path / "f", a=2)
    line = ("cache", "import", features, "--from", "ego4d", "--out", tmp_path / "c.lmdb", "--frames")
    run(*line, metadata(tmp_path / "ego4d.json", a=40))
    assert QuickStatus()(tmp_path / "c.lmdb").state == "fresh"
    done = run(*line, metadata(tmp_path / "ego4d.json", a=41), status=1)
    assert isinstance(done.exception, StoreError)
    assert "was made differently" in str(done.exception)
    released(features, a=3)
    assert QuickStatus()(tmp_path / "c.lmdb").state == "stale"


def test_takes_have_seconds_and_other_windows_and_rates_are_options(tmp_path):
    features = released(tmp_path / "f", uid_aria01_rgb=40, uid_cam01_0=40)
    aligned = {"aria01": {"rgb": {}, "et": {}}, "cam01": {"0": {}}}
    take = {"take_uid": "uid", "duration_sec": 21.366666666666667, "frame_aligned_videos": aligned}
    lengths = write(tmp_path / "takes.json", [take], bare=True)
    run("cache", "import", features, "--from", "ego4d", "--frames", lengths, "--out", tmp_path / "c.lmdb")
    times = open_store(tmp_path / "c.lmdb")["uid_aria01_rgb"].times * 30
    assert times[[0, 1, -2, -1]].round(6).tolist() == [[0, 32], [16, 48], [608, 640], [609, 641]]
    (tmp_path / "l.csv").write_text("id,frames\nuid_aria01_rgb,196\nuid_cam01_0,200\n")
    more = ("--frames", tmp_path / "l.csv", "--window", 1, "--stride", 5, "--fps", 10, "--out", tmp_path / "d.lmdb")
    run("cache", "import", features, "--from", "ego4d", *more, status=1)  # 200 frames are 41 rows
    assert [*open_store(tmp_path / "d.lmdb")] == ["uid_aria01_rgb"]
    np.testing.assert_allclose(open_store(tmp_path / "d.lmdb")["uid_aria01_rgb"].times[-1], [19.5, 19.6])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--from", "ego4d"), "--frames is needed: the last row's window ends with its video"),
        (("--window", 32), "--window belongs to --from ego4d"),
        (("--from", "assembly101", "--frames", "x"), "--frames belongs to --from ego4d"),
        (("--from", "ego4d", "--values", "x", "--frames", "x"), "--from ego4d has none"),
        (("--from", "ego4d", "--max-gap", 5, "--frames", "x"), "--max-gap belongs to --from assembly101"),
    ],
)
def test_wrong_usage_is_said(tmp_path, more, why):
    assert why in run("cache", "import", tmp_path, *more, "--out", tmp_path / "c.lmdb", status=2).stderr


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not JSON, or cut off"),
        ('{"videos": [{"video_uid": "a"}]}', "'videos.0.video_metadata' is missing; is it ego4d.json or takes.json?"),
        (json.dumps([{"take_uid": 1}]), "'takes.0.take_uid' is 1, not text"),
        ('{"videos": [{"video_uid": "a", "video_metadata": {"num_frames": 40, "fps": 24.0}}]}', "24 frames per second"),
        ('{"videos": [{"video_uid": "a", "video_metadata": {"num_frames": null}}]}', "says that it has None frames"),
    ],
)
def test_lengths_that_cannot_be_used_are_refused(tmp_path, content, why):
    (tmp_path / "l.json").write_text(content)
    line = ("--from", "ego4d", "--frames", tmp_path / "l.json", "--out", tmp_path / "c.lmdb")
    done = run("cache", "import", released(tmp_path / "f", a=2), *line, status=1)
    assert why in str(done.exception)
    assert not (tmp_path / "c.lmdb").exists()
