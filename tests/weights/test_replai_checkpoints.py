"""Checkpoints of RepLAI and AVID: every layout is read without running it, told apart, and refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from avid_networks import HEADS, Golden, replai_names
from torch import Tensor

from egotools.errors import WeightsError
from egotools.nn.r2plus1d import R2Plus1D
from egotools.nn.spec_cnn import AvidSpecCnn9, SpecCnn
from egotools.weights.description import describe
from egotools.weights.replai import (
    load_sound,
    load_video,
    published_of,
    read_replai,
    sound_network,
    video_network,
)

Tensors = dict[str, Tensor]


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def replai(video: Tensors, audio: Tensors, module: str = "module.") -> Tensors:
    return prefixed(module, replai_names(video, audio))


def avid(video: Tensors, audio: Tensors) -> Tensors:
    heads = {
        "module.video_proj.projection.0.0.weight": torch.ones(3, 2),
        "module.audio_proj.projection.0.0.bias": torch.ones(2),
    }
    return prefixed("module.video_model.", video) | prefixed("module.audio_model.", audio) | heads


@pytest.fixture(scope="module")
def video() -> Tensors:
    return Golden("video_r2p1d10_48").parameters()


@pytest.fixture(scope="module")
def audio() -> Tensors:
    return Golden("audio_spec_cnn9_125x80").parameters()


Content = Callable[[Tensors, Tensors], object]
LAYOUTS: dict[str, tuple[Content, str, bool]] = {
    "training": (
        lambda v, a: {"model": replai(v, a), "optimizer": {"state": {}}, "sampler": {"epoch": 3}, "epoch": 3},
        "RepLAI checkpoint, entry model",
        True,
    ),
    "for the converter": (lambda v, a: {"model_av": replai(v, a)}, "RepLAI checkpoint, entry model_av", True),
    "bare names": (lambda v, a: replai(v, a, ""), "RepLAI checkpoint", True),
    "of AVID": (lambda v, a: {"model": avid(v, a), "epoch": 1}, "AVID checkpoint, entry model", True),
    "converted": (lambda v, _: {"state_dict": v}, "RepLAI backbone, entry state_dict", False),
    "a probe's": (
        lambda v, _: {"model": prefixed("module.backbone.", v) | {"module.fc.verb_class.weight": torch.ones(2, 512)}},
        "RepLAI backbone, entry model",
        False,
    ),
    "a downstream task's": (
        lambda v, _: {"state_dict": prefixed("model.", v) | {"model.head.projection.weight": torch.ones(2, 512)}},
        "RepLAI backbone, entry state_dict",
        False,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_and_told_apart(layout, video, audio, tmp_path):
    content, words, has_sound = LAYOUTS[layout]
    path = tmp_path / "c.pth.tar"
    torch.save(content(video, audio), path)
    found = read_replai(path)
    path.unlink()
    assert (found.layout, found.depth, found.sound) == (words, 10, "avid" if has_sound else None)
    assert found.video.keys() == video.keys()
    assert all(torch.equal(value, video[name]) for name, value in found.video.items())
    assert found.audio.keys() == (audio.keys() if has_sound else set())
    assert all(torch.equal(value, audio[name]) for name, value in found.audio.items())
    assert found.heads.keys() == (HEADS.keys() if words.startswith("RepLAI checkpoint") else set())
    assert all(name.startswith(("video_proj.", "audio_proj.", "fc.", "model.head.")) for name in found.unused)


def test_a_checkpoints_networks_compute_what_the_reference_did(video, audio, tmp_path):
    torch.save({"model": replai(video, audio)}, tmp_path / "checkpoint_0101.pth")
    found = read_replai(tmp_path / "checkpoint_0101.pth")
    golden, sound = Golden("video_r2p1d10_48"), Golden("audio_spec_cnn9_125x80")
    with torch.no_grad():
        golden.check("pool", video_network(found).eval()(golden.input()))
        sound.check("pool", sound_network(found).eval()(sound.input()).amax((2, 3)))
    own, ours = R2Plus1D(10), AvidSpecCnn9()
    load_video(own, found)
    load_sound(ours, found)
    assert all(torch.equal(value, video[name]) for name, value in own.state_dict().items())
    assert all(torch.equal(value, audio[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("depth", [10, 18, 34])
def test_the_depth_is_told_from_the_names(depth):
    with torch.device("meta"):
        state = R2Plus1D(depth).state_dict()
    assert published_of(state, Path("x")).depth == depth


def test_the_other_network_for_sound_is_told_apart():
    with torch.device("meta"):
        state = prefixed("backbone.audio.", SpecCnn().state_dict())
    found = published_of(state, Path("x"))
    assert (found.sound, found.depth, found.network) == ("speccnn", None, "sound CNN speccnn")
    assert set(found.audio) == set(SpecCnn().state_dict())


def test_counters_of_batches_may_be_missing(video):
    found = published_of({k: v for k, v in video.items() if not k.endswith("num_batches_tracked")}, Path("x"))
    load_video(R2Plus1D(10), found)
    assert video_network(found).conv1[1].num_batches_tracked == 0


def test_weights_in_half_precision_become_float32(audio):
    halved = {name: value.half() if value.is_floating_point() else value for name, value in audio.items()}
    network = sound_network(published_of(halved, Path("x")))
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    torch.testing.assert_close(network.block1.conv1.weight.data, halved["block1.conv1.weight"].float())


V, A = "backbone.video.", "backbone.audio."


@pytest.mark.parametrize(
    ("gone", "new", "words"),
    [
        (f"{V}conv4x.tmp_bn1.weight", {}, f"1 missing such as '{V}conv4x.tmp_bn1.weight'"),
        (f"{V}conv1.0.weight", {}, f"1 missing such as '{V}conv1.0.weight'"),
        (f"{A}conv1.0.weight", {}, f"1 missing such as '{A}conv1.0.weight'"),
        (None, {f"{V}conv3x.extra": torch.ones(1)}, f"1 unknown such as '{V}conv3x.extra'"),
        (None, {f"{A}fc.weight": torch.ones(1)}, f"1 unknown such as '{A}fc.weight'"),
        (None, {f"{V}conv2x.out_bn.bias": torch.ones(3)}, rf"'{V}conv2x.out_bn.bias' is \(3,\), not \(64,\)"),
        (None, {f"ema.{V}conv2x.out_bn.bias": torch.ones(3)}, f"several such networks, '{V}' and 'ema.{V}'"),
        (
            None,
            {f"{V}conv3x.{n}.out_bn.bias": torch.ones(3) for n in (0, 1)},
            "1, 2, 1, 1 blocks .* none of R\\(2\\+1\\)D-10, -18, -34",
        ),
    ],
)
def test_a_network_that_is_not_whole_is_refused_by_name(gone, new, words, video, audio):
    tensors = replai(video, audio, "") | new
    tensors.pop(gone, None)
    with pytest.raises(WeightsError, match=f"^a.pth: .*{words}"):
        published_of(tensors, Path("a.pth"))


def test_other_files_and_missing_networks_are_refused_by_name(video, audio, tmp_path):
    torch.save({"layer1.0.conv1.weight": torch.ones(3, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth: contains no network of RepLAI or AVID"):
        read_replai(tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"none\.pth"):
        read_replai(tmp_path / "none.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 not whole")
    with pytest.raises(WeightsError, match=r"cut\.pth: not readable"):
        read_replai(tmp_path / "cut.pth")
    only_video, only_sound = published_of(video, Path("v")), published_of(audio, Path("a"))
    with pytest.raises(WeightsError, match=r"v: contains no network for sound, only video R\(2\+1\)D-10"):
        sound_network(only_video)
    with pytest.raises(WeightsError, match="a: contains no video network, only sound CNN avid"):
        video_network(only_sound)
    with pytest.raises(WeightsError, match=r"v: its video network is R\(2\+1\)D-10, not R\(2\+1\)D-18"):
        load_video(R2Plus1D(18), only_video)
    with pytest.raises(WeightsError, match="a: its network for sound is avid, not speccnn"):
        load_sound(SpecCnn(), only_sound)


def test_a_run_is_read_whole_or_by_its_backbones(video, audio, tmp_path):
    from safetensors.torch import save_file

    save_file(video, tmp_path / "backbone.safetensors")
    found = read_replai(f"run:{tmp_path}")
    assert (found.depth, found.sound, found.heads) == (10, None, {})
    save_file(audio, tmp_path / "backbone.audio.safetensors")
    assert read_replai(tmp_path).sound == "avid"
    save_file(replai(video, audio, ""), tmp_path / "replai.safetensors")
    assert read_replai(tmp_path).heads.keys() == HEADS.keys()
    with pytest.raises(WeightsError, match="nowhere: no such run"):
        read_replai("run:nowhere")


def test_what_a_file_is_can_be_asked_for(video, audio, tmp_path):
    for content, wanted in (
        ({"model": replai(video, audio)}, "RepLAI: video R(2+1)D-10, sound CNN avid, 2 heads"),
        ({"model_av": avid(video, audio)}, "AVID: video R(2+1)D-10, sound CNN avid"),
        ({"state_dict": video}, "RepLAI: video R(2+1)D-10"),
    ):
        torch.save(content, tmp_path / "c.pth")
        assert describe(tmp_path / "c.pth").network == wanted
