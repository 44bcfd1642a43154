"""Spans of frames are the reference's, and examples of them are read in one pass."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_video
from fill import DATA
from PIL import Image

from egotools.loading.files import Files
from egotools.loading.items import random_of
from egotools.loading.kept_files import files_of, read_files, write_files
from egotools.loading.loader import loader
from egotools.loading.order import Order
from egotools.loading.spans import SpanExamples, Spans, stretches
from egotools.pixels.augmentation import Augmentation, Draw
from egotools.types import Clip


def test_spans_are_the_references():
    checked = 0
    with np.load(DATA / "memdpc" / "sampling.npz", allow_pickle=False) as recorded:
        for name in recorded:
            kind, sizes, length, *seed = name.split(".")
            blocks, length_of_block, stride = (int(part[1:]) for part in sizes.split("_"))
            spans, total = Spans(blocks * length_of_block, stride), int(length.removeprefix("len"))
            if kind == "train":
                # The reference draws with NumPy's old generator: how many starts there are decides its number.
                state = np.random.RandomState(int(seed[0].removeprefix("seed")))
                assert int(state.choice(range(total - spans.width))) == recorded[name]
                drawn = [spans.drawn(total, np.random.default_rng(k)) for k in range(40)]
                assert all(0 <= each[0] < total - spans.width for each in drawn)
                assert {each[0] for each in drawn} == {0} or total - spans.width > 1
            else:
                found = spans.overlapping(total)
                np.testing.assert_array_equal(found[:, [0, 1, -1]], recorded[name])
            checked += 1
    assert checked > 100


def test_every_start_is_drawn_and_the_last_possible_one_is_as_the_references():
    spans = Spans(4, 2)
    rng = np.random.default_rng(0)
    assert {int(spans.drawn(11, rng)[0]) for _ in range(100)} == {0, 1, 2}
    assert {int(spans.drawn(9, rng)[0]) for _ in range(10)} == {0}


def test_short_clips_are_dropped_or_padded_with_their_last_frame():
    drop, pad = Spans(4, 2), Spans(4, 2, "pad")
    assert not drop.fits(8)
    assert drop.fits(9)
    assert pad.fits(8)
    assert pad.fits(1)
    assert pad.drawn(5, np.random.default_rng(0)).tolist() == [0, 2, 4, 4]
    assert pad.overlapping(5).tolist() == [[0, 2, 4, 4]]


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """A video of 40 frames at 10 Hz twice, a folder of 12 frames, and files that cannot be used."""
    write_video(tmp_path / "a.mp4", 40)
    (tmp_path / "folder").mkdir()
    for number in range(12):
        Image.new("RGB", (64, 48), (20 + 3 * number,) * 3).save(tmp_path / "folder" / f"{number:03}.png")
    (tmp_path / "none.mp4").write_bytes(b"nothing")
    return [
        Clip("a", tmp_path / "a.mp4"),
        Clip("part", tmp_path / "a.mp4", 1.0, 2.5),
        Clip("folder", tmp_path / "folder", fps=10),
        Clip("short", tmp_path / "a.mp4", 0.0, 0.5),
        Clip("none", tmp_path / "none.mp4"),
        Clip("outside", tmp_path / "a.mp4", 9.0),
    ]


def test_a_clip_that_goes_on_after_the_end_of_a_file_that_is_cut_short_is_unreadable(clips, tmp_path):
    (tmp_path / "folder" / "005.png").unlink()
    looked_up = files_of(clips[:3])
    whole = looked_up.sources[clips[0].path]
    assert whole.index is not None
    frames = replace(whole.index.frames, damage="truncated: 3 of 43 frames are missing")
    cut = replace(whole, index=replace(whole.index, frames=frames))
    files = Files({**looked_up.sources, cut.path: cut}, {})
    write_files(tmp_path / "kept.npz", files)
    for found in (files, read_files(tmp_path / "kept.npz")):
        there, short, failed = stretches(clips[:3], found, Spans(4, 2))
        assert ([each.clip.id for each in there], short) == (["part", "folder"], [])
        assert failed == {"a": f"{cut.path}: truncated: 3 of 43 frames are missing"}
        assert found.sources[tmp_path / "folder"].remarks == (
            "1 frame is missing of 12 (number 5); the one before is shown until the next",
        )


def test_clips_are_sorted_into_those_with_spans_too_short_ones_and_unreadable_ones(clips):
    found, short, failed = stretches(clips, files_of(clips), Spans(4, 2))
    assert [(each.clip.id, each.first, each.count) for each in found] == [
        ("a", 0, 40),
        ("part", 10, 15),
        ("folder", 0, 12),
    ]
    assert [clip.id for clip in short] == ["short"]
    assert set(failed) == {"none", "outside"}
    assert "begins at 9 s" in failed["outside"]


def test_an_example_has_the_frames_of_its_span_in_one_pass(clips, decoded_count):
    found, _, _ = stretches(clips, files_of(clips), Spans(4, 2))
    labels = {"label": np.array([5, 6, 7])}
    plain = Augmentation(crop=32, crop_p=0.0, flip_p=0.0)
    examples = SpanExamples(found, Spans(4, 2), 32, plain, labels)
    for index, base in ((1, 30), (2, 0), (0, 0)):
        decoded_count[0] = 0
        example = examples.example(index, random_of(0, 0, index))
        assert example["frames"].shape == (4, 32, 32, 3)
        assert example["label"] == labels["label"][index]
        levels = np.median(example["frames"][..., 2].reshape(4, -1), axis=1)  # frame k has the level 20 + 3 k
        numbers = np.round((levels - 20) / 3)
        assert np.diff(numbers).tolist() == [2, 2, 2]
        assert numbers[0] >= base / 3
        assert decoded_count[0] <= 40
    assert examples.example(0, random_of(0, 3, 0))["boxes"].tolist() == [[16, 8, 32, 32]] * 4


def test_padded_frames_are_the_last_one(clips):
    spans = Spans(4, 2, "pad")
    found, short, _ = stretches(clips, files_of(clips), spans)
    assert not short
    example = SpanExamples(found, spans, 16, Augmentation(crop=32), {}).example(3, random_of(0, 0, 3))  # 5 frames
    assert (example["frames"][2] == example["frames"][3]).all()
    assert (example["frames"][1] != example["frames"][2]).any()


def test_batches_of_real_frames_have_the_same_bits_in_a_worker(clips):
    found, _, _ = stretches(clips, files_of(clips), Spans(4, 2))
    examples = SpanExamples(found, Spans(4, 2), 16, Augmentation(crop=32, gray_p=0.5), {})
    for index in range(3):
        examples.example(index, random_of(0, 0, index))
    assert not pickle.loads(pickle.dumps(examples._open))._open  # no open file travels
    order = Order(3, 3, seed=0, epochs=2)
    one, other = (
        list(loader(examples, order, seed=0, workers=workers, device=torch.device("cpu"), finish=dict)(0))
        for workers in (0, 1)
    )
    for mine, theirs in zip(one, other, strict=True):
        assert set(mine) == {"frames", *Draw.__annotations__}
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
