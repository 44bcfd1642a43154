"""The stream: ids, labels and times as specified, and frames that are bit-equal whenever they are read again."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from fill import DATA
from PIL import Image

from egotools.errors import ClipError, TrainingError
from egotools.methods.storyboard.labels import by_length
from egotools.methods.storyboard.reading import Reader
from egotools.methods.storyboard.stream import Stream, stream_of
from egotools.types import Clip, Frame, IntArray


@pytest.fixture(scope="module")
def b_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 frames of 64x48 pixels at 10 Hz: H.264 with B frames, key frames every twelve, open groups of pictures."""
    path = tmp_path_factory.mktemp("stream") / "b.mp4"
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (12, 66, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as container:
        options = {"crf": "20", "g": "12", "bf": "3", "x264-params": "open-gop=1:b-adapt=0:scenecut=0"}
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(50):
            image = np.ascontiguousarray(cells[:, 3 * number : 3 * number + 64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven numbered pictures; that of place k is 10 k bright."""
    path = tmp_path_factory.mktemp("folder")
    for number in range(7):
        Image.fromarray(np.full((30, 40, 3), 10 * number, np.uint8)).save(path / f"{number:06d}.png")
    return path


def ids_of(*ids: int) -> IntArray:
    return np.array(ids, np.int64)


def counted_clips(folder: Path, counts: dict[str, int]) -> list[Clip]:
    for name, count in counts.items():
        np.save(folder / f"{name}.npy", np.zeros((count, 2, 2, 3), np.uint8))
    return [Clip(name, folder / f"{name}.npy", fps=10.0) for name in counts]


def test_ids_videos_and_labels_are_the_references(tmp_path):
    stream = stream_of(counted_clips(tmp_path, {"v_a": 37, "v_b": 5, "v_c": 64, "v_d": 18}))
    ids = np.arange(len(stream))
    with np.load(DATA / "storyboard" / "stream_index.npz", allow_pickle=False) as recorded:
        assert len(stream) == recorded["cl20_sub1.n"]
        for name, labels in (("cl20_sub1", by_length(20)), ("clNone_sub1", stream.clip_numbers)):
            np.testing.assert_array_equal(recorded[f"{name}.frame_id"], ids)
            np.testing.assert_array_equal(stream.clip_numbers(ids), recorded[f"{name}.video"])
            np.testing.assert_array_equal(labels(ids), recorded[f"{name}.label"])
            np.testing.assert_allclose(stream.times(ids), recorded[f"{name}.frame_in_video"] / 10)
    with pytest.raises(ValueError, match="0 to 123"):
        stream.clip_numbers(ids_of(124))


def test_frames_read_again_by_any_ids_are_the_same_bytes(b_frames, rng):
    stream = stream_of([Clip("b", b_frames)])
    everything = list(stream.frames(np.arange(50)))
    assert len({frame.tobytes() for frame in everything}) == 50
    some = [np.sort(rng.choice(50, count, replace=False)) for count in (1, 2, 3, 5, 9, 20, 33)]
    borders = [ids_of(11, 12, 13), ids_of(12), ids_of(11), ids_of(23, 25), ids_of(0, 49), ids_of(24), ids_of(48)]
    for ids in [*some, *borders]:
        for each, frame in zip(ids.tolist(), stream.frames(ids), strict=True):
            np.testing.assert_array_equal(frame, everything[each])
        again = stream_of([Clip("b", b_frames)]).read(ids)  # as a resumed training would
        assert all(np.array_equal(frame, everything[each]) for each, frame in zip(ids, again.frames, strict=True))


def test_clips_follow_each_other_in_the_manifests_order_and_cover_their_times(b_frames, folder):
    clips = [Clip("z", b_frames, start=2.0, end=3.0), Clip("folder", folder, fps=5.0), Clip("a", b_frames, end=0.5)]
    stream = stream_of(clips)
    assert stream.starts.tolist() == [0, 10, 17, 22]
    assert stream.times(ids_of(0, 9, 10, 16, 17)) == pytest.approx([2.0, 2.9, 0.0, 1.2, 0.0])
    found = list(stream.frames(ids_of(0, 12, 16, 17)))
    whole = list(stream_of([Clip("b", b_frames)]).frames(ids_of(0, 20)))
    np.testing.assert_array_equal(found[0], whole[1])
    assert [int(frame[0, 0, 0]) for frame in found[1:3]] == [20, 60]
    np.testing.assert_array_equal(found[3], whole[0])


def test_another_rate_takes_or_repeats_frames_as_egotools_frames_does(b_frames, folder):
    slow = stream_of([Clip("b", b_frames), Clip("folder", folder, fps=5.0)], fps=2.0)
    assert len(slow) == 10 + 3
    assert slow.times(ids_of(0, 1, 9)) == pytest.approx([0.2, 0.7, 4.7])  # the middles of half seconds
    fast = stream_of([Clip("folder", folder, fps=5.0)], fps=10.0)
    frames = list(fast.frames(ids_of(0, 1, 2, 3)))
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 0, 10, 10]
    assert not np.shares_memory(frames[0], frames[1])


def test_high_frames_are_reduced_and_low_ones_left(b_frames, folder):
    stream = stream_of([Clip("b", b_frames), Clip("folder", folder, fps=5.0)], height=36)
    assert [frame.shape for frame in stream.frames(ids_of(3, 50))] == [(36, 48, 3), (30, 40, 3)]
    whole = next(stream_of([Clip("b", b_frames)]).frames(ids_of(3)))
    expected = np.asarray(Image.fromarray(whole).resize((48, 36), Image.Resampling.BICUBIC)).astype(int)
    away = np.abs(next(stream.frames(ids_of(3))) - expected)
    assert (away <= 1).mean() > 0.98
    assert away.max() <= 3


def test_each_file_is_opened_once_and_what_is_not_asked_for_is_skipped(b_frames, folder, monkeypatch, decoded_count):
    stream = stream_of([Clip("b", b_frames), Clip("folder", folder, fps=5.0)])
    opened = []
    real = type(stream._sources[0]).open
    monkeypatch.setattr(type(stream._sources[0]), "open", lambda self: opened.append(self.path) or real(self))
    decoded_count[0] = 0
    for ids in (ids_of(0, 2), ids_of(3, 48), ids_of(50, 52), ids_of(53)):
        list(stream.frames(ids))
    assert opened == [b_frames, folder]
    assert decoded_count[0] < 30


def test_what_cannot_be_read_is_named_or_left_out(b_frames, folder, tmp_path):
    gone = Clip("gone", tmp_path / "gone.mp4")
    with pytest.raises(TrainingError, match=r"gone\.mp4"):
        stream_of([gone, Clip("b", b_frames)])
    stream = stream_of([gone, Clip("b", b_frames)], skip_unreadable=True)
    assert len(stream) == 50
    assert any("1 clip left out" in remark and "gone.mp4" in remark for remark in stream.remarks)
    with pytest.raises(TrainingError, match="no clip can be read"):
        stream_of([gone], skip_unreadable=True)
    with pytest.raises(TrainingError, match="'late'"):
        stream_of([Clip("late", Path())])
    with pytest.raises(ValueError, match="--height"):
        stream_of([Clip("b", b_frames)], height=0)


def test_a_frame_that_cannot_be_decoded_is_named_or_counted(folder, tmp_path):
    broken = tmp_path / "frames"
    broken.mkdir()
    for file in folder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    stream = stream_of([Clip("c", broken, fps=5.0)])
    (broken / "000003.png").write_bytes(b"no picture")
    os.utime(broken, ns=(0, stream._sources[0].written))
    with pytest.raises(ClipError, match=r"000003\.png"):
        list(stream.frames(np.arange(7)))
    found = stream.read(np.arange(7), skip_unreadable=True)
    assert found.ids.tolist() == [0, 1, 2, 4, 5, 6]
    assert [int(frame[0, 0, 0]) for frame in found.frames] == [0, 10, 20, 40, 50, 60]
    assert list(found.unreadable) == [3]
    with pytest.raises(TrainingError, match=r"000003\.png"):
        list(Reader(stream, in_steps, workers=0)(0))


def test_what_was_looked_up_is_kept_with_the_run(b_frames, tmp_path, monkeypatch):
    kept = tmp_path / "files.npz"
    first = stream_of([Clip("b", b_frames)], kept)
    monkeypatch.setattr("egotools.loading.kept_files.looked_up", lambda *_, **__: pytest.fail("looked up again"))
    again = stream_of([Clip("b", b_frames)], kept)
    assert len(again) == len(first)
    np.testing.assert_array_equal(next(again.frames(ids_of(7))), next(first.frames(ids_of(7))))


def in_steps(first: int) -> Iterator[IntArray]:
    """Three new frames a step, none in the third."""
    for step in range(first, 7):
        yield np.arange(0) if step == 2 else np.arange(3 * step, 3 * step + 3)


def killing(first: int) -> Iterator[IntArray]:
    yield np.arange(3)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def stream(b_frames: Path, folder: Path) -> Stream:
    return stream_of([Clip("folder", folder, fps=5.0), Clip("b", b_frames)])


@pytest.mark.parametrize("workers", [0, 1])
def test_the_reader_gives_what_each_step_needs_from_any_step_on(stream, workers, monkeypatch):
    everything: list[Frame] = list(stream.frames(np.arange(21)))
    reader = Reader(pickle.loads(pickle.dumps(stream)), in_steps, workers=workers)
    for first in (0, 4):
        steps = list(reader(first))
        assert [read.ids.tolist() for read in steps] == [ids.tolist() for ids in in_steps(first)]
        for read in steps:
            assert not read.unreadable
            for each, frame in zip(read.ids.tolist(), read.frames, strict=True):
                np.testing.assert_array_equal(frame, everything[each])
    spent = reader.spent()
    assert spent["decoding"] > 0
    assert set(spent) == {"decoding", "waiting"}


def test_a_step_that_needs_much_comes_in_pieces(stream, monkeypatch):
    monkeypatch.setattr("egotools.methods.storyboard.reading.MOST", 4)
    (read,) = Reader(stream, lambda _: iter([np.arange(57)]), workers=0)(0)
    assert read.ids.tolist() == list(range(57))
    assert all(np.array_equal(*pair) for pair in zip(read.frames, stream.frames(np.arange(57)), strict=True))


def test_a_killed_reader_ends_the_training_in_one_line(stream):
    with pytest.raises(TrainingError, match="was killed"):
        list(Reader(stream, killing)(0))
