"""Image encoders of open_clip, here of tiny networks: weights by tag or file, preprocessing, spaces, and texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_video
from PIL import Image
from safetensors.torch import save_file

from egotools.errors import EgotoolsError, ExtractorError, MissingExtra, WeightsError
from egotools.extractors.lookup import find_extractor
from egotools.extractors.open_clip_models import OpenClipModel
from egotools.extractors.text_tower import text_rows
from egotools.stores import open_store

open_clip = pytest.importorskip("open_clip")

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TINY: dict[str, dict[str, Any]] = {
    "Tiny-16": {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 24, "head_width": 12, "patch_size": 16},
        "text_cfg": TEXT,
    },
    "Tiny-RN": {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "patch_size": None},
        "text_cfg": TEXT,
    },
    "Tiny-timm": {
        "embed_dim": 8,
        "vision_cfg": {
            "timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear", "image_size": 160,
        },
        "text_cfg": TEXT,
    },
    "Tiny-SigLIP": {
        "embed_dim": 64,
        "custom_text": True,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "none", "image_size": 160},
        "text_cfg": TEXT,
    },
}  # fmt: skip
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def tag(**settings: Any) -> dict[str, Any]:
    usual = {"url": "", "hf_hub": "us/tiny/", "interpolation": "bicubic", "resize_mode": "shortest"}
    return {**usual, "mean": CLIP_MEAN, "std": CLIP_STD, **settings}


TAGS = {
    "Tiny-16": {"openai": tag(quick_gelu=True), "laion": tag(hf_hub="us/tiny-laion/")},
    "Tiny-RN": {"cc12m": tag()},
    "Tiny-SigLIP": {"webli": tag(mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="squash")},
}


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    """open_clip has tiny networks, and tags of them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, config in TINY.items():
            patch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
        for name, tags in TAGS.items():
            patch.setitem(open_clip.pretrained._PRETRAINED, name, tags)
        yield


def whole(name: str, seed: int = 3, **options: Any) -> torch.nn.Module:
    """open_clip's own network under a seed."""
    torch.manual_seed(seed)
    made: torch.nn.Module = open_clip.create_model(name, **options).eval()
    return made


@pytest.fixture
def weights(tmp_path: Path) -> str:
    save_file(whole("Tiny-16").state_dict(), tmp_path / "w.safetensors")
    return str(tmp_path / "w.safetensors")


def pixels(height: int = 32, width: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows of bytes [2, 1, H, W, 3], and the same normalized as CLIP's [2, 3, H, W]."""
    windows = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 1, height, width, 3), dtype=np.uint8))
    scaled = (windows[:, 0] / 255 - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    return windows, scaled.permute(0, 3, 1, 2)


def assert_same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "size"), [("Tiny-16", 32), ("Tiny-RN", 32), ("Tiny-timm", 160)])
def test_random_weights_are_open_clips_own_under_that_seed(name: str, size: int) -> None:
    windows, scaled = pixels(size, size)
    own = whole(name, force_quick_gelu=name == "Tiny-16")  # of its first tag
    with torch.inference_mode():
        found = find_extractor(f"open_clip:{name}").built(weights="random:3").network()(windows)
        assert_same(found, own.encode_image(scaled))


@pytest.mark.parametrize(("tagged", "quick"), [("openai", True), ("laion", False)])
def test_a_file_has_the_activation_of_its_tag(tagged: str, quick: bool, weights: str) -> None:
    windows, scaled = pixels()
    own = whole("Tiny-16", force_quick_gelu=quick)
    with torch.inference_mode():
        found = OpenClipModel(model="open_clip:Tiny-16", weights=weights, tag=tagged).network()(windows)
        assert_same(found, own.encode_image(scaled))


def test_a_file_whose_activation_is_not_known_is_refused(weights: str) -> None:
    with pytest.raises(ExtractorError, match=r"give --tag, too, of which tag .*w\.safetensors is, .*: openai, laion$"):
        _ = OpenClipModel(model="open_clip:Tiny-16", weights=weights).preprocessing
    with pytest.raises(ValueError, match="--tag says which weights a file has"):
        OpenClipModel(model="open_clip:Tiny-16", weights="openai", tag="openai")
    with pytest.raises(WeightsError, match="has no weights 'other'; choose from DEFAULT, openai, laion, a file"):
        _ = OpenClipModel(model="open_clip:Tiny-16", weights=weights, tag="other").preprocessing


@pytest.mark.parametrize(("name", "width"), [("Tiny-16", 24), ("Tiny-RN", 256), ("Tiny-timm", 64)])
def test_its_own_space_is_that_before_the_projection(name: str, width: int) -> None:
    extractor = find_extractor(f"open_clip:{name}").built(weights="random:3", space="own")
    windows, scaled = pixels(*extractor.preprocessing.size)
    own = whole(name, force_quick_gelu=name == "Tiny-16")
    with torch.inference_mode():
        found = extractor.network()(windows)
        assert found.shape == (2, width)
        if name == "Tiny-16":
            assert_same(found @ own.visual.proj, own.encode_image(scaled))
        if name == "Tiny-timm":
            assert_same(own.visual.head(found), own.encode_image(scaled))


def test_a_network_without_a_projection_has_one_space() -> None:
    with pytest.raises(ExtractorError, match=r"Tiny-SigLIP: has no projection .*; use --space joint"):
        find_extractor("open_clip:Tiny-SigLIP").built(weights="random:0", space="own").network()


def test_other_sizes_resample_positions_as_open_clip_does(weights: str) -> None:
    windows, scaled = pixels(48, 48)
    own = whole("Tiny-16", pretrained=weights, force_image_size=48, force_quick_gelu=True)
    options = {"weights": weights, "tag": "openai", "resize": "48", "crop": "48"}
    with torch.inference_mode():
        assert_same(find_extractor("open_clip:Tiny-16").built(**options).network()(windows), own.encode_image(scaled))
        timm = find_extractor("open_clip:Tiny-timm").built(weights="random:0", crop="80", resize="80")
        assert timm.network()(pixels(80, 80)[0]).shape == (2, 8)
    with pytest.raises(ExtractorError, match="refuses windows of one frame of 32x64; its weights are made for 32x32"):
        find_extractor("open_clip:Tiny-RN").built(weights="random:0", resize="32x64").network()


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16-SigLIP", "ViT-L-14-CLIPA"])
def test_frames_are_prepared_as_open_clip_does(name: str) -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
    config = open_clip.get_pretrained_cfg(name, open_clip.list_pretrained_tags_by_model(name)[0])
    size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    settings = {key: config[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    official = open_clip.image_transform(size, is_train=False, **settings)(Image.fromarray(frame))
    prepared = find_extractor(f"open_clip:{name}").built(weights="random:0").preprocessing
    found = (torch.from_numpy(prepared(frame)) / 255 - torch.tensor(prepared.mean)) / torch.tensor(prepared.std)
    assert found.shape[0] == found.shape[1] == size
    assert (found.permute(2, 0, 1) - official).abs().max() < 2.01 / 255 / min(prepared.std)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, weights: str) -> list[str]:
    """huggingface.co has been asked for these; its cache has the weights of us/tiny."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[str] = []

    def download(repository: str, file: str, *, local_files_only: bool = False) -> str:
        assert local_files_only, "the library would try for half a minute"
        asked.append(f"{repository}/{file}")
        if asked[-1] == "us/tiny/open_clip_model.safetensors":
            return weights
        raise LocalEntryNotFoundError("not here")

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("egotools.extractors.downloading.urlopen", unreachable)
    return asked


def test_the_default_is_the_first_tag_which_needs_no_network_once_it_is_cached(hub: list[str]) -> None:
    windows, scaled = pixels()
    with torch.inference_mode():
        found = find_extractor("open_clip:Tiny-16").built().network()(windows)
        assert_same(found, whole("Tiny-16", force_quick_gelu=True).encode_image(scaled))


def test_a_tag_that_cannot_be_fetched_fails_at_once_and_says_what_to_fetch(hub: list[str]) -> None:
    with pytest.raises(
        WeightsError, match=r"open_clip:Tiny-16: its weights could not be downloaded \(no network\)"
    ) as error:
        find_extractor("open_clip:Tiny-16").built(weights="laion").weights_digest()
    fetched = "fetch open_clip_model.safetensors or open_clip_pytorch_model.bin of huggingface.co/us/tiny-laion"
    assert fetched in str(error.value)
    assert "give it as --weights FILE --tag laion" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_networks_and_weights_are_refused_with_similar_ones() -> None:
    with pytest.raises(ExtractorError, match=r"open_clip has no network 'ViT-B-33'; similar: .*ViT-B-32"):
        find_extractor("open_clip:ViT-B-33")
    with pytest.raises(WeightsError, match="open_clip publishes no weights for it; give a file or random:<seed>"):
        find_extractor("open_clip:Tiny-timm").built().weights_digest()


def test_without_open_clip_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(MissingExtra, match=r"pip install 'egotools\[open-clip\]'"):
        find_extractor("open_clip:ViT-B-32")


@pytest.fixture
def cache(installed, hub: list[str], tmp_path: Path) -> Path:
    """Frames of a video, from the command line, in the joint space."""
    write_video(tmp_path / "a.mp4")
    (tmp_path / "m.csv").write_text("id,path\na,a.mp4\n")
    line = ["--manifest", tmp_path / "m.csv", "--out", tmp_path, "open_clip:Tiny-16", "--frames", 3]
    done = installed("extract", *line)
    assert done.returncode == 0, done.stderr
    return tmp_path / "tiny-16.lmdb"


def test_texts_become_rows_in_the_space_of_a_caches_frames(cache: Path) -> None:
    store, texts = open_store(cache), ["a red square", "#C C washes the cup"]
    assert store["a"].values.shape == (3, 8)
    found = text_rows(store.recipe, texts)
    with torch.inference_mode():
        wanted = whole("Tiny-16", force_quick_gelu=True).encode_text(open_clip.get_tokenizer("Tiny-16")(texts))
    assert (found.dtype, found.shape) == (np.float32, (2, 8))
    with pytest.raises(
        ExtractorError, match=r"'a cup a cup.* has more than the 77 tokens that open_clip:Tiny-16 reads"
    ):
        text_rows(store.recipe, ["a cup " * 38])
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-6)


def test_texts_do_not_meet_rows_of_other_weights_or_another_space(cache: Path, weights: str, installed) -> None:
    recipe = open_store(cache).recipe
    save_file(whole("Tiny-16", seed=4).state_dict(), weights)  # what the hub's cache has now
    with pytest.raises(ExtractorError, match="open_clip:Tiny-16 has other weights than when the cache was made"):
        text_rows(recipe, ["a cup"])
    Path(weights).unlink()
    with pytest.raises(ExtractorError, match="the weights of open_clip:Tiny-16 cannot be had: "):
        text_rows(recipe, ["a cup"])
    line = ["--manifest", cache.parent / "m.csv", "--out", cache.parent, "open_clip:Tiny-16", "--weights", "random:0"]
    assert installed("extract", *line, "--space", "own", "--name", "other").returncode == 0
    with pytest.raises(ExtractorError, match="--space own are not comparable with text; extract joint ones"):
        text_rows(open_store(cache.parent / "other.lmdb").recipe, ["a cup"])


def test_texts_of_another_extractor_are_refused(tmp_path: Path, installed) -> None:
    write_video(tmp_path / "a.mp4")
    (tmp_path / "m.csv").write_text("id,path\na,a.mp4\n")
    assert installed("extract", "--manifest", tmp_path / "m.csv", "--out", tmp_path, "color").returncode == 0
    with pytest.raises(EgotoolsError, match="color has no text tower; ask with --image or --clip"):
        text_rows(open_store(tmp_path / "color.lmdb").recipe, ["a cup"])
