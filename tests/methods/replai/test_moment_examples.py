"""What RepLAI's networks are shown: which frames, which sound, of which clips, and always the same bits."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audible import sounding, write_audible
from media_files import noisy, number_of
from torch.utils.data import default_collate

from egotools.errors import ClipError
from egotools.loading.files import Source, look_up
from egotools.loading.items import why_unread
from egotools.loading.kept_files import files_of
from egotools.loading.loader import loader
from egotools.loading.order import Order
from egotools.manifests.table import read_manifest
from egotools.media.video import JUMP
from egotools.methods.replai.evaluation import Tried
from egotools.methods.replai.examples import (
    Audible,
    MomentExamples,
    drawn_moment,
    finish,
    frames_around,
    usable,
)
from egotools.methods.replai.options import Sampling
from egotools.nn.log_mel import ReplaiLogMel
from egotools.nn.resampled import resampled
from egotools.types import Clip

SEEN = 0b11101110
CPU = torch.device("cpu")
WHOLE = Sampling(size=64, min_size=64, max_size=64, moi="random")  # the square is as high as the test's frames


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds at 16 frames and 16,000 samples a second; numbered frames with noise below."""
    frames = noisy(96, width=96)
    return write_audible(tmp_path_factory.mktemp("videos") / "a.mp4", seconds=6, channels=2, frames=frames)


@pytest.fixture(scope="module")
def source(video: Path) -> Source:
    found = look_up((video, None), sound=True)
    assert isinstance(found, Source)
    return found


def audible(source: Source, *moments: float) -> Audible:
    return Audible(Clip("a", source.path, 0.0, source.info.end), source, np.array(moments) if moments else None)


def shown(source: Source, moment: float, sampling: Sampling = WHOLE) -> dict[str, Any]:
    """The example of one moment, not augmented."""
    return MomentExamples([audible(source, moment)], sampling, augment=False).example(0, rng())


def numbers(frames: np.ndarray) -> list[int]:
    """The numbers that frames show, but for the bits of the first column, which the square in the middle cuts off."""
    return [number_of(np.pad(frame, ((0, 0), (16, 16), (0, 0)))) for frame in frames]


def test_frames_before_and_after_the_moment(source):
    found = shown(source, 3.0)
    assert found["before"].shape == found["after"].shape == (8, 64, 64, 3)
    assert found["before"].dtype == np.uint8
    # 2.4 s to 2.9 s, and 3.1 s to 3.6 s
    assert numbers(found["before"]) == [number & SEEN for number in range(39, 47)]
    assert numbers(found["after"]) == [number & SEEN for number in range(50, 58)]


def test_sound_around_the_moment_is_resampled_and_silent_outside_of_the_file(source, tmp_path):
    whole = sounding(6.0, 16000, 2).mean(0)
    for moment in (3.0, 3.00003, 0.6, 5.4):
        first = round((moment - 1) * 16000)
        expected = np.pad(whole, 16000)[first + 16000 :][:32000]
        found = shown(source, moment)["sound"]
        assert (found.dtype, found.shape) == (np.float32, (32000,))
        np.testing.assert_allclose(found, expected, atol=2e-4)
    path = write_audible(tmp_path / "b.mp4", seconds=3, rate=44100, sound=1.5, size=(64, 64))
    other = look_up((path, None), sound=True)
    assert isinstance(other, Source)
    found = shown(other, 1.3)["sound"]
    samples = np.pad(sounding(1.5, 44100)[0], (0, 88200))[round(0.3 * 44100) : round(2.3 * 44100)]
    np.testing.assert_allclose(found, resampled(torch.from_numpy(samples), 44100, 16000).numpy()[:32000], atol=2e-4)
    assert not found[20000:].any()


@pytest.mark.parametrize(("fps", "each"), [(8, 2), (30, 1)])
def test_other_frame_rates_give_as_many_frames(fps, each, tmp_path):
    path = write_audible(tmp_path / "a.mp4", seconds=3, fps=fps, size=(64, 64))
    other = look_up((path, None), sound=True)
    assert isinstance(other, Source)
    before, after = frames_around(other, 1.5, WHOLE, rng())
    assert len(before) == len(after) == 8
    assert len(set(before.tolist())) == 8 // each
    times = other.info.times
    assert times[before].min() >= 0.9 - 1e-4
    assert times[before].max() < 1.4
    assert times[after].min() >= 1.6 - 1e-4
    assert times[after].max() < 2.1


def test_windows_at_both_ends_of_a_clip(source):
    for moment in (0.6, 5.4):
        before, after = frames_around(source, moment, WHOLE, rng())
        assert before[0] == round((moment - 0.6) * 16)
        assert after[-1] == 7 + np.ceil((moment + 0.1) * 16)
        assert len({*before.tolist(), *after.tolist()}) == 16
        assert shown(source, moment)["after"].shape == (8, 64, 64, 3)


def test_one_moment_of_a_clip_is_drawn(source):
    moments = audible(source, 1.0, 2.0, 5.0)
    found = [drawn_moment(moments, Sampling(), rng(seed)) for seed in range(300)]
    assert {moment: found.count(moment) > 70 for moment in (1.0, 2.0, 5.0)} == {1.0: True, 2.0: True, 5.0: True}
    anywhere = [drawn_moment(audible(source), WHOLE, rng(seed)) for seed in range(300)]
    assert 0.6 <= min(anywhere) < 0.9
    assert 5.1 < max(anywhere) <= 5.4


def test_both_windows_are_changed_alike_or_each_in_its_own_way(tmp_path):
    still = write_audible(tmp_path / "a.mp4", seconds=2, frames=[noisy(1, width=96)[0]] * 32)
    source = look_up((still, None), sound=True)
    assert isinstance(source, Source)
    sampling = Sampling(size=40, min_size=64, max_size=90, moi="random")
    for shared in (False, True):
        examples = MomentExamples([audible(source, 1.0)], replace(sampling, shared_augmentation=shared))
        found = [examples.example(0, rng(seed)) for seed in range(4)]
        apart = [abs(each["before"].astype(int) - each["after"]).mean() for each in found]
        assert max(apart) < 5 if shared else min(apart) > 20  # compressed, still frames are not all alike


def test_sides_are_swapped_in_training_only(source):
    for augment in (True, False):
        one, other = (
            MomentExamples([audible(source, 3.0)], replace(WHOLE, swap_sides=swap), augment=augment).example(0, rng())
            for swap in (False, True)
        )
        assert np.array_equal(one["before"], other["before"]) is not augment


def test_bits_are_the_same_for_any_number_of_workers_and_from_any_batch(source):
    sampling = replace(WHOLE, size=32, max_size=90)
    examples = MomentExamples(
        [audible(source, *np.arange(0.8, 5.0, 0.3)), audible(source), audible(source, 2.0)], sampling
    )
    assert len(examples) == 3

    def batches(workers: int, first: int = 0) -> list[Any]:
        made = loader(
            examples,
            Order(3, 1, seed=4, epochs=2),
            seed=4,
            workers=workers,
            device=CPU,
            finish=partial(finish, sampling=sampling, device=CPU),
        )
        return list(made(first))

    alone, three = batches(0), batches(3)
    assert len(alone) == 6
    for one, others in [(alone, three), (alone[2:], batches(0, 2))]:
        for batch, other in zip(one, others, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(batch, other, strict=True))
    first, second = sorted(alone[:3], key=lambda each: int(each.clips)), sorted(alone[3:], key=lambda x: int(x.clips))
    assert not any(torch.equal(a.before, b.before) for a, b in zip(first, second, strict=True))  # each epoch draws anew


def test_a_batch_is_normalized(source):
    example = shown(source, 3.0)
    batch = default_collate([{name: each for name, each in example.items() if "seconds" not in name}] * 2)
    found = finish(batch, sampling=WHOLE, device=CPU)
    assert found.before.shape == found.after.shape == (2, 3, 8, 64, 64)
    assert found.before.dtype == torch.float32
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (torch.from_numpy(example["after"]).float() / 255 - mean) / std
    torch.testing.assert_close(found.after[1].permute(1, 2, 3, 0), expected, rtol=0, atol=1e-5)
    assert found.sound.shape == (2, 1, 125, 80)
    torch.testing.assert_close(found.sound[0], ReplaiLogMel()(torch.from_numpy(example["sound"])[None])[0])
    assert found.clips.tolist() == [0, 0]


def test_published_sound_is_short_and_its_spectrogram_as_long(source):
    sampling = replace(WHOLE, sound_windows="published")
    examples = [shown(source, moment, sampling) for moment in (3.0, 0.7)]
    lengths = [int(each["samples"]) for each in examples]
    assert lengths[1] < lengths[0] < 32000
    assert not examples[0]["sound"][lengths[0] :].any()
    batch = default_collate([{name: each for name, each in one.items() if "seconds" not in name} for one in examples])
    found = finish(batch, sampling=sampling, device=CPU).sound
    assert found.shape == (2, 1, 125, 80)
    own = ReplaiLogMel()(torch.from_numpy(examples[1]["sound"][None, : lengths[1]]))
    torch.testing.assert_close(found[1:], own)


@pytest.mark.parametrize("delta", [0.1, 1.4])
def test_windows_are_decoded_in_one_pass_or_by_two_seeks_to_the_same_bits(delta, source, decoded_count):
    sampling = replace(WHOLE, delta=delta, eval_interpolation="bilinear")
    before, after = frames_around(source, 3.0, sampling, rng())
    decoded_count[0] = 0
    found = shown(source, 3.0, sampling)
    together = decoded_count[0]
    apart = []
    for window in (before, after):
        decoded_count[0] = 0
        with closing(source.open()) as frames:
            alone = np.stack(list(frames.frames(window)))
        apart.append(decoded_count[0])
        name = "before" if window is before else "after"
        np.testing.assert_array_equal(found[name], alone[:, :, 16:80])
    assert together <= sum(apart) + JUMP  # what a seek costs, in frames
    one_pass = int(after[-1]) - 16 * (int(before[0]) // 16) + 1
    assert together < one_pass - 12 if delta > 1 else together <= one_pass + 1


def usable_of(tmp_path: Path, sampling: Sampling, names: list[str], **bounds: tuple[float, float | None]) -> Any:
    clips = [Clip(name, tmp_path / name, *bounds.get(name.split(".")[0], (0.0, None))) for name in names]
    return usable(clips, files_of(clips, sound=True), sampling, None)


def test_clips_that_cannot_be_used_are_named_and_counted(tmp_path):
    write_audible(tmp_path / "good.mp4", seconds=2, size=(32, 64))
    write_audible(tmp_path / "short.mp4", seconds=1.1, size=(32, 64))
    write_audible(tmp_path / "mute.mp4", seconds=2, size=(32, 64), rate=0)
    write_audible(tmp_path / "slow.mp4", seconds=2, size=(32, 64), fps=10)
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    found = usable_of(tmp_path, WHOLE, ["good.mp4", "short.mp4", "mute.mp4", "bad.mp4", "slow.mp4"])
    assert found.ids == ["good.mp4", "slow.mp4"]
    assert (found.silent, found.empty, [*found.failed]) == (["mute.mp4"], ["short.mp4"], ["bad.mp4"])
    assert found.remarks[0] == "1 clip left out: no sound: mute.mp4"
    assert found.remarks[1].startswith("1 clip left out: unreadable: ")
    assert found.remarks[1].endswith("not a video or sound file, or damaged from its first bytes on")
    assert found.remarks[2] == "1 clip left out: shorter than 1.2 s: short.mp4"
    slow = tmp_path / "slow.mp4"
    assert found.remarks[3:] == [f"1 file with fewer than 16 frames per second, of which some are shown again: {slow}"]


def test_a_clip_keeps_to_its_times(tmp_path):
    write_audible(tmp_path / "a.mp4", seconds=4, size=(64, 96))
    found = usable_of(tmp_path, WHOLE, ["a.mp4"], a=(1.0, 2.5))
    drawn = [drawn_moment(found.found[0], WHOLE, rng(seed)) for seed in range(50)]
    assert 1.6 <= min(drawn) < max(drawn) <= 1.9
    assert usable_of(tmp_path, WHOLE, ["a.mp4"], a=(1.0, 2.1)).empty == ["a.mp4"]


@pytest.mark.integration
def test_cached_moments_are_drawn_from(tmp_path, installed):
    folder = tmp_path / "videos"
    folder.mkdir()
    write_audible(folder / "a.mp4", seconds=3, size=(32, 64))
    write_audible(folder / "b.mp4", seconds=1.1, size=(32, 64))
    write_audible(folder / "mute.mp4", seconds=2, size=(32, 64), rate=0)
    manifest, caches = tmp_path / "m.csv", tmp_path / "caches"
    assert installed("manifest", "folder", folder, "--out", manifest).returncode == 0
    installed("extract", "--manifest", manifest, "--out", caches, "moments")
    clips = read_manifest(manifest)
    found = usable(clips, files_of(clips, sound=True), Sampling(prominence=0.5), caches / "moments.lmdb")
    assert (found.ids, found.silent, found.empty) == (["a"], ["mute"], ["b"])
    moments = found.found[0].moments
    assert moments is not None
    assert len(moments) > 1
    assert 0.6 <= moments.min() < moments.max() <= 2.4
    assert any("no moment of prominence 0.5 with 0.6 s before and after it" in each for each in found.remarks)


def test_moments_are_needed(tmp_path):
    with pytest.raises(ValueError, match="--moments is needed, a cache of 'egotools extract"):
        usable([], files_of([]), Sampling(), None)


def test_a_file_that_changes_ends_the_training_by_name(tmp_path):
    path = write_audible(tmp_path / "a.mp4", seconds=2, size=(64, 64))
    source = look_up((path, None), sound=True)
    assert isinstance(source, Source)
    write_audible(path, seconds=3, size=(64, 64))
    with pytest.raises(ClipError, match=r"a\.mp4: the file has changed, or gone, since the training began"):
        shown(source, 1.0)
    tried = Tried(MomentExamples([audible(source, 1.0)], WHOLE, augment=False)).example(0, rng())  # an evaluation
    assert "a.mp4: the file has changed, or gone" in str(why_unread(default_collate([tried])))
