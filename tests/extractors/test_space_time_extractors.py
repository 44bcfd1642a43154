"""The extractors `egovlp` and `lavila`: windows, preparation, spaces, and the network that a file says it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_video
from space_time_files import EGOVLP, LAVILA, drawn, write_egovlp, write_lavila

from egotools.errors import ExtractorError, WeightsError
from egotools.extractors.lookup import find_extractor
from egotools.stores import open_store
from egotools.types import Clip, VideoInfo


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A checkpoint for each of the two extractors."""
    with monkeypatch.context() as patch:
        egovlp = write_egovlp(tmp_path / "egovlp.pth", drawn(EGOVLP), patch)
    return {"egovlp": str(egovlp), "lavila": str(write_lavila(tmp_path / "lavila.pth", drawn(LAVILA)))}


def film(seconds: float, fps: float = 30.0) -> VideoInfo:
    return VideoInfo(np.arange(round(seconds * fps)) / fps, seconds, 64, 48)


def test_the_command_line_gives_rows_of_both_in_one_pass(files, installed, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 40)  # 4 s at 10 Hz
    (tmp_path / "m.csv").write_text("id,path\na,a.mp4\n")
    done = installed(
        *("extract", "--manifest", tmp_path / "m.csv", "--out", tmp_path),
        *("egovlp", "--weights", files["egovlp"], "lavila", "--weights", files["lavila"], "--spread"),
        *("lavila", "--weights", files["lavila"], "--space", "own", "--frames", 8, "--fps", 4, "--name", "own"),
    )
    assert done.returncode == 0, done.stderr
    egovlp, lavila, own = (open_store(tmp_path / f"{name}.lmdb")["a"] for name in ("egovlp", "lavila", "own"))
    assert egovlp.values.shape == (7, 6)  # 1.87 rows per second
    np.testing.assert_allclose(np.diff(egovlp.times[:, 0]), 1 / 1.87)
    assert (lavila.values.shape, lavila.times.tolist()) == ((1, 6), [[0.0, 4.0]])
    assert (own.values.shape, own.times.tolist()) == ((2, 128), [[0.0, 2.0], [2.0, 4.0]])


def test_rows_are_the_networks_own_of_normalized_frames(files) -> None:
    rng = np.random.default_rng(0)
    windows = torch.from_numpy(rng.integers(0, 256, (2, 4, 24, 24, 3), dtype=np.uint8))
    numbers = {
        "egovlp": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "lavila": ((108.3272985, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.32316305)),
    }
    for name, (mean, std) in numbers.items():
        extractor = find_extractor(name).built(weights=files[name])
        scale = 255 if name == "egovlp" else 1
        x = (windows.float() / scale - torch.tensor(mean)) / torch.tensor(std)
        with torch.inference_mode():
            expected = drawn(EGOVLP if name == "egovlp" else LAVILA)(x.movedim(-1, 1))
            torch.testing.assert_close(extractor.network()(windows), expected, rtol=1e-4, atol=1e-4)


def test_frames_are_the_central_square_at_the_size_of_the_file(files, tmp_path: Path) -> None:
    assert find_extractor("lavila").built(weights=files["lavila"]).preprocessing.size == (24, 24)
    high = write_lavila(tmp_path / "336.pth", drawn(replace(LAVILA, grid=4)))
    prepared = find_extractor("lavila").built(weights=str(high))
    assert prepared.prepare(np.zeros((48, 64, 3), np.uint8)).shape == (32, 32, 3)


def test_lavila_takes_as_many_frames_as_its_file_was_trained_on_and_egovlp_four(files, tmp_path: Path) -> None:
    tuned = str(write_lavila(tmp_path / "16.pth", drawn(replace(LAVILA, frames=16))))
    lengths = [
        find_extractor(name).built(weights=weights).window_length
        for name, weights in (("lavila", files["lavila"]), ("lavila", tuned), ("egovlp", files["egovlp"]))
    ]
    assert lengths == [4, 16, 4]


def test_a_clip_is_spread_over_its_middles_as_in_the_publications(files) -> None:
    extractor = find_extractor("lavila").built(weights=files["lavila"], spread=True)
    found = extractor.windows(film(10), Clip("a", Path("a.mp4"), 2.0, 3.0))
    assert found.frames.tolist() == [[63, 71, 78, 86]]  # LaViLa's own: 63, 70, 78, 85
    assert found.times.tolist() == [[2.0, 3.0]]


@pytest.mark.parametrize("other", [{"fps": 4.0}, {"hop": 1.0}, {"clips": 2}], ids=str)
def test_a_row_per_clip_is_not_mixed_with_windows(other) -> None:
    for name in ("lavila", "r3d_18"):
        with pytest.raises(ValueError, match="--spread takes one row per clip; leave out --fps, --hop and --clips"):
            find_extractor(name).built(spread=True, **other)


def test_files_of_the_other_are_refused_with_its_name(files) -> None:
    for name, other in (("egovlp", "lavila"), ("lavila", "egovlp")):
        with pytest.raises(WeightsError, match=rf"{other}\.pth: its network began as .*; its extractor is {other}"):
            find_extractor(name).built(weights=files[other]).network()


def test_a_classifier_without_a_joint_space_gives_its_own(tmp_path: Path) -> None:
    path = str(write_lavila(tmp_path / "cls.pth", drawn(LAVILA), fine_tuned=True))
    with pytest.raises(WeightsError, match="contains no projection into the joint space; give --space own"):
        find_extractor("lavila").built(weights=path).network()
    network = find_extractor("lavila").built(weights=path, space="own").network()
    with torch.inference_mode():
        assert network(torch.zeros(1, 4, 24, 24, 3, dtype=torch.uint8)).shape == (1, 128)


def test_weights_that_cannot_be_reached_say_what_to_fetch(monkeypatch, tmp_path: Path) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("egotools.extractors.published.check_reachable", unreachable)
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    with pytest.raises(WeightsError, match=r"fetch https://dl\.fbaipublicfiles\.com/lavila/.*_large.*to ") as error:
        find_extractor("lavila").built(weights="large").weights_digest()
    assert "\n" not in str(error.value)
    with pytest.raises(WeightsError, match="egovlp has no weights 'large'; choose from DEFAULT, best, epoch1, a file"):
        find_extractor("egovlp").built(weights="large").weights_digest()


def test_frames_of_another_size_than_the_files_are_refused(files) -> None:
    with pytest.raises(
        ExtractorError, match="refuses windows of 4 frames of 16x16; its weights are made for 4 of 24x24"
    ):
        find_extractor("egovlp").built(weights=files["egovlp"], crop="16").network()
