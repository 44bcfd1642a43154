"""`egotools extract`, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root
from faults import wait_until
from media_files import cut, noisy, write_sound
from media_files import write_video as write_noisy

from egotools.errors import EgotoolsError
from egotools.manifests.table import write_manifest
from egotools.stores import open_store
from egotools.types import Clip

ODD = Path(__file__).parents[1] / "odd_extractors.py"
EGOTOOLS = Path(sys.executable).with_name("egotools")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two videos of 20 and 30 frames at 10 Hz."""
    for name, frames in (("a", 20), ("b", 30)):
        write_video(tmp_path / f"{name}.mp4", frames)
    write_manifest(tmp_path / "m.csv", [Clip(name, tmp_path / f"{name}.mp4") for name in "ab"])
    return tmp_path / "m.csv"


def extract(manifest: Path, *words: object) -> Result:
    line = ["extract", "--manifest", manifest, "--out", manifest.parent / "caches", "--workers", 1, *words]
    return CliRunner().invoke(root, [str(word) for word in line])


def test_one_line_fills_a_cache_for_each_extractor(manifest):
    result = extract(manifest, "--json", "color", "--fps", 2, f"{ODD}:Brightness", "--name", "light")
    assert result.exit_code == 0, result.output
    caches = manifest.parent / "caches"
    summary = json.loads(result.stdout)
    assert summary["rows"] == (4 + 6) + (20 + 30)
    assert summary["caches"][str(caches / "color.lmdb")]["done"] == 2
    assert len(open_store(caches / "color.lmdb")["a"].values) == 4
    assert len(open_store(caches / "light.lmdb")["b"].values) == 30


def test_the_recipe_says_what_made_the_cache(manifest):
    extract(manifest, "color", "--bins", 4, f"{ODD}:Brightness")
    color = open_store(manifest.parent / "caches/color.lmdb").recipe
    assert color.identity["extractor"] == "color"
    assert color.identity["options"]["bins"] == 4
    assert color.origin["manifest"] == str(manifest)
    assert {"torch", "av"} <= color.origin["libraries"].keys()
    own = open_store(manifest.parent / "caches/brightness.lmdb").recipe
    assert len(own.identity["source"]) == 16


def test_an_extractor_whose_source_has_changed_does_not_go_on_in_the_old_cache(manifest):
    source = manifest.parent / "own.py"
    source.write_text(ODD.read_text())
    assert extract(manifest, f"{source}:Brightness").exit_code == 0
    source.write_text(ODD.read_text() + "# changed\n")
    assert "source" in str(extract(manifest, f"{source}:Brightness").exception)


def test_sound_and_frames_come_from_one_line(tmp_path, manifest):
    import wave

    with wave.open(str(tmp_path / "s.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((np.sin(np.arange(12000) / 5) * 20000).astype("<i2").tobytes())
    write_manifest(manifest, [Clip("s", tmp_path / "s.wav"), Clip("a", tmp_path / "a.mp4")])
    result = extract(
        manifest, "--json", "waveform", "--rate", 8000, "log-mel", "--rate", 8000, "--pool", "mean", "color"
    )
    assert result.exit_code == 1  # the sound has no picture; that the video has no sound is no failure
    caches = json.loads(result.stdout)["caches"]
    assert [len(cache["failed"]) for cache in caches.values()] == [0, 0, 1]
    assert [cache["nothing_to_do"] for cache in caches.values()] == [["a"], ["a"], []]
    rows = open_store(tmp_path / "caches/waveform.lmdb")["s"].values
    assert rows.shape == (2, 8000)
    np.testing.assert_allclose(rows[0], np.sin(np.arange(8000) / 5) * 20000 / 32768, atol=1e-4)
    np.testing.assert_array_equal(rows[1, 4000:], 0)
    assert open_store(tmp_path / "caches/log-mel.lmdb")["s"].values.shape == (2, 80)


def test_a_dry_run_says_how_much_work_it_is_and_writes_nothing(manifest):
    result = extract(manifest, "--dry-run", "--json", "color", "--fps", 2)
    work = json.loads(result.stdout)
    (cache,) = work["caches"].values()
    assert (cache["clips"], cache["rows"], cache["width"]) == (2, 10, 30)
    assert cache["bytes"] == 10 * (30 * 4 + 16)
    assert work["seconds"] > 0
    assert not (manifest.parent / "caches").exists()


def test_a_dry_run_times_sound_too(tmp_path, manifest):
    import wave

    with wave.open(str(tmp_path / "s.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * 8000 * 60))
    write_manifest(manifest, [Clip("s", tmp_path / "s.wav")])
    work = json.loads(extract(manifest, "--dry-run", "--json", "waveform").stdout)
    (cache,) = work["caches"].values()
    assert cache["rows"] == 60
    assert work["seconds"] > 0


def test_a_dry_run_counts_what_is_there_already(manifest):
    extract(manifest, "--limit", 1, "color")
    result = extract(manifest, "--dry-run", "--json", "color")
    (cache,) = json.loads(result.stdout)["caches"].values()
    assert (cache["clips"], cache["there"]) == (1, 1)


def test_bf16_is_judged_against_float32_and_both_figures_are_said(manifest):
    from egotools.machine import choose_device, has_fast_bf16

    if not has_fast_bf16(choose_device("cpu")):
        pytest.skip("this processor has no bf16")
    line = ["--precision", "bf16", "--device", "cpu", "torchvision:squeezenet1_1", "--weights", "random:0"]
    result = extract(manifest, *line)
    assert result.exit_code == 0, result.output
    assert "centered" in result.stderr
    assert open_store(manifest.parent / "caches/squeezenet1_1.lmdb").recipe.identity["precision"] == "bf16"


def test_random_weights_are_warned_about(manifest):
    result = extract(manifest, "--limit", 1, "torchvision:squeezenet1_1", "--weights", "random:0", "--frames", 1)
    assert "untrained" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["colour"], "did you mean 'color'"),
        (["torchvision:resnet51"], "resnet50"),
        (["color", "color"], "--name"),
        (["color", "--fps", "0"], "--fps must be above 0"),
        (["color", "--frames", "1", "--stride", "1"], "one of"),
        (["torchvision:resnet18", "--resize", "large"], "is not a size"),
        (["nowhere.py:Class"], "nowhere.py"),
        ([f"{ODD}:Missing"], "the class does not exist"),
        ([], "Missing command"),
    ],
)
def test_wrong_usage_is_one_clear_line(manifest, words, says, installed):
    finished = installed("extract", "--manifest", manifest, "--out", manifest.parent / "caches", *words)
    assert finished.returncode == 2
    assert says in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (manifest.parent / "caches").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["torchvision:resnet18", "--weights", "gone.pth"], "gone.pth: no such weights file"),
        (["torchvision:resnet18", "--weights", "IMAGENET9"], "IMAGENET1K_V1"),
        (["--device", "cuda:7", "color"], "cuda:7"),
        (["torchvision:resnet18", "--weights", "setup.pth"], "setup.pth"),
    ],
)
def test_weights_and_devices_that_are_not_there_are_one_clear_line(manifest, words, says, monkeypatch):
    monkeypatch.chdir(manifest.parent)
    Path("setup.pth").write_text("no weights")
    result = extract(manifest, *words)
    assert isinstance(result.exception, EgotoolsError)
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("", "empty"),
        ("id,path\n", "no clips"),
        ("id,path\na,a.mp4\na,a.mp4\n", "row 3"),
        ("id,path\na,../a.mp4\n", "row 2"),
        ("id,path,start,end\na,a.mp4,3,3\n", "row 2"),
    ],
)
def test_manifests_that_cannot_be_used_are_one_clear_line(tmp_path, text, says, installed):
    if text is not None:
        (tmp_path / "m.csv").write_text(text)
    finished = installed("extract", "--manifest", tmp_path / "m.csv", "--out", tmp_path / "caches", "color")
    assert finished.returncode == 1
    assert says in finished.stderr
    assert finished.stderr.count("\n") == 1


@pytest.mark.integration
def test_a_second_extraction_into_the_same_cache_at_once_is_refused(manifest, starter):
    line = ["extract", "--manifest", manifest, "--out", manifest.parent / "caches", "--batch-size", 1]
    line += [f"{ODD}:Slow", "--name", "slow"]  # the first is still at it when the second has started
    first = starter.start(line, manifest.parent / "first")
    wait_until(lambda: (manifest.parent / "caches/slow.lmdb").exists(), "no cache is made")
    second = starter.run(line, manifest.parent / "second")
    assert first.kill(everyone=True).status == -signal.SIGKILL
    assert second.status == 1
    assert "slow.lmdb" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_clip_without_sound_is_nothing_to_do_and_is_not_read_again(manifest, tmp_path):
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:400])
    write_manifest(manifest, [Clip("a", tmp_path / "a.mp4"), Clip("b", tmp_path / "b.mp4")])
    line = (manifest, "waveform", "--rate", 8000)
    first = extract(*line)
    assert first.exit_code == 0, first.output
    cache = tmp_path / "caches/waveform.lmdb"
    assert "nothing to do for 2 clips without sound" in " ".join(first.stderr.split())
    assert [len(open_store(cache)[id].values) for id in "ab"] == [0, 0]
    assert not (tmp_path / "caches/waveform.lmdb.failed.csv").exists()
    for name in "ab":
        os.rename(tmp_path / f"{name}.mp4", tmp_path / f"{name}.gone")
    again = extract(*line)
    assert again.exit_code == 0, again.output
    assert "nothing to do for 2 clips without sound" in " ".join(again.stderr.split())
    for name in "ab":
        os.rename(tmp_path / f"{name}.gone", tmp_path / f"{name}.mp4")
    listed = CliRunner().invoke(root, ["rebuild", "--dry-run", "--json", str(cache)])
    assert [found["state"] for found in json.loads(listed.stdout)["caches"]] == ["fresh"]


def test_no_sound_hides_no_other_failure(manifest, tmp_path):
    video = cut(write_noisy(tmp_path / "v.mkv", noisy(60)), 0.5)
    sound = write_sound(tmp_path / "c.wav", np.ones((1, 4000)) * 0.1, 8000)
    write_manifest(manifest, [Clip("v", video), Clip("c", sound)])
    result = extract(manifest, "color", "waveform", "--rate", 8000)
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    for part in ("failed: v: ", "frames can be read", "failed: c: ", "no video stream", "2 clips failed"):
        assert part in said


def test_sound_that_cannot_be_decoded_is_a_failure(manifest, tmp_path):
    path = write_sound(tmp_path / "c.wav", np.ones((1, 16000)) * 0.1, 16000)
    data = path.read_bytes()
    path.write_bytes(data[:20] + b"\x77\x77" + data[22:])  # a kind of sound that nobody has
    write_manifest(manifest, [Clip("c", path)])
    result = extract(manifest, "--json", "waveform")
    assert result.exit_code == 1
    (failed,) = json.loads(result.stdout)["caches"][str(tmp_path / "caches/waveform.lmdb")]["failed"]
    assert "its audio codec cannot be decoded" in failed["error"]


def test_devices_and_odd_names_are_the_failures_of_their_clips(manifest, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    write_video(tmp_path / "a.mp4", 5)
    os.symlink("/dev/zero", tmp_path / "frames.png")
    os.symlink("/dev/zero", tmp_path / "stack.npy")
    rows = [("a", "a.mp4"), ("zero", "/dev/zero"), ("pipe", "pipe.mp4"), ("long", "x" * 5000)]
    rows += [(name, tmp_path / name) for name in ("frames.png", "stack.npy")]
    manifest.write_text("id,path,fps\n" + "".join(f"{id},{path},10\n" for id, path in rows))
    result = extract(manifest, "--json", "color", "waveform")
    assert result.exit_code == 1
    for cache in json.loads(result.stdout)["caches"].values():
        reasons = {item["id"]: item["error"] for item in cache["failed"]}
        assert reasons.keys() == {"zero", "pipe", "frames.png", "stack.npy", "long"}
        assert all("not a regular file" in reason for id, reason in reasons.items() if id != "long")
        assert "file name too long" in reasons["long"]
    checked = CliRunner().invoke(root, ["manifest", "check", str(manifest), "--json"])
    found = {item["id"]: item["detail"] for item in json.loads(checked.stdout)["problems"]}
    assert found.keys() == {"zero", "pipe", "frames.png", "stack.npy", "long"}


def test_a_name_that_no_file_can_have_is_one_line(manifest):
    result = extract(manifest, "color", "--name", "n" * 300)
    assert isinstance(result.exception, EgotoolsError)
    assert "the cache's name has 305 bytes" in str(result.exception)
    line = ["extract", "--manifest", str(manifest), "--out", "o" * 300, "color"]
    error = CliRunner().invoke(root, line).exception
    assert isinstance(error, EgotoolsError)
    assert "cannot be a cache: File name too long" in str(error)


def test_too_few_open_files_are_one_line(manifest):
    line = f"ulimit -n 10; exec {EGOTOOLS} manifest check {manifest}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Too many open files" in done.stderr
    assert "Traceback" not in done.stderr


def test_more_rows_than_a_clip_can_have_are_refused(manifest):
    result = extract(manifest, "--json", "color", "--fps", 1e9)
    (cache,) = json.loads(result.stdout)["caches"].values()
    assert all("rows for one clip" in item["error"] for item in cache["failed"])
    assert len(cache["failed"]) == 2
