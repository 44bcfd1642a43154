"""The engine, on small real videos with extractors of its own and with torchvision's networks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_video
from extracted import ODD, assert_same_rows, committed, rows_of, want
from faults import interruptible
from PIL import Image

from egotools.errors import ExtractorError, RecipeError, StoreError
from egotools.extraction.engine import extract
from egotools.extraction.messages import Piece
from egotools.extraction.reading import Reader
from egotools.extraction.request import CacheRequest, Extraction, Resources
from egotools.extractors.lookup import find_extractor
from egotools.manifests.table import read_manifest
from egotools.media.video import open_frames
from egotools.stores import Writer, open_store
from egotools.types import Clip

ONE = Resources(device="cpu", workers=1)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, 10 Hz: `a` of 20 frames, `b` of 7, `c` of 33."""
    folder = tmp_path_factory.mktemp("videos")
    for name, frames in (("a", 20), ("b", 7), ("c", 33)):
        write_video(folder / f"{name}.mp4", frames, first=ord(name))
    return folder


def clips_of(folder: Path, *names: str) -> list[Clip]:
    return [Clip(name, folder / f"{name}.mp4") for name in names or ("a", "b", "c")]


def test_every_frame_of_every_clip_gives_its_own_row(videos, tmp_path):
    wanted = want(tmp_path, "Brightness")
    result = extract(clips_of(videos), [wanted], resources=ONE)
    assert (result.done, result.rows) == ({wanted.cache: 3}, 60)
    store = open_store(wanted.cache)
    for id in "abc":
        video = open_frames(videos / f"{id}.mp4")
        expected = [frame.mean(axis=(0, 1)).round().mean() for frame in video.frames(range(len(video.info)))]
        np.testing.assert_allclose(store[id].values[:, 0], expected, rtol=1e-6)
        np.testing.assert_allclose(store[id].times[:, 0], video.info.times)


def test_rows_agree_with_the_model_run_by_hand_on_pillow_frames(videos, tmp_path):
    from torchvision import models

    wanted = want(tmp_path, "torchvision:resnet18", weights="random:0", frames=3)
    extract(clips_of(videos), [wanted], resources=ONE)
    torch.manual_seed(0)
    network = models.resnet18(weights=None).eval()
    network.fc = torch.nn.Identity()
    transform = models.ResNet18_Weights.DEFAULT.transforms()
    for id, rows in rows_of(wanted).items():
        video = open_frames(videos / f"{id}.mp4")
        count = len(video.info)
        middles = [int((part + 0.5) * count / 3) for part in range(3)]
        images = torch.stack([transform(Image.fromarray(frame)) for frame in video.frames(middles)])
        with torch.inference_mode():
            expected = network(images)
        assert torch.cosine_similarity(expected, torch.from_numpy(rows)).min() > 0.9999


def test_video_rows_agree_with_the_model_run_by_hand(videos, tmp_path):
    from torchvision import models

    wanted = want(tmp_path, "torchvision:r2plus1d_18", weights="random:0", frames=4, fps=10.0, clips=2)
    extract(clips_of(videos, "a"), [wanted], resources=ONE)
    torch.manual_seed(0)
    network = models.video.r2plus1d_18(weights=None).eval()
    network.fc = torch.nn.Identity()
    transform = models.video.R2Plus1D_18_Weights.DEFAULT.transforms()
    frames = np.stack(list(open_frames(videos / "a.mp4").frames(range(20))))
    stacks = torch.stack([transform(torch.from_numpy(frames[at : at + 4]).permute(0, 3, 1, 2)) for at in (0, 16)])
    with torch.inference_mode():
        expected = network(stacks)
    assert torch.cosine_similarity(expected, torch.from_numpy(rows_of(wanted)["a"])).min() > 0.9999


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (3, 2), (64, 3)])
def test_rows_depend_on_nothing_that_runs_beside_them(videos, tmp_path, batch_size, workers):
    def network(folder: Path) -> CacheRequest:
        return want(folder, "torchvision:squeezenet1_1", weights="random:1", fps=7.0, resize="64x64")

    alone, beside = network(tmp_path / "alone"), network(tmp_path / "beside")
    extract(clips_of(videos), [alone], resources=ONE)
    company = [want(tmp_path / "beside", "Backwards"), beside, want(tmp_path / "beside", "color")]
    extract(clips_of(videos), company, resources=Resources("cpu", batch_size, workers))
    assert_same_rows(rows_of(alone), rows_of(beside))


def test_rows_stand_in_the_order_of_their_windows_whatever_the_order_of_frames(videos, tmp_path):
    wanted, forwards = want(tmp_path, "Backwards"), want(tmp_path, "Brightness")
    extract(clips_of(videos), [wanted, forwards], resources=Resources("cpu", 4, 1))
    backwards, straight = rows_of(wanted), rows_of(forwards)
    for id in "abc":
        np.testing.assert_allclose(backwards[id][::-1, 0], straight[id][:, 0], atol=0.5)  # a mean of rounded means


def test_a_second_run_has_nothing_to_do_and_a_longer_manifest_adds_to_the_cache(videos, tmp_path):
    wanted = want(tmp_path, "Brightness")
    extract(clips_of(videos, "a", "b"), [wanted], resources=ONE)
    again = extract(clips_of(videos, "a", "b"), [wanted], resources=ONE)
    assert (again.done[wanted.cache], again.skipped[wanted.cache], again.rows) == (0, 2, 0)
    longer = extract(clips_of(videos), [wanted], resources=ONE)
    assert (longer.done[wanted.cache], longer.skipped[wanted.cache]) == (1, 2)


def test_a_cache_made_with_other_options_is_refused_and_untouched(videos, tmp_path):
    wanted = want(tmp_path, "color")
    extract(clips_of(videos, "a"), [wanted], resources=ONE)
    with pytest.raises(RecipeError, match=r"bins=8, not 4"):
        extract(clips_of(videos), [want(tmp_path, "color", bins=4)], resources=ONE)
    assert list(open_store(wanted.cache)) == ["a"]


def test_clips_whose_times_or_file_changed_since_are_named(videos, tmp_path):
    video = write_video(tmp_path / "v.mp4", 10)
    wanted = want(tmp_path, "Brightness")
    clips = [Clip("same", videos / "a.mp4"), Clip("moved", videos / "a.mp4", 0.0, 1.0), Clip("rewritten", video)]
    assert extract(clips, [wanted], resources=ONE).is_complete
    write_video(video, 25)
    clips[1] = Clip("moved", videos / "a.mp4", 0.5, 1.5)
    result = extract(clips, [wanted], resources=ONE)
    assert result.changed[wanted.cache] == ["moved", "rewritten"]
    assert not result.is_complete


def test_a_bad_clip_is_recorded_and_the_others_go_on(videos, tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    bad = [Clip("text", tmp_path / "text.mp4"), Clip("late", videos / "a.mp4", start=50.0)]
    bad += [Clip("long", videos / "a.mp4", 0.0, 9.0), Clip("gone", tmp_path / "gone.mp4"), Clip("rowless", Path())]
    wanted = [want(tmp_path, "Brightness"), want(tmp_path, "color")]
    result = extract([*bad, *clips_of(videos)], wanted, resources=ONE)
    assert result.done == {wanted[0].cache: 5, wanted[1].cache: 3}  # Brightness minds no times outside the file
    recorded = read_manifest(tmp_path / "color.lmdb.failed.csv")
    assert {clip.id for clip in recorded} == {"text", "late", "long", "gone", "rowless"}
    reasons = {clip.id: clip.labels["error"] for clip in recorded}
    assert "50 s" in reasons["late"]
    assert "9 s" in reasons["long"]
    assert "gone.mp4" in reasons["gone"]


def test_a_clip_that_was_mended_leaves_the_list_of_failures(tmp_path):
    clip = Clip("new", tmp_path / "new.mp4")
    wanted = want(tmp_path, "Brightness")
    assert extract([clip], [wanted], resources=ONE).failed[wanted.cache]
    write_video(clip.path, 5)
    assert not extract([clip], [wanted], resources=ONE).failed[wanted.cache]
    assert not (tmp_path / "brightness.lmdb.failed.csv").exists()


def test_a_truncated_video_is_a_named_failure_but_its_readable_part_can_be_had(shared, tmp_path):
    whole = (shared / "data/videos/flipping_a_pancake.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    wanted = want(tmp_path, "color")
    clips = [Clip("whole", tmp_path / "cut.mkv"), Clip("start", tmp_path / "cut.mkv", 0.0, 2.0)]
    result = extract(clips, [wanted], resources=ONE)
    assert [clip.id for clip, _ in result.failed[wanted.cache]] == ["whole"]
    assert "truncated" in result.failed[wanted.cache][0][1]
    assert len(open_store(wanted.cache)["start"].values) == 2


def test_a_decoder_that_crashes_once_costs_nothing(videos, tmp_path):
    wanted = want(tmp_path, "Crashing", marker=tmp_path / "crashed", once=True)
    clips = [*clips_of(videos), Clip("crash", videos / "c.mp4")]
    result = extract(clips, [wanted], resources=Resources("cpu", 8, 2))
    assert result.done[wanted.cache] == 4
    assert_same_rows({"c": rows_of(wanted)["c"]}, {"c": rows_of(wanted)["crash"]})


def test_a_decoder_that_crashes_twice_is_recorded_and_the_others_go_on(videos, tmp_path):
    wanted = want(tmp_path, "Crashing", marker=tmp_path / "crashed")
    clips = [*clips_of(videos), Clip("crash", videos / "a.mp4"), *(Clip(f"x{n}", videos / "b.mp4") for n in range(6))]
    result = extract(clips, [wanted], resources=Resources("cpu", 8, 2))
    assert result.done[wanted.cache] == 9
    ((clip, reason),) = result.failed[wanted.cache]
    assert clip.id == "crash"
    assert "crashed twice" in reason


def test_rows_that_are_not_finite_fail_their_clip(videos, tmp_path):
    write_video(tmp_path / "bright.mp4", 10, first=60)
    clips = [Clip("bright", tmp_path / "bright.mp4"), *clips_of(videos, "c")]
    wanted = want(tmp_path, "NotFinite")
    extract(clips, [wanted], resources=ONE)
    failed = read_manifest(tmp_path / "notfinite.lmdb.failed.csv")
    assert "bright" in {clip.id for clip in failed}
    assert all("not finite" in clip.labels["error"] for clip in failed)


def test_a_clip_without_windows_is_a_clip_without_rows(videos, tmp_path):
    wanted = [want(tmp_path, "Nothing"), want(tmp_path, "color")]
    assert extract(clips_of(videos), wanted, resources=ONE).done == {each.cache: 3 for each in wanted}
    assert len(open_store(wanted[0].cache)["a"].values) == 0


def test_an_extractor_of_whole_files_fails_clip_by_clip(videos, tmp_path):
    wanted = want(tmp_path, "FileSize")
    result = extract([*clips_of(videos), Clip("refused", videos / "a.mp4")], [wanted], resources=ONE)
    assert [clip.id for clip, _ in result.failed[wanted.cache]] == ["refused"]
    assert rows_of(wanted)["a"][0, 0] == (videos / "a.mp4").stat().st_size


def test_a_network_that_gives_no_rows_is_refused_by_name(videos, tmp_path):
    with pytest.raises(ExtractorError, match=r"FlatRows: its network gives .* not \[B, D\]"):
        extract(clips_of(videos), [want(tmp_path, "FlatRows")], resources=ONE)


def test_a_size_that_a_network_cannot_take_is_one_clear_line(videos, tmp_path):
    pytest.importorskip("timm")
    wanted = want(tmp_path, "timm:levit_128s", weights="random:0", frames=1, crop="100")
    with pytest.raises(ExtractorError, match=r"levit_128s: its network refuses windows .*100"):
        extract(clips_of(videos, "a"), [wanted], resources=ONE)


def test_a_mistake_in_an_extractor_ends_the_run_and_names_the_clip(videos, tmp_path):
    with pytest.raises(ExtractorError, match="an extractor failed on clip 'a'"):
        extract(clips_of(videos), [want(tmp_path, "Buggy")], resources=ONE)


def test_half_precision_and_hdf5_hold_the_same_rows(videos, tmp_path):
    exact, half = want(tmp_path, "color"), want(tmp_path, "color", cache="half", suffix=".h5")
    half = replace(half, dtype="float16")
    extract(clips_of(videos), [exact], resources=ONE)
    extract(clips_of(videos), [half], resources=ONE)
    rows = rows_of(half)
    assert rows["a"].dtype == np.float16
    np.testing.assert_allclose(rows["c"], rows_of(exact)["c"], atol=1e-3)


def test_a_full_disk_keeps_what_was_committed_and_ends_the_run(videos, tmp_path, monkeypatch):
    from egotools.extraction import writing

    real = writing.open_writer

    def filling(path: Path, recipe: Any) -> Writer:
        writer = real(path, recipe)
        append, count = writer.append, []

        def full(id: str, rows: Any) -> None:
            count.append(id)
            if len(count) > 2:
                raise StoreError("disk full")
            append(id, rows)
            writer.commit()

        monkeypatch.setattr(writer, "append", full)
        return writer

    monkeypatch.setattr(writing, "open_writer", filling)
    monkeypatch.setattr(writing, "COMMIT_SECONDS", 0.0)
    wanted = want(tmp_path, "Brightness")
    with pytest.raises(StoreError, match="disk full"):
        extract(clips_of(videos), [wanted], resources=ONE)
    monkeypatch.undo()
    result = extract(clips_of(videos), [wanted], resources=ONE)
    assert result.done[wanted.cache] + result.skipped[wanted.cache] == 3


@pytest.mark.integration
def test_a_script_without_a_guarded_main_part_is_told_so(videos, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from egotools.extraction.request import Resources, CacheRequest\n"
        "from egotools.extraction.engine import extract\n"
        "from egotools.extractors.lookup import find_extractor\n"
        "from egotools.types import Clip\n"
        "found = find_extractor('color')\n"
        f"clip = Clip('a', Path({str(videos / 'a.mp4')!r}))\n"
        "extract([clip], [CacheRequest(Path('c.lmdb'), found.kind(), found)], resources=Resources('cpu', workers=1))\n"
    )
    finished = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "must have its main part under: if __name__ == '__main__'" in finished.stderr.splitlines()[-1]


def test_progress_ends_at_the_number_of_clips(videos, tmp_path):
    seen: list[tuple[object, ...]] = []
    wanted = [want(tmp_path, "Brightness"), want(tmp_path, "color")]
    (tmp_path / "text.mp4").write_text("no")
    clips = [*clips_of(videos), Clip("text", tmp_path / "text.mp4")]
    extract(clips, wanted, resources=ONE, progress=lambda *told: seen.append(told))
    assert seen[-1][1:3] == (pytest.approx(4), 4)
    done = [each[1] for each in seen]
    assert done == sorted(done)


def test_a_reading_process_whose_engine_ended_before_it_told_it_anything_ends_without_a_word():
    code = "import multiprocessing as m, egotools.extraction.readers as r; a, b = m.Pipe(); a.close(); r._work(b)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")


def run_and_interrupt(manifest: Path, out: Path) -> int:
    """Sends Ctrl-C to `egotools extract` once its first clips are committed."""
    line = [Path(sys.executable).with_name("egotools"), "extract", "--manifest", manifest, "--out", out]
    line += ["--batch-size", "2", "--workers", "1", f"{ODD}:Slow"]
    with interruptible():
        process = subprocess.Popen([str(word) for word in line], stderr=subprocess.PIPE, start_new_session=True)
    while process.poll() is None and not committed(out / "slow.lmdb"):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert b"Traceback" not in error
    assert b"rerun the command to resume" in error
    return process.returncode


@pytest.mark.integration
def test_ctrl_c_keeps_finished_clips_and_the_same_line_goes_on(videos, tmp_path):
    from egotools.manifests.table import write_manifest

    clips = [Clip(f"{name}{n}", videos / f"{name}.mp4") for n in range(3) for name in "abc"]
    write_manifest(tmp_path / "m.csv", clips)
    assert run_and_interrupt(tmp_path / "m.csv", tmp_path / "out") == 130
    wanted = want(tmp_path / "out", "Slow")
    kept = len(open_store(wanted.cache))
    assert 0 < kept < 9
    assert extract(clips, [wanted], resources=ONE).skipped[wanted.cache] == kept
    whole = want(tmp_path / "whole", "Slow")
    extract(clips, [whole], resources=ONE)
    assert_same_rows(rows_of(whole), rows_of(wanted))


def test_many_clips_of_one_file_open_it_once_and_never_go_back(videos, monkeypatch):
    from egotools.extraction import reading

    opened: list[Path] = []
    wanted_frames: list[int] = []

    def counting(path: Path, fps: float | None, look: Any) -> Any:
        opened.append(path)
        video = open_frames(path, fps, look)
        frames = video.frames

        def seen(indices: Any) -> Any:
            wanted_frames.extend(indices)
            return frames(indices)

        monkeypatch.setattr(video, "frames", seen)
        return video

    monkeypatch.setattr(reading, "open_frames", counting)
    reader = Reader([find_extractor("color").kind(frames=1)], 8)
    for number in range(33):
        (piece,) = reader.read(Clip(str(number), videos / "c.mp4", number / 10, (number + 1) / 10), [0], number, 0)
        assert isinstance(piece, Piece)
    assert len(opened) == 1
    assert wanted_frames == list(range(33))


def test_frames_are_prepared_once_and_let_go_when_no_window_needs_them(videos):
    prepared: list[int] = []

    class Watching(find_extractor(f"{ODD}:Backwards").kind):  # type: ignore[misc]
        def windows(self, video, clip):
            from egotools.sampling import frame_stacks

            return frame_stacks(video, clip, length=4, fps=None, hop=0.1, clips=None)

        def prepare(self, frame):
            prepared.append(1)
            return frame

    reader = Reader([Watching()], 5)
    pieces = [piece for piece in reader.read(Clip("c", videos / "c.mp4"), [0], 0, 0) if isinstance(piece, Piece)]
    assert len(prepared) == 33
    assert sum(len(piece.rows) for piece in pieces) == 30
    assert max(len(piece.units) for piece in pieces) == 8  # five windows of four frames, one frame apart


def test_an_extraction_reports_its_stages(videos, tmp_path):
    result = extract(clips_of(videos), [want(tmp_path, "color")], resources=ONE)
    assert isinstance(result, Extraction)
    assert {"decoding", "preparing", "computing", "waiting", "writing"} <= result.seconds.keys()
