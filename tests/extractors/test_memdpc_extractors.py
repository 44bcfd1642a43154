"""The extractor `memdpc`: which frames of a clip, which square of a frame, and the network's own numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from memdpc_files import write_released
from PIL import Image

from egotools.config import recorded_options
from egotools.errors import WeightsError
from egotools.extraction.forward import runnable
from egotools.extractors.memdpc import MemDPCModel
from egotools.nn.memdpc import MemDPC, MemDPCContext, block_maps
from egotools.types import Clip, VideoInfo

pytestmark = pytest.mark.usefixtures("narrow_memdpc")

CPU = torch.device("cpu")
SMALL = {"size": 32, "blocks": 2, "length": 2, "stride": 3}


def video(count: int) -> VideoInfo:
    return VideoInfo(np.arange(count) / 10, count / 10, 64, 48)


def seen(extractor: MemDPCModel, windows: np.ndarray) -> torch.Tensor:
    """Rows as extraction computes them: batch norms folded."""
    return runnable(extractor.network(), CPU, "float32")(torch.from_numpy(windows))


def normalized(windows: np.ndarray, blocks: int) -> torch.Tensor:
    """Frames [B, L, S, S, 3] as clips [B, N, 3, L / N, S, S], written out."""
    pixels = torch.from_numpy(windows).float() / 255
    pixels = (pixels - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    count, length = pixels.shape[:2]
    return pixels.reshape(count, blocks, length // blocks, 32, 32, 3).permute(0, 1, 5, 2, 3, 4).contiguous()


def test_a_row_is_a_block_and_a_short_clip_is_padded():
    extractor = MemDPCModel(**SMALL)
    found = extractor.windows(video(20), Clip("a", Path("a.mp4")))
    assert found.frames.tolist() == [[0, 3], [6, 9], [12, 15]]
    np.testing.assert_allclose(found.times, [[0, 0.6], [0.6, 1.2], [1.2, 1.8]])
    part = extractor.windows(video(20), Clip("a", Path("a.mp4"), start=0.5, end=0.8))
    assert part.frames.tolist() == [[5, 7]]
    np.testing.assert_allclose(part.times, [[0.5, 0.8]])


def test_a_row_of_contexts_is_a_window_that_overlaps_by_half_as_published():
    extractor = MemDPCModel(feature="context", **SMALL)
    found = extractor.windows(video(20), Clip("a", Path("a.mp4")))
    assert found.frames.tolist() == [[0, 3, 6, 9], [5, 8, 11, 14]]
    np.testing.assert_allclose(found.times, [[0, 1.2], [0.5, 1.7]])
    starts = MemDPCModel(feature="context").windows(video(300), Clip("a", Path("a.mp4"))).frames[:, 0]
    assert starts.tolist() == [0, 59, 118, 177]
    hopping = MemDPCModel(feature="context", hop=4, **SMALL).windows(video(20), Clip("a", Path("a.mp4")))
    assert hopping.frames[:, 0].tolist() == [0, 4, 8]


def test_a_square_is_reduced_to_its_nearest_pixels_unless_bilinear_is_asked_for(rng):
    frame = rng.integers(0, 255, (230, 240, 3), dtype=np.uint8)
    square = frame[3:227, 8:232]
    np.testing.assert_array_equal(MemDPCModel(size=32).prepare(frame), square[3::7, 3::7])
    wanted = np.asarray(Image.fromarray(square).resize((32, 32), Image.Resampling.BILINEAR), np.int16)
    smooth = MemDPCModel(size=32, interpolation="bilinear")
    assert np.abs(smooth.prepare(frame) - wanted).max() <= 1
    assert recorded_options(smooth).items() - recorded_options(MemDPCModel(size=32)).items() == {
        ("interpolation", "bilinear")
    }


@pytest.mark.parametrize("feature", ["backbone", "context"])
def test_rows_are_those_of_the_network_and_of_their_own_window_only(feature, rng):
    extractor = MemDPCModel(weights="random:5", feature=feature, **SMALL)
    windows = rng.integers(0, 255, (3, extractor.window_length, 32, 32, 3), dtype=np.uint8)
    torch.manual_seed(5)
    network = MemDPC()
    if feature == "backbone":
        network.eval()
        expected = block_maps(network.backbone, normalized(windows, 1)).mean((3, 4))[:, 0]
    else:
        context = MemDPCContext()
        context.load_state_dict({name: network.state_dict()[name] for name in context.state_dict()})
        expected = context.eval()(normalized(windows, 2))
    found = seen(extractor, windows)
    assert found.shape == (3, 16 if feature == "backbone" else 32)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen(extractor, windows[1:2]), found[1:2], rtol=1e-4, atol=1e-5)
    plain = seen(MemDPCModel(weights="random:5", feature=feature, normalize=False, **SMALL), windows)
    assert not torch.allclose(plain, found, atol=1e-3)


def test_the_batch_norms_of_the_backbone_are_folded():
    network = MemDPCModel(weights="random:0", feature="context").network()
    assert isinstance(network, torch.nn.Module)
    runnable(network, CPU, "float32")
    assert not [part for part in network.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)]


def test_squares_are_cut_out_of_mirrored_frames_and_narrow_frames_enlarged(rng):
    frame = rng.integers(0, 255, (224, 448, 3), dtype=np.uint8)
    kept = (np.arange(32) * 7) + 3  # nearest to the middle of 7 pixels
    left = MemDPCModel(crop="top-left", **SMALL).prepare(frame)
    np.testing.assert_array_equal(left, frame[kept][:, kept])
    right = MemDPCModel(crop="bottom-right", **SMALL).prepare(frame)
    np.testing.assert_array_equal(right, frame[kept][:, 224 + kept])
    mirrored = MemDPCModel(crop="top-left", flip=True, **SMALL).prepare(frame)
    np.testing.assert_array_equal(mirrored, frame[:, ::-1][kept][:, kept])
    narrow = MemDPCModel(**SMALL).prepare(np.full((48, 64, 3), 77, np.uint8))
    assert narrow.shape == (32, 32, 3)
    assert (narrow == 77).all()  # no black border


def test_the_depth_is_that_of_the_checkpoint_and_another_is_refused(tmp_path, rng):
    torch.manual_seed(0)
    network = MemDPC(slots=4)
    path = write_released(tmp_path / "m.pth.tar", network.state_dict())
    extractor = MemDPCModel(weights=str(path), **SMALL)
    windows = rng.integers(0, 255, (1, 2, 32, 32, 3), dtype=np.uint8)
    expected = block_maps(network.eval().backbone, normalized(windows, 1)).mean((1, 3, 4))
    torch.testing.assert_close(seen(extractor, windows), expected.detach(), rtol=1e-4, atol=1e-5)
    assert extractor.weights_digest() != "random:0"
    with pytest.raises(WeightsError, match="its backbone is a resnet18, not a resnet34"):
        MemDPCModel(weights=str(path), net="resnet34").network()
    with pytest.raises(WeightsError, match=r"memdpc has no weights 'DEFAULT' that could be downloaded; fetch a check"):
        MemDPCModel().network()
