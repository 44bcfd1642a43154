"""Published networks on frames of another size than their weights were made for: computed, or refused in a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import write_video
from egotools.cli.main import root
from safetensors.torch import save_file

from egotools.errors import EgotoolsError, ExtractorError, WeightsError
from egotools.extraction.forward import runnable
from egotools.extraction.precision import compare_precisions
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import CacheRequest
from egotools.extractors.lookup import find_extractor
from egotools.stores import open_store

CPU = torch.device("cpu")


def frames(height: int, width: int, count: int = 2) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (count, 1, height, width, 3), dtype=np.uint8))


def normalized(windows: torch.Tensor, mean: float, std: float) -> torch.Tensor:
    return (windows[:, 0].permute(0, 3, 1, 2).float() / 255 - mean) / std


@pytest.mark.parametrize("options", [{"resize": "112"}, {"crop": "112"}, {"resize": "112x112"}], ids=str)
def test_position_embeddings_of_a_weights_file_are_resampled_as_timm_does(options, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    weights = str(tmp_path / "w.safetensors")
    save_file(timm.create_model("vit_tiny_patch16_224", pretrained=False).state_dict(), weights)
    own = timm.create_model(
        "vit_tiny_patch16_224", img_size=112, num_classes=0, pretrained=True, pretrained_cfg_overlay={"file": weights}
    ).eval()
    extractor = find_extractor("timm:vit_tiny_patch16_224").built(weights=weights, **options)
    assert extractor.preprocessing.size == (112, 112)
    windows = frames(112, 112)
    with torch.inference_mode():
        expected, found = own(normalized(windows, 0.5, 0.5)), extractor.network()(windows)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_vision_transformer_of_torchvision_has_its_positions_resampled(tmp_path: Path) -> None:
    from torchvision.models import VisionTransformer
    from torchvision.models.vision_transformer import interpolate_embeddings

    from egotools.extractors.torchvision_models import _resampled

    small = {"patch_size": 16, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 16}
    tensors = VisionTransformer(image_size=64, **small).state_dict()
    network = VisionTransformer(image_size=32, **small)
    expected = interpolate_embeddings(32, 16, tensors.copy())["encoder.pos_embedding"]
    assert torch.equal(_resampled(dict(tensors), network)["encoder.pos_embedding"], expected)
    assert expected.shape == network.encoder.pos_embedding.shape


def test_the_line_of_a_user_computes_rows_at_the_smaller_size(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    (tmp_path / "m.csv").write_text("id,path\na,a.mp4\n")
    write_video(tmp_path / "a.mp4", size=(48, 64))
    name = "timm:vit_small_patch14_dinov2.lvd142m"
    line = ["extract", "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path), name]
    done = CliRunner().invoke(root, [*line, "--weights", "random:0", "--resize", "56"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert open_store(tmp_path / "vit_small_patch14_dinov2.lvd142m.lmdb")["a"].values.shape == (2, 384)


def test_one_number_is_the_side_of_the_frames_in_the_proportion_of_the_weights_own() -> None:
    pytest.importorskip("timm")
    found = find_extractor("timm:vit_tiny_patch16_224")
    sizes = {}
    for side in (96, 224, 448):
        prepared = found.built(weights="random:0", img_size=side).preprocessing
        sizes[side] = (prepared.resize, prepared.crop)
    assert sizes == {96: ((106,), (96, 96)), 224: ((248,), (224, 224)), 448: ((496,), (448, 448))}
    whole = find_extractor("csn").built(weights="random:0", img_size=64).preprocessing
    assert (whole.resize, whole.crop) == ((64, 64), (64, 64))
    wide = find_extractor("tsm").built(weights="random:0", img_size=128).preprocessing  # of 256x454
    assert wide.size == (128, 227)


@pytest.mark.parametrize("options", [{"resize": "64"}, {"crop": "64"}], ids=str)
def test_one_number_is_not_mixed_with_two(options) -> None:
    with pytest.raises(ValueError, match="give --img-size, or --resize and --crop"):
        find_extractor("resnet18").built(img_size=64, **options)
    with pytest.raises(ValueError, match="--img-size must be above 0, not 0"):
        find_extractor("resnet18").built(img_size=0)


@pytest.mark.parametrize("options", [["--img-size", "160"], ["--resize", "160", "--crop", "160"]], ids=str)
def test_a_line_of_a_user_builds_a_vision_transformer_for_another_size(options, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    (tmp_path / "m.csv").write_text("id,path\na,a.mp4\n")
    write_video(tmp_path / "a.mp4", size=(48, 64))
    line = ["extract", "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path), "timm:vit_tiny_patch16_224"]
    done = CliRunner().invoke(root, [*line, "--weights", "random:0", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert open_store(tmp_path / "vit_tiny_patch16_224.lmdb")["a"].values.shape == (2, 192)


def test_a_short_side_below_the_crop_is_cropped_to_itself_in_a_recipe_of_its_own() -> None:
    found = find_extractor("resnet18")

    def version(**options: str | int) -> object:
        wanted = CacheRequest(Path("a.lmdb"), found.built(weights="random:0", **options), found)
        return recipe_of(wanted).identity["version"]

    assert found.built(resize="112").preprocessing.crop == (112, 112)
    assert found.built(resize="112", crop="224").preprocessing.crop == (224, 224)  # filled up with black, as asked for
    assert found.built(resize="300").preprocessing.crop == (224, 224)
    versions = [version(), version(resize="300"), version(resize="112x112"), version(resize="112", crop="224")]
    assert (versions, version(resize="112"), version(img_size=112)) == ([1, 1, 1, 1], 2, 1)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        (
            "timm:levit_128s",
            {"resize": "100"},
            "refuses windows of one frame of 100x100; its weights are made for 224x224",
        ),
        ("timm:nest_tiny", {"crop": "100"}, "refuses windows of one frame of 100x100"),
        ("vit_b_16", {"crop": "100"}, "refuses windows of one frame of 100x100"),
        ("torchvision:maxvit_t", {"resize": "100"}, "refuses windows of one frame of 100x100"),
        (
            "torchvision:s3d",
            {"frames": 4},
            "refuses windows of 4 frames of 224x224; its weights are made for 128 of 224x224",
        ),
    ],
)
def test_a_network_that_cannot_take_a_size_says_so_when_it_is_built(name, options, text) -> None:
    if name.startswith("timm"):
        pytest.importorskip("timm")
    with pytest.raises(ExtractorError, match=text) as raised:
        find_extractor(name).built(weights="random:0", **options).network()
    assert "\n" not in str(raised.value)


def test_a_convolutional_network_of_timm_takes_any_size() -> None:
    pytest.importorskip("timm")
    extractor = find_extractor("timm:resnet10t").built(weights="random:0", crop="100")
    with torch.inference_mode():
        assert extractor.network()(frames(100, 100)).shape == (2, 512)


def test_weights_of_another_network_are_named_by_what_they_are(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    weights = str(tmp_path / "w.safetensors")
    save_file({"other.weight": torch.ones(2)}, weights)
    with pytest.raises(WeightsError, match=r"1 unknown such as 'other\.weight'"):
        find_extractor("timm:vit_tiny_patch16_224").built(weights=weights, crop="112").network()


class WithoutBf16(torch.nn.Module):
    """An operation that has no kernel for bf16 on CPUs, as S3D has."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool3d(x.float().to(self.dtype), 2).flatten(1)

    dtype = torch.float32


def test_a_network_with_an_operation_without_bf16_is_refused_in_one_line(monkeypatch) -> None:
    monkeypatch.setattr("egotools.machine.has_fast_bf16", lambda device: True)
    exact, fast = WithoutBf16(), WithoutBf16()
    fast.dtype = torch.bfloat16
    with pytest.raises(EgotoolsError, match=r"^s3d: cannot be computed in bf16 here \(.*; use --precision float32$"):
        compare_precisions(
            runnable(exact, CPU, "float32"), runnable(fast, CPU, "float32"), [torch.ones(1, 1, 4, 4, 4)], "s3d"
        )
