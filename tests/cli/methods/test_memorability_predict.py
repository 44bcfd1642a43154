"""`egotools predict memorability` on files, as users type it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import write_video
from egotools.cli.main import root
from memorability_files import CLIPS, IDS, complaint, judge, read_csv, run, shown, train, write_files
from tabled import write_cache

from egotools.stores import Recipe


@pytest.fixture
def data(tmp_path, rng):
    return write_files(tmp_path, rng)


def test_imported_features_cannot_be_computed_for_new_videos(data, tiny_video):
    run(*train(data))
    line = ["predict", "memorability", "--run", data / "run", tiny_video]
    assert "were imported: they cannot be computed" in complaint(*line) or "cannot be rebuilt" in complaint(*line)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on real caches of small videos, made as the issue's lines make them, of extractors that take no time."""
    folder = tmp_path_factory.mktemp("trained")
    for number in range(24):
        write_video(
            folder / f"videos/{number:02d}.mp4" if (folder / "videos").mkdir(exist_ok=True) is None else folder,
            6,
            first=3 * number,
        )
    manifest = folder / "m.csv"
    run("manifest", "folder", folder / "videos", "--out", manifest)
    rows = read_csv(manifest)
    for number, row in enumerate(rows):
        row |= {"split": "train" if number % 4 else "val", "memorability": str(round(0.2 + number / 40, 3))}
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    out = folder / "caches"
    only = "brightness,contrast,size_orig"
    run("extract", "--manifest", manifest, "--out", out, "m3s", "--only", only, "--frames", "3", "color", "--fps", "10")
    run("derive", "similarity", "--features", out / "color.lmdb", "--manifest", manifest, "--eps", "40", "--out", out)
    run(
        "derive", "pool", "--features", out / "color.lmdb", "--statistics", "mean,max", "--name", "pooled", "--out", out
    )
    names = ("m3s", "color", "similarity-color", "pooled")
    run(*train(folder, "--seeds", "2", names=[f"caches/{name}" for name in names]))
    return folder


def test_predictions_of_videos_are_those_of_their_cached_features(trained, tmp_path):
    run(*judge(trained, "--split", "val", "--out", tmp_path / "out"))
    assert (tmp_path / "out/extremes.png").stat().st_size > 5000
    rows = {row["id"]: row for row in read_csv(tmp_path / "out/predictions.csv")}
    videos = [trained / f"videos/{number:02d}.mp4" for number in (20, 0, 4)]
    found = shown("predict", "memorability", "--run", trained / "run", *videos)
    assert [Path(each["path"]) for each in found] == videos
    for each in found:
        cached = rows[next(id for id in rows if Path(each["path"]).stem in id)]
        assert each["score"] == pytest.approx(float(cached["predicted"]), abs=1e-4)
        assert each["deviation"] == pytest.approx(float(cached["deviation"]), abs=1e-4)


def test_a_run_predicts_without_the_caches_it_was_trained_on(trained, tmp_path):
    video = trained / "videos/08.mp4"
    before = shown("predict", "memorability", "--run", trained / "run", video)
    (trained / "caches").rename(tmp_path / "elsewhere")
    try:
        assert shown("predict", "memorability", "--run", trained / "run", video) == before
    finally:
        (tmp_path / "elsewhere").rename(trained / "caches")


def test_a_video_that_cannot_be_read_is_named_and_the_others_are_scored(trained, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    line = ["predict", "memorability", "--run", trained / "run", trained / "videos/00.mp4", tmp_path / "broken.mp4"]
    result = CliRunner().invoke(root, [str(each) for each in line])
    assert result.exit_code == 1
    assert "00.mp4" in result.stdout.replace("\n", "")
    assert f"failed: {tmp_path / 'broken.mp4'}" in result.stderr


def test_code_that_a_cache_or_a_run_names_is_not_run_unless_it_is_trusted(data, tiny_video):
    own, ran = data / "own.py", data / "ran"
    own.write_text(f"open({str(ran)!r}, 'w').close()\n")
    origin = {"extractor": f"{own}:Own", "weights": str(data / "w.npz")}
    values = np.arange(CLIPS * 2.0).reshape(CLIPS, 2) % 7
    write_cache(data / "own.lmdb", IDS, values, Recipe({"extractor": "own", "options": {}}, origin))
    run(*train(data, names=("own",)))
    assert not ran.exists()
    predict = ["predict", "memorability", "--run", data / "run", tiny_video]
    assert f"--trust {own}" in complaint(*predict)
    assert not ran.exists()
    complaint(*predict, "--trust", own)
    assert ran.exists()
