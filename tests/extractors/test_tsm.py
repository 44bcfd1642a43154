"""The extractor `tsm`: its frames, their preparation, and weights in the layout of the published checkpoints."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import fill
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from egotools.cli.main import root
from media_files import numbers, write_video
from torch import nn

from egotools.errors import WeightsError
from egotools.extractors.names import find_known
from egotools.extractors.tsm import FILE, ShiftedTSMModel, TSMModel, first_frames
from egotools.media.video import open_frames
from egotools.stores import open_store
from egotools.types import Clip, VideoInfo

GOLDENS = fill.DATA / "two_stream"
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def chosen(rate: float, frames: int, fps: float = 30.0, tick: float = 0.0) -> tuple[list[int], np.ndarray]:
    """Which frames of a video of that rate are taken, and the times of the rows."""
    times = np.arange(frames + 1) / rate
    times = np.rint(times / tick) * tick if tick else times
    found = first_frames(VideoInfo(times[:-1], float(times[-1]), 64, 48), Clip("a", Path("a.mp4")), fps)
    return found.frames[:, 0].tolist(), found.times


@pytest.mark.parametrize("tick", [0.0, 0.001, 1 / 90000])
def test_a_video_at_60_fps_gives_every_second_frame_and_one_at_30_every_frame(tick: float) -> None:
    for rate, step in ((30, 1), (60, 2), (120, 4)):
        found, times = chosen(rate, 30 * step * 7, tick=tick)
        assert found == list(range(0, 30 * step * 7, step))
        np.testing.assert_allclose(times[:-1], np.stack([np.arange(209), np.arange(1, 210)], 1) / 30, atol=1e-9)
    assert chosen(60, 7, tick=tick)[0] == [0, 2, 4, 6]


def test_at_other_rates_a_row_is_the_frame_shown_when_its_interval_begins() -> None:
    assert chosen(25, 10)[0] == [0, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 9]  # 0.4 s are 12 rows
    assert chosen(30000 / 1001, 1001)[0] == [*range(503), *range(502, 1001)]  # a row more than frames in 33 s
    assert chosen(60, 60, fps=15)[0] == list(range(0, 60, 4))


def test_frames_of_a_file_are_those_that_its_times_promise(tmp_path: Path) -> None:
    for rate, step in ((60, 2), (30, 1)):
        path = write_video(tmp_path / f"{rate}.mp4", 9 * step, rate=rate)
        video = open_frames(path)
        windows = TSMModel().windows(video.info, Clip("a", path))
        assert numbers(video, windows.frames[:, 0].tolist()) == list(range(0, 9 * step, step))


def test_monochrome_video_of_10_bit_becomes_grey_rgb(tmp_path: Path) -> None:
    path = tmp_path / "mono.mkv"
    ramp = np.linspace(0, 1023, 96).astype(np.uint16) * np.ones((64, 1), np.uint16)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=Fraction(60))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "gray10le"
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(ramp, "gray10le")
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    (decoded,) = open_frames(path).frames([0])
    assert decoded.dtype == np.uint8
    assert (decoded == decoded[:, :, :1]).all()
    np.testing.assert_allclose(decoded[0, :, 0], ramp[0] / 1023 * 255, atol=1.5)
    assert TSMModel().prepare(decoded).shape == (256, 454, 3)


def image(name: str) -> np.ndarray:
    """The image of a golden, made as its notes say: uint8 [H, W, 3]."""
    height, width = map(int, name.rpartition("_")[2].split("x"))
    channels = 1 if name.startswith("mono") else 3
    coarse = fill.normal(f"input/{name}", (height // 8 + 2, width // 8 + 2, channels))
    z = np.kron(coarse, np.ones((8, 8, 1), np.float32))[:height, :width]
    z = z + np.float32(0.3) * fill.normal(f"input/{name}/fine", (height, width, channels))
    return np.repeat(np.clip(128 + 50 * z, 0, 255).astype(np.uint8), 3 // channels, axis=2)


@pytest.mark.parametrize("name", ["rgb_270x480", "rgb_360x640", "mono_480x640"])
@pytest.mark.parametrize("preprocess", ["full", "tsm"])
def test_frames_are_prepared_as_recorded(preprocess: str, name: str) -> None:
    extractor = TSMModel(preprocess=preprocess)  # type: ignore[arg-type]
    prepared = extractor.prepare(image(name))
    assert (extractor.preprocessing.mean, extractor.preprocessing.std) == (tuple(MEAN), tuple(STD))
    found = ((prepared / 255 - MEAN) / STD).transpose(2, 0, 1)
    step = 8 if preprocess == "full" else 4
    with np.load(GOLDENS / "tsm_preprocess.npz") as arrays:
        np.testing.assert_allclose(found[:, ::4, ::step], arrays[f"{preprocess}_{name}__slice"], rtol=0, atol=0.02)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as published: a training checkpoint, keys with `module.`, `base_model.` and `.net`."""
    tensors = fill.state_dict(fill.recorded_shapes(GOLDENS / "tsm_r50_64.json"))
    path = tmp_path_factory.mktemp("tsm") / FILE
    state = {f"module.{key}": value for key, value in tensors.items()}
    torch.save({"epoch": 50, "arch": "resnet50", "state_dict": state, "best_prec1": torch.tensor(39.2)}, path)
    return path


def test_published_checkpoints_give_the_recorded_features(checkpoint: Path) -> None:
    frames = torch.from_numpy(fill.normal("input/frames", (8, 3, 64, 64)))
    with torch.inference_mode():
        found = TSMModel(weights=str(checkpoint)).published.features(str(checkpoint))(frames)
    with np.load(GOLDENS / "tsm_r50_64.npz") as arrays:
        fill.assert_as_recorded(found[:, ::2], arrays["features_noshift__slice"])


def test_names_of_other_checkpoints_are_understood_too() -> None:
    """Another first component, as EPIC-100's has, and torchvision's own names."""
    names = fill.recorded_shapes(GOLDENS / "tsm_r50_64.json")
    plain = {name.removeprefix("base_model.").replace(".net.", ".").replace("new_fc", "fc") for name in names}
    for layout in (names, [f"model.{name}" for name in names], plain):
        assert set(TSMModel().published.rename(dict.fromkeys(layout, torch.zeros(1)), nn.Identity())) == plain
    with torch.device("meta"):
        assert plain == set(TSMModel().published.build("random:0").state_dict())


def test_weights_that_are_nowhere_say_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        WeightsError, match=f"fetch {FILE} .*pretrained_models/README.md.* to {tmp_path}.*--weights FILE"
    ):
        TSMModel().weights_digest()
    with pytest.raises(WeightsError, match="no weights 'imagenet'; choose from DEFAULT, assembly101, kinetics400"):
        TSMModel(weights="imagenet").weights_digest()


def test_options() -> None:
    found = find_known("tsm")
    assert found is not None
    assert found.built() == TSMModel()
    for options, named in (({"fps": 0.0}, "--fps"), ({"preprocess": "half"}, "--preprocess")):
        with pytest.raises(ValueError, match=named):
            TSMModel(**options)  # type: ignore[arg-type]
    assert TSMModel(resize="128").preprocessing.size == (128, 128)


def test_from_video_to_the_public_layout_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r").mkdir()
    write_video(tmp_path / "r" / "C10118_rgb.mp4", 4, rate=60, size=(32, 48))
    (tmp_path / "a.csv").write_text("id,path,start,end,split\nr/C10118_rgb,r/C10118_rgb.mp4,,,train\n")
    for line in (
        [
            "extract",
            "--manifest",
            "a.csv",
            "--out",
            "c",
            "--workers",
            "1",
            "tsm",
            "--weights",
            "random:0",
            "--resize",
            "64",
        ],
        ["cache", "export", "c/tsm.lmdb", "--to", "assembly101", "--out", "lmdb/"],
        ["cache", "import", "lmdb/C10118_rgb", "--from", "assembly101", "--out", "c/back.lmdb"],
    ):
        done = CliRunner().invoke(root, line)
        assert done.exit_code == 0, done.output
    rows, back = (open_store(tmp_path / "c" / f"{name}.lmdb")["r/C10118_rgb"] for name in ("tsm", "back"))
    assert rows.values.shape == (2, 2048)
    assert rows.values.min() >= 0
    assert np.array_equal(rows.values, back.values)
    assert np.array_equal(rows.times, back.times)
    assert rows.times.tolist() == [[0, 1 / 30], [1 / 30, 2 / 30]]


def test_with_the_shift_a_row_is_the_mean_over_a_windows_frames(checkpoint: Path) -> None:
    frames = torch.from_numpy(fill.normal("input/frames", (8, 3, 64, 64)))
    extractor = ShiftedTSMModel(weights=str(checkpoint))
    with torch.inference_mode():
        found = extractor.published.features(str(checkpoint))(frames.transpose(0, 1)[None])
    with np.load(GOLDENS / "tsm_r50_64.npz") as arrays:
        fill.assert_as_recorded(found[:, ::2], arrays["features_shift__slice"].mean(0, keepdims=True))


def test_windows_with_the_shift_are_every_8th_of_64_frames_or_spread_over_the_clip() -> None:
    film = VideoInfo(np.arange(200) / 30, 200 / 30, 64, 48)
    clip = Clip("a", Path("a.mp4"))
    found = ShiftedTSMModel().windows(film, clip)
    assert found.frames.tolist() == [list(range(k + 4, k + 68, 8)) for k in (0, 64, 128)]
    assert ShiftedTSMModel(spread=True).windows(film, clip).frames.tolist() == [list(range(12, 200, 25))]
    assert ShiftedTSMModel(weights="something-v2").window == (16, 7.5)
    assert ShiftedTSMModel(frames=4).published.frames == 8  # so that a window of 4 is tried before clips are read


def test_weights_without_a_shift_are_refused_with_their_extractor(checkpoint: Path, tmp_path: Path) -> None:
    plain = {
        name.removeprefix("module.base_model.").replace(".net.", "."): value
        for name, value in torch.load(checkpoint, weights_only=True)["state_dict"].items()
    }
    torch.save(plain, tmp_path / "plain.pth")
    with pytest.raises(WeightsError, match="trained without a temporal shift; their extractor is tsm"):
        ShiftedTSMModel(weights=str(tmp_path / "plain.pth")).network()


def test_the_command_line_gives_a_row_per_clip_with_the_shift(installed, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 12, size=(32, 48))
    (tmp_path / "m.csv").write_text("id,path\na,a.mp4\n")
    line = ["--manifest", tmp_path / "m.csv", "--out", tmp_path, "tsm-shift", "--weights", "random:0", "--spread"]
    done = installed("extract", *line, "--resize", 32, "--frames", 2)
    assert done.returncode == 0, done.stderr
    assert open_store(tmp_path / "tsm-shift.lmdb")["a"].values.shape == (1, 2048)
