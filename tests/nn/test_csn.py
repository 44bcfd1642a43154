"""ip-CSN-152 and ir-CSN-152: the reference's outputs, published weights of two sources, and a clip's window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import write_video
from egotools.cli.main import root
from fill import DATA, assert_as_recorded, input_of, recorded_shapes, state_dict
from PIL import Image
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from egotools.errors import WeightsError
from egotools.extraction.forward import FramewiseConv, fold_batch_norms, runnable
from egotools.extractors.csn import CSNModel, published_csn
from egotools.machine import has_fast_bf16
from egotools.media.video import open_frames
from egotools.nn.csn import CSN
from egotools.stores import open_store
from egotools.types import Clip, VideoInfo

CPU = torch.device("cpu")
CLIP = Clip("a", Path("a.mp4"))
HEAD = {"fc.weight": (400, 2048), "fc.bias": (400,)}
ARCHITECTURES = ("ip_csn_152", "ir_csn_152")


def shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in CSN(architecture).state_dict().items()} | HEAD


@pytest.fixture(scope="module", params=ARCHITECTURES)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An architecture, and a checkpoint of it as VMZ publishes them, with its classifier."""
    path = tmp_path_factory.mktemp("csn") / f"{request.param}.pth"
    torch.save(state_dict(shapes(request.param)), path)
    yield request.param, path
    path.unlink()  # 130 MB


@pytest.fixture(scope="module")
def network(published: tuple[str, Path]) -> CSN:
    architecture, path = published
    found = published_csn(architecture).features(str(path))
    assert isinstance(found, CSN)
    return found


def test_published_weights_give_the_references_descriptor(published, network):
    recorded = np.load(DATA / f"memorability/{published[0]}_8x112.npz")
    with torch.inference_mode():
        assert_as_recorded(network(input_of("clip", 1, 3, 8, 112, 112)), recorded["descriptor"])


@pytest.mark.slow
def test_a_whole_clip_gives_the_references_descriptor(published, network, shared):
    case = shared / f"goldens/memorability/{published[0]}_45x256.npz"
    if not case.is_file():
        pytest.skip("recorded for ip-CSN-152 only")
    with torch.inference_mode():
        assert_as_recorded(network(input_of("clip", 1, 3, 45, 256, 256)), np.load(case)["descriptor"])


def test_parameters_have_the_names_and_shapes_of_the_published_ones(published, shared):
    assert shapes(published[0]) == recorded_shapes(shared / f"goldens/memorability/{published[0]}_8x112.json")


def mmaction_names(architecture: str) -> dict[str, str]:
    """What mmaction2 calls the parts, and what VMZ does."""
    names = {"conv1.conv": "stem.0", "conv1.bn": "stem.1"}
    for layer, count in enumerate((3, 8, 36, 3), start=1):
        for block in range(count):
            before = f"layer{layer}.{block}."
            parts = ["conv1", "conv3", *(["downsample"] if block == 0 else [])]
            names |= {f"{before}{part}.conv": f"{before}{part}.0" for part in parts}
            names |= {f"{before}{part}.bn": f"{before}{part}.1" for part in parts}
            if architecture == "ip_csn_152":
                names |= {f"{before}conv2.0.conv": f"{before}conv2.0.0", f"{before}conv2.0.bn": f"{before}conv2.0.1"}
                names |= {f"{before}conv2.1.conv": f"{before}conv2.0.2", f"{before}conv2.1.bn": f"{before}conv2.1"}
            else:
                names |= {f"{before}conv2.0.conv": f"{before}conv2.0", f"{before}conv2.0.bn": f"{before}conv2.1"}
    return {f"backbone.{name}": ours for name, ours in names.items()} | {"cls_head.fc_cls": "fc"}


def test_mmaction2s_checkpoints_are_the_same_network(published, network, tmp_path):
    architecture, path = published
    vmz = torch.load(path, weights_only=True)
    renamed: dict[str, Tensor] = {}
    for name, ours in mmaction_names(architecture).items():
        parts = {key.rpartition(".")[2]: value for key, value in vmz.items() if key.rpartition(".")[0] == ours}
        renamed |= {f"{name}.{part}": value for part, value in parts.items()}
    assert len(renamed) == len(vmz)
    torch.save({"meta": {"epoch": 58}, "state_dict": renamed}, tmp_path / "mmaction.pth")
    same = published_csn(architecture).features(str(tmp_path / "mmaction.pth")).state_dict()
    (tmp_path / "mmaction.pth").unlink()
    assert all(torch.equal(value, same[name]) for name, value in network.state_dict().items())


def test_weights_of_the_other_architecture_are_refused(published):
    architecture, path = published
    (other,) = set(ARCHITECTURES) - {architecture}
    with pytest.raises(WeightsError, match=rf"{architecture}\.pth: does not fit the network: .*layer1\.0\.conv2\.0"):
        published_csn(other).features(str(path))


def pixels(batch: int, length: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (batch, length, 48, 32, 3), dtype=np.uint8))


@pytest.mark.parametrize(("architecture", "norms"), [("ip_csn_152", 205), ("ir_csn_152", 155)])
def test_every_batch_norm_folds_and_rows_stay(architecture, norms):
    network = CSNModel(weights="random:0", architecture=architecture).network()
    with torch.inference_mode():
        wanted = network(pixels(2, 5))
    assert sum(isinstance(module, _BatchNorm) for module in network.modules()) == norms
    assert fold_batch_norms(network) == norms
    run = runnable(network, CPU, "float32")
    assert sum(isinstance(module, FramewiseConv) for module in network.modules()) >= 100
    torch.testing.assert_close(run(pixels(2, 5)), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_in_bf16_are_those_in_float32_but_for_rounding(architecture):
    if not has_fast_bf16(CPU):
        pytest.skip("this processor computes no bf16")
    extractor = CSNModel(weights="random:0", architecture=architecture)
    exact, fast = (runnable(extractor.network(), CPU, precision)(pixels(3, 4)) for precision in ("float32", "bf16"))
    assert torch.cosine_similarity(exact, fast).min() > 0.9999
    assert torch.cosine_similarity(exact - exact.mean(0), fast - fast.mean(0)).min() > 0.98


def test_a_row_is_the_descriptor_of_the_normalized_clip():
    windows = pixels(2, 4)
    network = CSNModel(weights="random:0").network()
    mean, std = (
        np.array(values, np.float32) for values in ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
    )
    clips = torch.from_numpy((windows.numpy() / np.float32(255) - mean) / std).permute(0, 4, 1, 2, 3)
    with torch.inference_mode():
        torch.testing.assert_close(network(windows), network.features(clips), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "length", "wanted"),
    [
        (45, 45, list(range(45))),
        (45, 89, list(range(0, 89, 2))),
        (4, 10, [0, 3, 6, 9]),
        (5, 3, [0, 0, 1, 2, 2]),
        (1, 30, [0]),
        (45, 2, [0] * 23 + [1] * 22),
        (45, 1, [0]),  # an image
    ],
)
def test_frames_are_spread_over_the_clip(frames, length, wanted):
    video = VideoInfo(np.arange(length) / 10, length / 10, 64, 48)
    windows = CSNModel(frames=frames).windows(video, CLIP)
    assert windows.frames.tolist() == [wanted]
    assert windows.times.tolist() == [[0, length / 10]]


def test_images_and_videos_of_one_manifest_are_computed_each_at_its_own_length(tmp_path):
    Image.fromarray(np.full((40, 30, 3), (200, 90, 10), np.uint8)).save(tmp_path / "b.png")
    for name in ("a.mp4", "c.mp4"):
        write_video(tmp_path / name, 12)
    (tmp_path / "m.csv").write_text("id,path\na,a.mp4\nb,b.png\nc,c.mp4\n")
    line = ["extract", "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path), "--workers", "1"]
    options = ["--weights", "random:0", "--frames", "4", "--resize", "32x32"]
    result = CliRunner().invoke(root, [*line, "csn", *options, "hrnet", "--weights", "random:0", "--resize", "32x32"])
    assert result.exit_code == 0, result.output
    extractor = CSNModel(weights="random:0", frames=4, resize="32x32")
    network = extractor.network()
    store = open_store(tmp_path / "csn.lmdb")
    for id, path, frames in (("a", "a.mp4", [0, 4, 7, 11]), ("b", "b.png", [0]), ("c", "c.mp4", [0, 4, 7, 11])):
        source = open_frames(tmp_path / path)
        window = np.stack([extractor.prepare(frame) for frame in source.frames(np.array(frames))])
        source.close()
        with torch.inference_mode():
            wanted = network(torch.from_numpy(window[None]))[0].numpy()
        np.testing.assert_allclose(store[id].values, wanted[None], rtol=1e-3, atol=1e-5)
    assert open_store(tmp_path / "hrnet.lmdb")["b"].values.shape == (1, 720)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_frames_are_256_pixels_square_by_default(architecture, rng):
    extractor = CSNModel(architecture=architecture)
    frame = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    assert extractor.prepare(frame).shape == CSNModel(resize="256").prepare(frame).shape == (256, 256, 3)


def test_weights_that_cannot_be_downloaded_are_named_with_where_they_are_to_be_had(monkeypatch, tmp_path):
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    for options, file in (
        ({}, "ipCSN_152_ft_kinetics_from_ig65m_f133090949.pth"),
        ({"weights": "ig65m_32frms"}, "ipCSN_152_ig65m_from_scratch_f130601052.pth"),
        ({"architecture": "ir_csn_152"}, "irCSN_152_ft_kinetics_from_ig65m_f126851907.pth"),
    ):
        with pytest.raises(WeightsError) as error:
            CSNModel(**options).weights_digest()
        assert f"fetch https://github.com/bjuncek/VMZ/releases/download/test_models/{file} to" in str(error.value)
        assert f"to {tmp_path / 'checkpoints' / file}, or give --weights FILE" in str(error.value)
    with pytest.raises(
        WeightsError, match=r"csn has no weights 'kinetics'; choose from DEFAULT, ig_ft_kinetics_32frms"
    ):
        CSNModel(weights="kinetics").weights_digest()
