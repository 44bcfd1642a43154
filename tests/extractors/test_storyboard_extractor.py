"""The extractor `storyboard`: the reference's pixels in both views, and the network that weights belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fill import normal
from storyboard_networks import recorded

from egotools.errors import WeightsError
from egotools.extractors.storyboard import StoryboardModel
from egotools.methods.storyboard.learners import Learner
from egotools.types import Clip, VideoInfo

MEAN, STD = (torch.tensor(values) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    """The image of the recorded transforms, 256 x 352."""
    cells = normal("input/image", (16, 22, 3)).repeat(16, axis=0).repeat(16, axis=1)
    y, x = np.mgrid[:256, :352].astype(np.float32)
    ramps = np.stack([x / 352, y / 256, (x + y) / (352 + 256)], axis=2)
    return np.clip(np.rint(127.5 + 45 * cells + 20 * ramps), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("eval", {}),
        ("eval", {"vertical_flip": True}),  # evaluation is never turned
        ("kcam.test", {"view": "cluster"}),
        ("saycam.test", {"view": "cluster", "vertical_flip": True}),
    ],
)
def test_pixels_are_the_references(frame, case, options):
    found = StoryboardModel(**options).prepare(frame)
    assert (found.shape, found.dtype) == ((112, 112, 3), np.uint8)
    normalized = ((torch.from_numpy(found) / 255 - MEAN) / STD).permute(2, 0, 1)
    wanted = recorded("data_transforms")[f"{case}.slice"]
    np.testing.assert_allclose(normalized[:, ::7, ::7].numpy(), wanted, atol=2e-2)  # one grey level


def test_a_row_is_a_frame():
    video = VideoInfo(np.arange(20) / 10, 2.0, 64, 48)
    assert StoryboardModel().windows(video, Clip("a", Path("a.mp4"))).frames.tolist() == [[5], [15]]
    assert StoryboardModel(stride=8).windows(video, Clip("a", Path("a.mp4"))).frames.tolist() == [[0], [8], [16]]


def test_random_weights_are_those_that_a_training_of_the_seed_begins_with():
    torch.manual_seed(5)
    wanted = Learner("simclr", 18).backbone.state_dict()
    found = StoryboardModel(weights="random:5", depth="18").network()
    assert isinstance(found, torch.nn.Module)
    assert all(torch.equal(value, wanted[name]) for name, value in found[2].state_dict().items())


def test_depth_and_norm_are_those_of_the_weights_and_others_are_refused(tmp_path):
    model = Learner("simclr", 18, norm="batch")
    torch.save({"model_state_dict": model.state_dict(), "optimizer_state_dict": {}}, tmp_path / "step_9.pth")
    extractor = StoryboardModel(weights=str(tmp_path / "step_9.pth"), crop_size=32)
    rows = extractor.network()(torch.zeros(2, 1, 32, 32, 3, dtype=torch.uint8))
    assert rows.shape == (2, 512)
    assert extractor.weights_digest() != "random:0"
    for options in ({"depth": "50"}, {"norm": "group"}):
        with pytest.raises(WeightsError, match=r"step_9\.pth: its backbone is a ResNet-18 with batch norm, not a"):
            StoryboardModel(weights=extractor.weights, **options).network()
    with pytest.raises(WeightsError, match="storyboard has no weights 'DEFAULT': none were published; give --weights"):
        StoryboardModel().network()
    with pytest.raises(ValueError, match="--crop-size must be above 0, not 0"):
        StoryboardModel(crop_size=0)
