"""HRNetV2-W48: the reference's outputs, published weights, and which frames of a clip are averaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from fill import DATA, assert_as_recorded, input_of, recorded_shapes, state_dict
from PIL import Image
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from egotools.errors import WeightsError
from egotools.extraction.forward import fold_batch_norms, runnable
from egotools.extractors.backbone import View, write_backbone
from egotools.extractors.hrnet import HRNET, HRNetModel
from egotools.extractors.lookup import find_extractor
from egotools.machine import has_fast_bf16
from egotools.nn.hrnet import HRNet
from egotools.types import Clip, VideoInfo

CPU = torch.device("cpu")
CLIP = Clip("a", Path("a.mp4"))


def film(frames: int) -> VideoInfo:
    return VideoInfo(np.arange(frames) / 10, frames / 10, 64, 48)


def shapes() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in HRNet().state_dict().items()}


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return state_dict(shapes())


@pytest.fixture(scope="module")
def checkpoint(tensors: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As CSAIL publishes it: with what its batch-norms needed in training, without the counts of batches."""
    path = tmp_path_factory.mktemp("hrnet") / "encoder_epoch_30.pth"
    found = {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    for name in list(found):
        if name.endswith("running_mean"):
            norm = name.removesuffix("running_mean")
            found |= {f"{norm}_tmp_{kind}": found[f"{norm}{kind}"] for kind in ("running_mean", "running_var")}
            found[f"{norm}_running_iter"] = torch.ones(1)
    torch.save(found, path)
    yield path
    path.unlink()  # 260 MB


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> HRNet:
    found = HRNET.features(str(checkpoint))
    assert isinstance(found, HRNet)
    return found


def test_published_weights_give_the_references_map_and_descriptor(network):
    recorded = np.load(DATA / "memorability/hrnetv2_enc_64.npz")
    image = input_of("image", 1, 3, 64, 64)
    with torch.inference_mode():
        features, descriptor = network.encode(image), network(image)
    assert features.shape == (1, 720, 16, 16)
    assert_as_recorded(features[:, ::15, ::4, ::4], recorded["feat_slice"])
    assert_as_recorded(descriptor, recorded["descriptor"])
    assert features.double().mean().item() == pytest.approx(recorded["feat_mean"].item(), rel=1e-5)
    assert features.double().norm().item() == pytest.approx(recorded["feat_l2"].item(), rel=1e-5)


@pytest.mark.slow
def test_a_whole_frame_gives_the_references_descriptor(network, shared):
    recorded = np.load(shared / "goldens/memorability/hrnetv2_256.npz")
    image = input_of("image", 1, 3, 256, 256)
    with torch.inference_mode():
        assert_as_recorded(network.encode(image)[:, ::15, ::4, ::4], recorded["feat_slice"])
        assert_as_recorded(network(image), recorded["descriptor"])


def test_parameters_have_the_names_and_shapes_of_the_published_ones(shared):
    assert shapes() == recorded_shapes(shared / "goldens/memorability/hrnetv2_enc_64.json")


@pytest.mark.parametrize("size", [(64, 64), (96, 32)])
def test_the_descriptor_is_the_mean_of_the_map(network, size):
    image = torch.randn(2, 3, *size)
    with torch.inference_mode():
        features, descriptor = network.encode(image), network(image)
    torch.testing.assert_close(descriptor, features.mean((2, 3)), rtol=1e-4, atol=1e-5 * features.abs().max().item())


@pytest.fixture(scope="module")
def small() -> HRNetModel:
    return HRNetModel(weights="random:0", frames=5, resize="64x64")


def pixels(batch: int, length: int, seed: int = 0) -> Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.integers(0, 256, (batch, length, 64, 64, 3), dtype=np.uint8))


def test_a_row_is_the_mean_over_its_frames_of_descriptors_of_normalized_images(small):
    windows = pixels(2, 3)
    network = small.network()
    mean, std = (np.array(values, np.float32) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        rows = network(windows)
        for row, frames in zip(rows, windows, strict=True):
            images = torch.from_numpy((frames.numpy() / np.float32(255) - mean) / std).permute(0, 3, 1, 2)
            torch.testing.assert_close(row, network.features(images).mean(0), rtol=1e-3, atol=1e-5)


def test_every_batch_norm_folds_and_rows_stay(small):
    network = small.network()
    with torch.inference_mode():
        wanted = network(pixels(2, 2))
    norms = sum(isinstance(module, _BatchNorm) for module in network.modules())
    assert fold_batch_norms(network) == norms == 305
    run = runnable(network, CPU, "float32")
    torch.testing.assert_close(run(pixels(2, 2)), wanted, rtol=1e-4, atol=1e-5)


def test_rows_in_bf16_are_those_in_float32_but_for_rounding(small):
    if not has_fast_bf16(CPU):
        pytest.skip("this processor computes no bf16")
    exact, fast = (runnable(small.network(), CPU, precision)(pixels(3, 2)) for precision in ("float32", "bf16"))
    assert fast.dtype == torch.float32
    assert torch.cosine_similarity(exact, fast).min() > 0.9999
    assert torch.cosine_similarity(exact - exact.mean(0), fast - fast.mean(0)).min() > 0.98


@pytest.mark.parametrize(
    ("frames", "length", "wanted"),
    [
        (1, 45, [0]),
        (5, 45, [0, 9, 18, 27, 36]),
        (9, 45, [0, 5, 10, 15, 20, 25, 30, 35, 40]),
        (1, 90, [0]),
        (5, 89, [0, 18, 36, 54, 72]),  # every second frame of the 89 is one of the 45
        (5, 3, [0, 0, 1, 1, 2]),
        (9, 1, [0] * 9),
    ],
)
def test_frames_are_every_so_manyth_of_45_spread_over_the_clip(frames, length, wanted):
    windows = HRNetModel(frames=frames).windows(film(length), CLIP)
    assert windows.frames.tolist() == [wanted]
    assert windows.times.tolist() == [[0, length / 10]]


def test_frames_are_squashed_as_by_pillow(rng):
    frame = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1)
    wanted = np.asarray(Image.fromarray(frame).resize((256, 256), Image.Resampling.BICUBIC)).astype(int)
    difference = np.abs(HRNetModel().prepare(frame) - wanted)
    assert difference.max() <= 2
    assert difference.mean() < 0.1


@pytest.mark.parametrize(("width", "left"), [(455, 99), (456, 100), (257, 0), (256, 0)])
def test_a_short_side_takes_the_centre_as_the_reference_does_for_videomem(rng, width, left):
    frame = rng.integers(0, 256, (256, width, 3), dtype=np.uint8)
    assert np.array_equal(HRNetModel(resize="256").prepare(frame), frame[:, left : left + 256])


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, tensors):
    some = {name: value for name, value in tensors.items() if name.startswith(("conv1", "bn1", "layer1.0"))}
    torch.save({"state_dict": {f"module.{name}": value for name, value in some.items()}}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"part\.pth: does not fit the network: \d+ missing such as 'conv2\.weight'"):
        HRNET.features(str(tmp_path / "part.pth"))
    torch.save({"cbr.0.weight": torch.zeros(3)}, tmp_path / "decoder.pth")
    with pytest.raises(WeightsError, match=r"decoder\.pth: .* 1 unknown such as 'cbr\.0\.weight'"):
        HRNET.features(str(tmp_path / "decoder.pth"))


def test_weights_that_cannot_be_downloaded_are_named_with_where_they_are_to_be_had(monkeypatch, tmp_path):
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    with pytest.raises(WeightsError) as error:
        HRNetModel().weights_digest()
    url = "http://sceneparsing.csail.mit.edu/model/pytorch/ade20k-hrnetv2-c1/encoder_epoch_30.pth"
    assert f"fetch {url} to" in str(error.value)
    assert f"to {tmp_path / 'checkpoints/ade20k-hrnetv2-c1-encoder_epoch_30.pth'}, or give --weights" in str(
        error.value
    )
    with pytest.raises(
        WeightsError, match="hrnet has no weights 'ADE20K'; choose from DEFAULT, a file, or random:<seed>"
    ):
        HRNetModel(weights="ADE20K").weights_digest()


def test_a_run_that_trained_it_is_an_extractor_of_its_own(tmp_path, small):
    wanted = small.network()
    tensors = {name: value + 0.01 for name, value in wanted.features.state_dict().items() if name.startswith("conv1")}
    wanted.features.load_state_dict(tensors, strict=False)
    write_backbone(tmp_path, {"default": View("hrnet", {"frames": 5, "resize": "64x64"})}, wanted.features.state_dict())
    found = find_extractor(f"run:{tmp_path}")
    extractor = found.built()
    assert (type(extractor), extractor.frames, found.fixed["model"]) == (HRNetModel, 5, "hrnet")
    with torch.inference_mode():
        rows = extractor.network()(pixels(2, 5))
        assert torch.equal(rows, wanted(pixels(2, 5)))
        assert not torch.equal(rows, small.network()(pixels(2, 5)))
    (tmp_path / "backbone.safetensors").unlink()  # 260 MB
