"""Extractors: found by name, of the protocol, and computing what they say."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from egotools.errors import ClipError, ExtractorError
from egotools.extraction.forward import runnable
from egotools.extractors.audio import LogMelSpectrogram, Waveform
from egotools.extractors.color import Color
from egotools.extractors.csn import CSNModel
from egotools.extractors.hog import HOG
from egotools.extractors.hrnet import HRNetModel
from egotools.extractors.image import ImageModel
from egotools.extractors.lookup import find_extractor
from egotools.extractors.m3s import M3S
from egotools.extractors.names import BUILT_IN, SHORT_NAMES, VIDEO_NETWORKS
from egotools.extractors.own_code import load_source
from egotools.extractors.pixels import Pixels
from egotools.extractors.video import VideoModel
from egotools.nn.log_mel import LogMel
from egotools.types import AudioInfo, Clip, VideoInfo

CLIP = Clip("a", Path("a.mp4"))
FILM = VideoInfo(np.arange(40) / 10, 4.0, 64, 48)
SOUND = AudioInfo(44100, 2, 0.0, 3.7)

FRAME_EXTRACTORS = [
    Color(fps=2),
    HOG(frames=3),
    Pixels(fps=2, size=8),
    Pixels(stride=7, gray=True),
    M3S(only=("brightness", "contrast", "blurriness"), deviations=True, frames=5),
    ImageModel(model="torchvision:resnet18", weights="random:0", fps=2, resize="40", crop="32"),
    ImageModel(model="torchvision:squeezenet1_1", weights="random:0", stride=13, resize="64x48"),
    HRNetModel(weights="random:0", frames=5, resize="64x64"),
    CSNModel(weights="random:0", frames=4, resize="40", crop="32"),
    CSNModel(weights="random:0", architecture="ir_csn_152", frames=3, resize="32x48"),
    VideoModel(model="torchvision:r3d_18", weights="random:0", frames=4, resize="40", crop="32"),
    VideoModel(model="torchvision:mc3_18", weights="random:0", frames=4, fps=5, clips=3, resize="32x48"),
]
AUDIO_EXTRACTORS = [
    Waveform(rate=8000, length=0.5),
    LogMelSpectrogram(rate=8000),
    LogMelSpectrogram(rate=8000, pool="mean+std", hop=0.25),
]


@pytest.mark.parametrize("extractor", FRAME_EXTRACTORS)
def test_an_extractor_of_frames_fulfils_the_contract(extractor, rng):
    assert extractor == pickle.loads(pickle.dumps(extractor))
    assert hash(extractor) == hash(pickle.loads(pickle.dumps(extractor)))
    windows = extractor.windows(FILM, CLIP)
    needed = np.unique(windows.frames)
    films = [
        {index: extractor.prepare(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)) for index in needed}
        for _ in range(2)  # batches hold windows of several clips
    ]
    other = extractor.prepare(rng.integers(0, 256, (70, 31, 3), dtype=np.uint8))
    assert {frame.dtype for film in films for frame in film.values()} == {np.dtype(np.uint8)}
    assert {frame.shape for film in films for frame in film.values()} == {other.shape}  # whatever the video's size
    batch = np.stack([np.stack([film[index] for index in row]) for film in films for row in windows.frames])

    network = extractor.network()
    if extractor.place == "device":
        run = runnable(network, torch.device("cpu"), "float32")
        rows, alone = run(torch.from_numpy(batch)).numpy(), run(torch.from_numpy(batch[-1:])).numpy()
    else:
        rows, alone = network(batch), network(batch[-1:])
    assert rows.dtype == np.float32
    assert rows.ndim == 2
    assert len(rows) == 2 * len(windows.times)
    np.testing.assert_allclose(alone[0], rows[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("extractor", AUDIO_EXTRACTORS)
def test_an_extractor_of_sound_fulfils_the_contract(extractor, rng):
    assert extractor == pickle.loads(pickle.dumps(extractor))
    windows = extractor.sound_windows(SOUND, CLIP)
    assert windows.times.shape == (len(windows.starts), 2)
    assert windows.starts.tolist() == windows.times[:, 0].tolist()
    batch = rng.normal(0, 0.1, (len(windows.starts), windows.length)).astype(np.float32)
    network = extractor.network()
    given = batch if extractor.place == "worker" else torch.from_numpy(batch)
    rows = np.asarray(network(given))
    assert rows.dtype == np.float32
    assert rows.shape[0] == len(batch)
    np.testing.assert_allclose(np.asarray(network(given[1:2]))[0], rows[1], rtol=1e-4, atol=1e-5)


def test_the_device_sees_what_an_extractor_that_travelled_prepared(rng):
    extractor = FRAME_EXTRACTORS[1]
    frame = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    extractor.prepare(frame)
    assert np.array_equal(pickle.loads(pickle.dumps(extractor)).prepare(frame), extractor.prepare(frame))


@pytest.mark.parametrize("bins", [1, 3, 8, 256])
def test_color_is_its_definition(rng, bins):
    frames = rng.integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    extractor = Color(bins=bins)
    found = extractor.network()(np.stack([extractor.prepare(frame)[None] for frame in frames]))
    for row, frame in zip(found, frames, strict=True):
        wanted = []
        for channel in range(3):
            values = [int(frame[y, x, channel]) for y in range(6) for x in range(5)]
            mean = sum(values) / 30 / 255
            deviation = (sum((value / 255 - mean) ** 2 for value in values) / 30) ** 0.5
            counts = [0] * bins
            for value in values:
                counts[max(bin for bin in range(bins) if bin * 256 // bins <= value)] += 1
            wanted += [mean, deviation, *(count / 30 for count in counts)]
        np.testing.assert_allclose(row, wanted, atol=1e-6)


def test_color_of_one_flat_color_has_no_deviation():
    found = Color(bins=2).network()(Color().prepare(np.full((9, 9, 3), (0, 255, 51), np.uint8))[None, None])
    np.testing.assert_allclose(found[0], [0, 0, 1, 0, 1, 0, 0, 1, 0.2, 0, 1, 0], atol=1e-6)


def test_a_waveform_is_its_samples(rng):
    samples = rng.normal(0, 0.1, (3, 800)).astype(np.float32)
    assert np.array_equal(Waveform().network()(samples), samples)


def test_sound_is_cut_without_gaps_and_the_rest_of_more_than_half_is_kept():
    windows = Waveform(rate=16000, length=1.0).sound_windows(SOUND, CLIP)
    assert np.allclose(windows.times, [[0, 1], [1, 2], [2, 3], [3, 3.7]])
    assert (windows.length, windows.rate) == (16000, 16000)
    part = Waveform(length=1.0, hop=0.5).sound_windows(SOUND, Clip("a", Path("a.wav"), 1.0, 2.5))
    assert part.starts.tolist() == [1.0, 1.5, 2.0]


def test_a_clip_after_the_sound_is_refused():
    with pytest.raises(ClipError, match="the clip begins at 5 s"):
        Waveform().sound_windows(SOUND, Clip("a", Path("a.wav"), 5.0))


def test_log_mel_rows_are_the_spectra_or_their_statistics(rng):
    samples = torch.from_numpy(rng.normal(0, 0.1, (2, 16000)).astype(np.float32))
    spectra = LogMel(rate=16000, window=512, step=256, mels=80)(samples)
    assert torch.equal(LogMelSpectrogram().network()(samples), spectra.flatten(1))
    torch.testing.assert_close(LogMelSpectrogram(pool="mean").network()(samples), spectra.mean(1))
    both = LogMelSpectrogram(pool="mean+std").network()(samples)
    torch.testing.assert_close(both[:, 80:], torch.from_numpy(spectra.numpy().std(1)))


def test_log_mel_stays_in_float32_where_networks_run_in_bf16(monkeypatch, rng):
    monkeypatch.setattr("egotools.extraction.forward.has_fast_bf16", lambda device: True)
    samples = torch.from_numpy(rng.normal(0, 0.1, (2, 16000)).astype(np.float32))
    run = runnable(LogMelSpectrogram().network(), torch.device("cpu"), "bf16")
    torch.testing.assert_close(run(samples), LogMelSpectrogram().network()(samples))


def test_a_video_network_takes_the_window_that_its_weights_were_judged_with():
    assert VideoModel(model="torchvision:r2plus1d_18").window == (16, 15.0)
    assert VideoModel(model="torchvision:s3d").window == (128, 15.0)
    assert VideoModel(model="torchvision:mvit_v2_s", frames=8).window == (8, 7.5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Color(fps=0), "--fps must be above 0, not 0"),
        (lambda: Color(fps=float("nan")), "--fps must be above 0, not nan"),
        (lambda: Color(fps=float("inf")), "--fps must be above 0, not inf"),
        (lambda: Color(frames=-1), "--frames must be above 0"),
        (lambda: Color(frames=1, stride=1), "give one of --frames and --stride"),
        (lambda: Color(bins=257), "--bins must be from 1 to 256, not 257"),
        (lambda: ImageModel(model="torchvision:resnet18", crop="x"), "'x' is not a size"),
        (lambda: ImageModel(model="torchvision:resnet18", stride=0), "--stride must be above 0"),
        (lambda: HOG(frames=0), "--frames must be above 0"),
        (lambda: HOG(frames=2, stride=2), "give one of --frames and --stride"),
        (lambda: M3S(frames=0), "--frames must be above 0"),
        (lambda: M3S(only=("hog", "sharpness")), "--only: sharpness: the features are hog, brightness"),
        (lambda: M3S(only=("contrast", "contrast")), "--only: a feature is named twice"),
        (lambda: M3S(only=("contrast",), pca="run:x"), "--pca is for hog, which --only leaves out"),
        (lambda: HRNetModel(frames=4), "--frames must be 1, 5 or 9, not 4"),
        (lambda: HRNetModel(resize="256x"), "'256x' is not a size"),
        (lambda: CSNModel(frames=0), "--frames must be above 0"),
        (lambda: VideoModel(model="torchvision:r3d_18", hop=1, clips=2), "give one of --hop and --clips"),
        (lambda: VideoModel(model="torchvision:r3d_18", frames=0), "--frames must be above 0"),
        (lambda: VideoModel(model="torchvision:r3d_18", clips=-1), "--clips must be above 0"),
        (lambda: VideoModel(model="torchvision:r3d_18", resize="0"), "'0' is not a size"),
        (lambda: Waveform(rate=0), "--rate must be above 0"),
        (lambda: Waveform(length=-1.0), "--length must be above 0"),
        (lambda: Waveform(length=0.00001), "less than a sample"),
        (lambda: LogMelSpectrogram(window=2.0), "not longer than --length"),
        (lambda: LogMelSpectrogram(step=0), "--step must be above 0"),
        (lambda: LogMelSpectrogram(step=0.00001), "less than a sample"),
        (lambda: LogMelSpectrogram(window=0.00001), "less than a sample"),
        (lambda: LogMelSpectrogram(mels=0), "--mels must be above 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_is_built_in_is_found(name):
    found = find_extractor(name)
    assert found.cache_name == name
    assert isinstance(found.kind.version, int)


def test_short_names_are_torchvisions():
    for short, full in SHORT_NAMES.items():
        found = find_extractor(short)
        assert (found.fixed["model"], found.cache_name) == (full, short)
    assert find_extractor("r2plus1d_18").kind is VideoModel
    assert find_extractor("torchvision:ViT_B_16".lower()).kind is ImageModel


@pytest.mark.parametrize("name", ["colour", "efficientnet_lite0", "resnet51", "log_mel"])
def test_near_names_are_suggested(name):
    with pytest.raises(ExtractorError, match=rf"unknown extractor '{name}'; did you mean '"):
        find_extractor(name)


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("eva02", "timm:eva02_"),
        ("DINO-v2", "'dinov2'"),
        ("mobilenet", "torchvision:mobilenet_v2"),
        ("VideoMAE2", "'videomae'"),
        ("slowfast", "csn, r2plus1d_18, .* for videos"),
    ],
)
def test_a_name_of_the_field_leads_to_what_there_is(name, suggested):
    pytest.importorskip("timm")
    with pytest.raises(ExtractorError, match=rf"unknown extractor '{name}'; .*({suggested})") as raised:
        find_extractor(name)
    assert "\n" not in str(raised.value)


def test_what_is_suggested_can_be_found():
    pytest.importorskip("timm")
    for name in ("timm:dinov2", "torchvision:mobilenet"):
        library = name.partition(":")[0]
        with pytest.raises(ExtractorError, match="similar: ") as raised:
            find_extractor(name)
        near = str(raised.value).partition("similar: ")[2].split(", ")
        assert near
        assert all(find_extractor(f"{library}:{each}").kind is ImageModel for each in near)
    assert all(find_extractor(each).cache_name for each in VIDEO_NETWORKS)


@pytest.mark.parametrize(
    "name", ["", ":", "zzz", "x:", ":y", "./mine:Own", "..:Own", "a b.c:D", ".mine:Own", "mine:Own"]
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ExtractorError, match="unknown extractor"):
        find_extractor(name)


OWN = """
from dataclasses import dataclass
from egotools.config import option
from egotools.extractors.color import Color

print("imported")

@dataclass(frozen=True)
class Own(Color):
    scale: float = option(1.0, "A factor.")

class NoDataclass:
    place = "worker"
    def windows(self): ...
    def prepare(self): ...
    def network(self): ...

@dataclass
class Thawed(NoDataclass):
    pass

@dataclass(frozen=True)
class Elsewhere(Color):
    place = "moon"

@dataclass(frozen=True)
class Bare(NoDataclass):
    size: int

@dataclass(frozen=True)
class Nothing:
    pass

number = 3
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(f"# {tmp_path}\n{OWN}")  # a file of its own content, as modules are told apart by it
    return path


def test_a_class_in_a_file_is_found(own):
    found = find_extractor(f"{own}:Own")
    assert found.cache_name == "own"
    assert found.source == own.resolve()
    assert found.kind(scale=2.0).scale == 2.0


def test_a_file_is_imported_once_for_each_content(own, capsys):
    first = load_source(own)
    assert load_source(own) is first
    assert find_extractor(f"{own}:Own").kind is first.Own
    assert capsys.readouterr().out == "imported\n"
    own.write_text(own.read_text() + "\nnumber = 4\n")
    assert load_source(own) is not first
    assert load_source(own).number == 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Missing", "the class does not exist"),
        ("", "the class does not exist"),
        ("number", "the class does not exist"),
        ("Nothing", "it needs place, windows, prepare and network"),
        ("NoDataclass", "it must be a frozen dataclass"),
        ("Thawed", "it must be a frozen dataclass"),
        ("Bare", "its field 'size' needs a default"),
        ("Elsewhere", "its place is 'moon', not 'device' or 'worker'"),
    ],
)
def test_a_class_that_is_no_extractor_is_refused(own, name, text):
    with pytest.raises(ExtractorError, match=text):
        find_extractor(f"{own}:{name}")


@pytest.mark.parametrize("text", ["def broken(:\n", "import not_there_at_all\n"])
def test_a_file_that_cannot_be_imported_is_refused_every_time(tmp_path, text):
    path = tmp_path / "broken.py"
    path.write_text(text)
    for _ in range(2):
        with pytest.raises(ExtractorError, match=r"broken\.py: cannot be imported"):
            find_extractor(f"{path}:Own")


def test_a_mistake_in_a_users_file_keeps_its_traceback_every_time(tmp_path):
    path = tmp_path / "mistaken.py"
    path.write_text("1 / 0\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            find_extractor(f"{path}:Own")


def test_a_missing_file_is_named():
    with pytest.raises(ExtractorError, match=r"nowhere\.py: no such file"):
        find_extractor("nowhere.py:Own")


def test_a_class_of_an_installed_package_is_found(tmp_path, monkeypatch):
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage/__init__.py").write_text("")
    (tmp_path / "mypackage/features.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    found = find_extractor("mypackage.features:Own")
    assert found.kind is sys.modules["mypackage.features"].Own
    assert found.source == tmp_path / "mypackage/features.py"
    for name, text in (
        ("mypackage.other:Own", "cannot be imported"),
        ("mypackage.features:Other", "the class does not exist"),
    ):
        with pytest.raises(ExtractorError, match=text):
            find_extractor(name)
