"""`egotools predict probe`: new videos straight from their files, as from caches."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root

from egotools.errors import EgotoolsError
from egotools.manifests.table import write_manifest
from egotools.methods.records import FILE
from egotools.types import Clip

VIDEOS = 8


def invoke(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


def run(*words: object) -> Result:
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    return result


def complaint(*words: object) -> str:
    result = invoke(*words)
    assert isinstance(result.exception, EgotoolsError), result.output
    return str(result.exception)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small videos of two kinds, their caches (one derived from another), and probes on these."""
    folder = tmp_path_factory.mktemp("predict")
    for number in range(VIDEOS):
        write_video(folder / f"{number}.mp4", 6, first=50 * (number % 2) + number)
    clips = [Clip(str(n), folder / f"{n}.mp4", labels={"kind": ("dark", "light")[n % 2]}) for n in range(VIDEOS)]
    write_manifest(folder / "m.csv", clips)
    run("extract", "--manifest", folder / "m.csv", "--out", folder, "color", "--fps", "10")
    run("derive", "pool", "--features", folder / "color.lmdb", "--statistics", "mean,max", "--name", "pooled",
        "--out", folder)  # fmt: skip
    parts = [
        Clip(f"{clip.id}-{at}", clip.path, at / 5, at / 5 + 0.2, labels=clip.labels) for clip in clips for at in (0, 1)
    ]
    write_manifest(folder / "s.csv", parts)
    run("derive", "cut", "--features", folder / "color.lmdb", "--manifest", folder / "s.csv", "--out", folder / "cut")
    run("train", "probe", "--manifest", folder / "s.csv", "--features", folder / "cut/color.lmdb", "--label", "kind",
        "--seeds", "1", "--c", "1", "--out", folder / "parts")  # fmt: skip
    for name, caches, reduce in (("p", ("pooled", "color"), "mean+std"), ("windows", ("color",), "none")):
        features = [word for cache in caches for word in ("--features", folder / f"{cache}.lmdb")]
        run("train", "probe", "--manifest", folder / "m.csv", *features, "--label", "kind", "--reduce", reduce,
            "--seeds", "1", "--c", "1", "--out", folder / name)  # fmt: skip
    return folder


def predicted(place: Path, name: str, *videos: Path) -> list[dict[str, object]]:
    return json.loads(run("predict", "probe", "--run", place / name, *videos, "--json").stdout)


def test_new_videos_get_what_their_cached_features_would_get(place, tmp_path):
    videos = [place / f"{number}.mp4" for number in range(VIDEOS)]
    found = predicted(place, "p", *videos)
    run("eval", "probe", "--manifest", place / "m.csv", "--features", place / "color.lmdb", "--features",
        place / "pooled.lmdb", "--run", place / "p", "--all-rows", "--out", tmp_path / "r")  # fmt: skip
    with (tmp_path / "r/predictions.csv").open() as file:
        expected = list(csv.DictReader(file))
    assert [each["path"] for each in found] == [str(video) for video in videos]
    assert [each["label"] for each in found] == [row["predicted"] for row in expected]
    np.testing.assert_allclose(
        [each["probability"] for each in found], [float(row["score"]) for row in expected], rtol=1e-4
    )


def test_of_a_probe_of_windows_a_video_has_their_mean(place):
    (found,) = predicted(place, "windows", place / "3.mp4")
    assert (found["label"], 0.5 < float(str(found["probability"])) <= 1) == ("light", True)


def test_a_probe_of_cut_rows_takes_whole_videos_and_other_segments(place, tmp_path):
    assert [each["label"] for each in predicted(place, "parts", place / "3.mp4", place / "4.mp4")] == ["light", "dark"]
    more = [Clip("m", place / "5.mp4", 0.1, 0.5, labels={"kind": "light"})]
    write_manifest(tmp_path / "s.csv", more)
    run(
        "derive", "cut", "--features", place / "color.lmdb", "--manifest", tmp_path / "s.csv", "--out", tmp_path / "cut"
    )
    for manifest, cache in ((tmp_path / "s.csv", tmp_path / "cut/color.lmdb"), (place / "m.csv", place / "color.lmdb")):
        done = run("eval", "probe", "--manifest", manifest, "--features", cache, "--run", place / "parts", "--all-rows",
                   "--json")  # fmt: skip
        assert json.loads(done.stdout)["accuracy"] == 1


def test_a_video_that_fails_is_named_and_the_others_are_classified(place, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    result = invoke("predict", "probe", "--run", place / "p", tmp_path / "bad.mp4", place / "1.mp4")
    assert result.exit_code == 1
    assert f"failed: {tmp_path / 'bad.mp4'}" in result.stderr
    assert "light" in result.stdout


def test_a_run_without_records_must_be_trained_again(place):
    kept = (place / "windows" / FILE).read_bytes()
    (place / "windows" / FILE).unlink()
    said = complaint("predict", "probe", "--run", place / "windows", place / "1.mp4")
    (place / "windows" / FILE).write_bytes(kept)
    assert "train it again with another --out" in said
    assert "\n" not in said


def test_a_run_of_another_method_and_records_of_files_elsewhere_are_one_line(place, tmp_path):
    run("train", "pca", "--manifest", place / "m.csv", "--features", place / "color.lmdb", "--components", "2",
        "--out", tmp_path / "pca")  # fmt: skip
    assert "is not a run of 'egotools train probe'" in complaint(
        "predict", "probe", "--run", tmp_path / "pca", place / "1.mp4"
    )
    kept = (place / "windows" / FILE).read_text()
    (place / "windows" / FILE).write_text(kept.replace('"file": null', '"file": "../../x"'))
    said = complaint("predict", "probe", "--run", place / "windows", place / "1.mp4")
    (place / "windows" / FILE).write_text(kept)
    assert "'records.color.file' is '../../x', which is no file of the run" in said
