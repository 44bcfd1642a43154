"""avid-video and avid-audio: windows, the reference's pixels and spectrograms, and the networks that weights hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from avid_networks import Golden, replai_names
from PIL import Image

from egotools.errors import ClipError, WeightsError
from egotools.extractors.avid import AvidAudio, AvidVideo
from egotools.nn.log_mel import ReplaiLogMel
from egotools.nn.r2plus1d import R2Plus1D
from egotools.nn.resampled import resampled
from egotools.types import AudioInfo, Clip, VideoInfo


def video(frames: int, fps: float) -> VideoInfo:
    return VideoInfo(np.arange(frames) / fps, frames / fps, 64, 48)


WHOLE = Clip("a", Path("a.mp4"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Of RepLAI, with a video network of depth 10."""
    path = tmp_path_factory.mktemp("replai") / "checkpoint_0101.pth"
    tensors = replai_names(Golden("video_r2p1d10_48").parameters(), Golden("audio_spec_cnn9_125x80").parameters())
    torch.save({"model": {f"module.{name}": value for name, value in tensors.items()}, "epoch": 100}, path)
    return path


@pytest.mark.parametrize(
    ("options", "clip", "fps", "starts", "first"),
    [
        ({"clips": 3}, WHOLE, 16, [0, 4.75, 9.5], list(range(8))),
        ({"clips": 1}, WHOLE, 16, [4.75], list(range(76, 84))),
        ({"clips": 2}, Clip("a", Path("a.mp4"), 2.0, 3.0), 16, [2, 2.5], list(range(32, 40))),
        ({"clips": 1}, WHOLE, 30, [4.75], [143, 145, 147, 149, 151, 153, 155, 157]),  # 15 frames from 142.5 on
        ({"clips": 2}, WHOLE, 8, [0, 9.5], [0, 0, 0, 1, 1, 2, 2, 3]),  # slower than 16 per second
        ({"clips": 2}, Clip("a", Path("a.mp4"), 2.0, 2.3), 16, [2, 2], [32, 33, 34, 35, 36, 32, 33, 34]),
        ({"hop": 4.0}, WHOLE, 16, [0, 4, 8], list(range(8))),
    ],
)
def test_windows_are_spread_over_the_clip(options, clip, fps, starts, first):
    found = AvidVideo(**options).windows(video(10 * fps, fps), clip)
    np.testing.assert_allclose(found.times[:, 0], starts)
    np.testing.assert_allclose(found.times[:, 1], np.minimum(np.add(starts, 0.5), clip.end or 10))
    assert found.frames[0].tolist() == first


def test_32_frames_are_every_second_of_2_133_seconds_at_30_per_second():
    found = AvidVideo(frames=32, clips=5).windows(video(240, 30), WHOLE)
    np.testing.assert_allclose(found.times[:, 0], np.linspace(0, 8 - 64 / 30, 5))
    assert found.frames.shape == (5, 32)
    assert found.frames[0].tolist() == [63 * number // 31 for number in range(32)]


def test_rows_can_lie_where_state_changes_have_their_positions():
    clip = Clip("a", Path("a.mp4"), 4.0, 12.0, labels={"start_frame": "130", "end_frame": "370"})
    steps = AvidVideo(clips=16, at="steps").windows(video(600, 30), clip)
    np.testing.assert_allclose(steps.times.mean(1), 4 + np.arange(16) / 2)
    picks = AvidVideo(clips=16, at="picks").windows(video(600, 30), clip)
    wanted = 4 + (np.arange(135, 370, 15) - 130) / 30
    np.testing.assert_allclose(picks.times.mean(1), wanted)
    assert (np.abs(picks.frames.mean(1) / 30 + 1 / 60 - wanted) < 1 / 16).all()
    begins = AvidVideo(clips=16, at="steps").windows(video(240, 30), Clip("a", Path("a.mp4"), 0.0, 8.0))
    assert begins.times[0].tolist() == [0, 0.5]  # moved into the file
    with pytest.raises(ClipError, match=r"a\.mp4: --at picks needs the manifest's column 'start_frame'"):
        AvidVideo(clips=16, at="picks").windows(video(600, 30), WHOLE)
    short = Clip("a", Path("a.mp4"), labels={"start_frame": "0", "end_frame": "9"})
    with pytest.raises(ClipError, match="start_frame and end_frame: 9 frames, 16 are needed"):
        AvidVideo(clips=16, at="picks").windows(video(600, 30), short)


def test_frames_become_the_middle_of_pillows_nearest_pixels(rng):
    frame = rng.integers(0, 256, (240, 426, 3), dtype=np.uint8)
    small = np.asarray(Image.fromarray(frame).resize((227, 128), Image.Resampling.NEAREST))
    assert np.array_equal(AvidVideo().prepare(frame), small[8:120, 58:170])  # round(57.5) is 58: halves to even
    assert AvidVideo(size=224, interpolation="bilinear").prepare(frame).shape == (224, 224, 3)
    as_downstream = AvidVideo(size=224, pool="average").prepare(frame)
    assert np.array_equal(as_downstream, AvidVideo(size=224, interpolation="bilinear-aliased").prepare(frame))
    assert not np.array_equal(as_downstream, AvidVideo(size=224).prepare(frame))


@pytest.mark.parametrize(
    ("pool", "mean", "std"),
    [("max", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ("average", (0.45,) * 3, (0.225,) * 3)],
)
def test_a_row_is_the_pooled_feature_of_the_normalized_window(checkpoint, pool, mean, std, rng):
    windows = rng.integers(0, 256, (2, 4, 16, 16, 3), dtype=np.uint8)
    network = R2Plus1D(10, pool=pool).eval()
    network.load_state_dict(Golden("video_r2p1d10_48").parameters())
    clips = torch.from_numpy((windows / np.float32(255) - np.float32(mean)) / np.float32(std)).permute(0, 4, 1, 2, 3)
    with torch.inference_mode():
        found = AvidVideo(weights=str(checkpoint), pool=pool).network()(torch.from_numpy(windows))
        torch.testing.assert_close(found, network(clips.float()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rate", [16000, 44100, 11025])
def test_sound_at_any_rate_is_resampled_as_in_training(checkpoint, rate):
    extractor = AvidAudio(weights=str(checkpoint), length=1.0, clips=2)
    windows = extractor.sound_windows(AudioInfo(rate, 2, 0.0, 5.0), WHOLE)
    assert (windows.rate, windows.length, windows.starts.tolist()) == (rate, rate, [0, 4])
    samples = torch.randn(2, rate) / 10
    golden = Golden("audio_spec_cnn9_125x80")
    with torch.inference_mode():
        network = extractor.network()
        found = network(samples)
        wanted = network.network(ReplaiLogMel(1.0)(resampled(samples, rate, 16000)))
    assert found.shape == (2, golden.outputs["pool"].shape[1])
    torch.testing.assert_close(found, wanted)


def test_windows_of_sound_follow_each_other_or_are_spread(checkpoint):
    sound = AudioInfo(48000, 1, 0.0, 9.0)
    assert AvidAudio().sound_windows(sound, WHOLE).starts.tolist() == [0, 2, 4, 6, 8]
    assert AvidAudio(hop=3.0).sound_windows(sound, WHOLE).starts.tolist() == [0, 3, 6]
    assert AvidAudio(clips=1).sound_windows(sound, WHOLE).starts.tolist() == [3.5]
    short = AvidAudio(clips=2).sound_windows(sound, Clip("a", Path("a.mp4"), 4.0, 5.0))
    assert short.times.tolist() == [[4, 5], [4, 5]]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: AvidVideo(clips=0), "--clips must be above 0"),
        (lambda: AvidVideo(duration=float("inf")), "--duration must be above 0"),
        (lambda: AvidVideo(size=120, resize=112), "--size 120 must be at most --resize 112"),
        (lambda: AvidVideo(hop=1.0, at="steps"), "--at steps is of --clips, not of --hop"),
        (lambda: AvidAudio(hop=1.0, clips=3), "--hop and --clips exclude each other"),
        (lambda: AvidAudio(length=0.01), "--length 0.01 s is too short"),
        (lambda: AvidAudio(stream=-1), "--stream must be 0 or above"),
    ],
)
def test_senseless_options_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_weights_that_do_not_fit_are_refused_by_name(checkpoint, tmp_path):
    with pytest.raises(
        WeightsError, match=r"checkpoint_0101\.pth: its video network is R\(2\+1\)D-10, not R\(2\+1\)D-18"
    ):
        AvidVideo(weights=str(checkpoint), depth="18").network()
    with pytest.raises(WeightsError, match=r"no weights 'DEFAULT' that could be downloaded, nor .*HimangiM/RepLAI"):
        AvidVideo().network()
    (tmp_path / "checkpoint.dat").write_bytes(checkpoint.read_bytes())
    with pytest.raises(WeightsError, match=r"checkpoint\.dat: files of weights end in \.safetensors, .*; rename it"):
        AvidVideo(weights=str(tmp_path / "checkpoint.dat")).network()
    only_video = tmp_path / "converted.pth"
    torch.save({"state_dict": Golden("video_r2p1d10_48").parameters()}, only_video)
    with pytest.raises(WeightsError, match=r"converted\.pth: contains no network for sound"):
        AvidAudio(weights=str(only_video)).network()


def test_random_weights_depend_on_the_seed_alone():
    one, same, other = (AvidVideo(weights=f"random:{n}", depth="10").network().features.state_dict() for n in (3, 3, 4))
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["conv1.0.weight"], other["conv1.0.weight"])
    assert (
        AvidVideo(weights="random:3").weights_digest() == AvidAudio(weights="random:3").weights_digest() == "random:3"
    )
