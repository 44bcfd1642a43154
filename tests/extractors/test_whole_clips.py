"""`--frames all`: rows of every frame of a clip; and what is said of clips with blank frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from egotools.cli.main import root
from media_files import write_video
from PIL import Image

from egotools import sampling
from egotools.errors import ClipError
from egotools.extractors.csn import CSNModel
from egotools.extractors.hog import squashed
from egotools.extractors.hrnet import HRNetModel, _FrameMean, _WholeMean
from egotools.extractors.m3s import M3S
from egotools.extractors.reproduction import reproduced
from egotools.lowlevel.blurriness import BLANK, blurriness, is_blank
from egotools.lowlevel.color import contrast
from egotools.manifests.table import write_manifest
from egotools.media.video import open_frames
from egotools.pixels.preprocessing import Preprocessing
from egotools.stores import open_store
from egotools.types import Clip, VideoInfo

FILM = VideoInfo(np.arange(70) / 10, 7.0, 64, 48)
WHOLE = Clip("a", Path("a.mp4"))


def extract(folder, *words):
    line = ["extract", "--manifest", folder / "m.csv", "--out", folder / "c", "--workers", 1, *words]
    return CliRunner().invoke(root, [str(word) for word in line])


def noise(rng, count):
    """Soft pictures."""
    blocks = rng.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(block).resize((128, 96))) for block in blocks]


def frames_of(path):
    video = open_frames(path)
    frames = np.stack([squashed(frame) for frame in video.frames(range(len(video.info)))])
    video.close()
    return frames


@pytest.mark.parametrize(
    "extractor", [M3S(only=("contrast",), frames="all"), HRNetModel(frames="all"), CSNModel(frames="all")]
)
def test_all_frames_of_a_clip_make_its_one_window(extractor):
    assert extractor.windows(FILM, WHOLE).frames.tolist() == [list(range(70))]
    part = extractor.windows(FILM, Clip("a", Path("a.mp4"), start=1.0, end=2.0))
    assert part.frames.tolist() == [list(range(10, 20))]
    assert part.times.tolist() == [[1.0, 2.0]]


def test_a_clip_too_long_to_be_taken_whole_is_one_line(monkeypatch):
    monkeypatch.setattr(sampling, "MOST_FRAMES", 69)
    with pytest.raises(ClipError, match=r"a\.mp4: the clip has 70 frames, but --frames all reads at most 69"):
        M3S(only=("contrast",), frames="all").windows(FILM, WHOLE)
    assert M3S(only=("contrast",)).windows(FILM, WHOLE).frames.shape == (1, 45)


def test_raw_features_of_all_frames_are_the_mean_over_them_and_are_made_again_so(tmp_path, rng):
    for name, count in (("a", 60), ("b", 7)):
        write_video(tmp_path / f"{name}.mp4", noise(rng, count), rate=10)
    write_manifest(tmp_path / "m.csv", [Clip(name, tmp_path / f"{name}.mp4") for name in "ab"])
    result = extract(tmp_path, "m3s", "--only", "contrast", "--deviations", "--frames", "all")
    assert result.exit_code == 0, result.output
    store = open_store(tmp_path / "c/m3s.lmdb")
    for name in "ab":
        values = contrast(frames_of(tmp_path / f"{name}.mp4"))
        np.testing.assert_allclose(store[name].values[0], [values.mean(), values.std()], rtol=1e-6)
    assert store.recipe.identity["options"]["frames"] == "all"
    assert reproduced(store.recipe)[1].frames == "all"


@pytest.mark.parametrize(("name", "given"), [("m3s", "some"), ("hrnet", "7"), ("csn", "0"), ("m3s", "0")])
def test_other_counts_are_wrong_usage(tmp_path, name, given):
    (tmp_path / "m.csv").touch()
    result = extract(tmp_path, name, "--frames", given)
    assert result.exit_code == 2
    assert "frames" in result.output


def test_many_frames_pass_the_network_in_parts_and_have_their_mean(rng):
    mean = _FrameMean(Preprocessing((8, 8), (8, 8)), Heights())
    windows = torch.from_numpy(rng.integers(0, 256, (2, 150, 8, 8, 3), dtype=np.uint8))
    found = _WholeMean(mean)(windows)
    assert mean.features.seen == [128, 128, 44]
    torch.testing.assert_close(found, mean(windows))
    assert isinstance(HRNetModel(weights="random:0", frames="all").network(), _WholeMean)


class Heights(torch.nn.Module):
    """Means over the pixels; remembers how many frames came at once."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        return images.mean((2, 3))


def test_clips_with_blank_frames_are_counted_and_named(tmp_path, rng):
    black = [np.zeros((96, 128, 3), np.uint8)] * 2
    write_video(tmp_path / "a.mp4", noise(rng, 5), rate=10)
    write_video(tmp_path / "b.mp4", [*noise(rng, 3), *black], rate=10)
    write_manifest(tmp_path / "m.csv", [Clip(name, tmp_path / f"{name}.mp4") for name in "ab"])
    remark = "2 of 5 frames are blank"
    result = extract(tmp_path, "m3s", "--only", "blurriness,contrast", "--frames", "all")
    assert result.exit_code == 0
    assert f"m3s.lmdb: b: {remark}" in result.stderr.replace("\n", "")
    assert "m3s.lmdb: a:" not in result.stderr.replace("\n", "")
    values = blurriness(frames_of(tmp_path / "b.mp4"))
    assert (values == BLANK).sum() == 2
    content = json.loads(
        extract(tmp_path, "--json", "m3s", "--only", "blurriness", "--frames", 5, "--name", "x").stdout
    )
    (entry,) = content["caches"].values()
    assert list(entry["remarks"]) == ["b"]
    assert entry["remarks"]["b"].startswith(remark)
    without = json.loads(extract(tmp_path, "--json", "m3s", "--only", "contrast", "--name", "y").stdout)
    assert [each["remarks"] for each in without["caches"].values()] == [{}]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_frame_of_one_level_is_blank_and_one_with_a_pixel_off_is_not(level):
    frame = np.full((256, 256, 3), level, np.uint8)
    assert is_blank(frame)
    assert blurriness(frame[None])[0] == BLANK
    frame[100, 101] = 90
    assert not is_blank(frame)
    assert blurriness(frame[None])[0] > BLANK
