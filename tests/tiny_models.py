"""Folders as of models on huggingface.co, one of every family of encoders, small and with random weights."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from egotools.extractors.hf.models import quietly

SIDE = 32  # pixels
VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
IMAGE = {**VIT, "image_size": SIDE, "patch_size": 8}
MAPS = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 16, 24]}
TEXT = {**VIT, "vocab_size": 64, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
BERT = {**VIT, "vocab_size": 64, "max_position_embeddings": 20}


def _square(processor: type[Any], **options: Any) -> Any:  # Any: the library's own classes and options
    return processor(size={"height": SIDE, "width": SIDE}, **options)


def _cropped(processor: type[Any], resize: int = SIDE, **options: Any) -> Any:
    return processor(size={"shortest_edge": resize}, crop_size={"height": SIDE, "width": SIDE}, **options)


def _two_towers(config: type[Any], text: Mapping[str, Any] = TEXT, **vision: Any) -> Any:
    return config(text_config=dict(text), vision_config={**IMAGE, **vision}, projection_dim=12)


# family -> its config, and its processor
FRAME_MODELS: Mapping[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "clip": (lambda: _two_towers(hf.CLIPConfig), lambda: _cropped(hf.CLIPImageProcessor)),
    "metaclip_2": (lambda: _two_towers(hf.MetaClip2Config), lambda: _cropped(hf.CLIPImageProcessor)),
    "altclip": (
        lambda: _two_towers(hf.AltCLIPConfig, {**BERT, "project_dim": 12}),
        lambda: _cropped(hf.CLIPImageProcessor),
    ),
    "chinese_clip": (
        lambda: _two_towers(hf.ChineseCLIPConfig, BERT),
        lambda: _square(hf.ChineseCLIPImageProcessor, do_center_crop=False),
    ),
    "siglip": (
        lambda: hf.SiglipConfig(text_config={**TEXT, "projection_size": 16}, vision_config=IMAGE),
        lambda: _square(hf.SiglipImageProcessor),
    ),
    "clip_vision_model": (lambda: hf.CLIPVisionConfig(**IMAGE), lambda: _cropped(hf.CLIPImageProcessor)),
    "siglip_vision_model": (lambda: hf.SiglipVisionConfig(**IMAGE), lambda: _square(hf.SiglipImageProcessor)),
    "dinov2": (
        lambda: hf.Dinov2Config(**IMAGE, mlp_ratio=2),
        lambda: _cropped(hf.BitImageProcessor, 36),
    ),
    "dinov2_with_registers": (
        lambda: hf.Dinov2WithRegistersConfig(**IMAGE, mlp_ratio=2, num_register_tokens=3),
        lambda: _cropped(hf.BitImageProcessor, 36),
    ),
    "dinov3_vit": (
        lambda: hf.DINOv3ViTConfig(**IMAGE, num_register_tokens=3),
        lambda: _square(hf.DINOv3ViTImageProcessor),
    ),
    "dinov3_convnext": (
        lambda: hf.DINOv3ConvNextConfig(**MAPS, image_size=2 * SIDE),
        lambda: hf.DINOv3ViTImageProcessor(size={"height": 2 * SIDE, "width": 3 * SIDE}),
    ),
    "vit": (lambda: hf.ViTConfig(**IMAGE), lambda: _square(hf.ViTImageProcessor)),
    "deit": (
        lambda: hf.DeiTConfig(**IMAGE),
        lambda: hf.DeiTImageProcessor(size={"height": 40, "width": 40}, crop_size={"height": SIDE, "width": SIDE}),
    ),
    "beit": (
        lambda: hf.BeitConfig(**IMAGE, use_mean_pooling=True, use_relative_position_bias=True),
        lambda: _square(hf.BeitImageProcessor),
    ),
    "data2vec-vision": (
        lambda: hf.Data2VecVisionConfig(**IMAGE, use_mean_pooling=False),
        lambda: _square(hf.BeitImageProcessor),
    ),
    "ijepa": (lambda: hf.IJepaConfig(**IMAGE), lambda: _square(hf.ViTImageProcessor)),
    "swin": (
        lambda: hf.SwinConfig(image_size=SIDE, embed_dim=8, depths=[1, 1, 1], num_heads=[1, 2, 2], window_size=2),
        lambda: _square(hf.ViTImageProcessor, resample=3),
    ),
    "swinv2": (
        lambda: hf.Swinv2Config(image_size=SIDE, embed_dim=8, depths=[1, 1, 1], num_heads=[1, 2, 2], window_size=2),
        lambda: _square(hf.ViTImageProcessor, resample=3),
    ),
    "convnext": (
        lambda: hf.ConvNextConfig(**MAPS, image_size=64),
        lambda: hf.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875),
    ),
    "convnextv2": (
        lambda: hf.ConvNextV2Config(**MAPS, image_size=64),
        lambda: hf.ConvNextImageProcessor(size={"shortest_edge": 384}, crop_pct=0.875),
    ),
    "resnet": (
        lambda: hf.ResNetConfig(**MAPS, embedding_size=8),
        lambda: hf.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875),
    ),
    "regnet": (
        lambda: hf.RegNetConfig(**MAPS, embedding_size=8, groups_width=8),
        lambda: hf.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875),
    ),
}
CLIP_MODELS: Mapping[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "videomae": (
        lambda: hf.VideoMAEConfig(**IMAGE, num_frames=4, decoder_num_hidden_layers=1),
        lambda: _cropped(hf.VideoMAEImageProcessor),
    ),
    "vjepa2": (
        lambda: hf.VJEPA2Config(
            patch_size=8,
            crop_size=SIDE,
            frames_per_clip=4,
            hidden_size=24,
            num_attention_heads=2,
            num_hidden_layers=2,
            mlp_ratio=2,
            pred_hidden_size=24,
            pred_num_attention_heads=2,
            pred_num_hidden_layers=1,
            pred_num_mask_tokens=2,
        ),
        lambda: hf.VJEPA2VideoProcessor(crop_size=SIDE),
    ),
    "timesformer": (
        lambda: hf.TimesformerConfig(**IMAGE, num_frames=3),
        lambda: _cropped(hf.VideoMAEImageProcessor),
    ),
    "vivit": (
        lambda: hf.VivitConfig(**VIT, image_size=SIDE, num_frames=4, tubelet_size=[2, 8, 8]),
        lambda: _cropped(hf.VivitImageProcessor, 36),
    ),
    "xclip": (
        lambda: _two_towers(
            hf.XCLIPConfig,
            num_frames=3,
            mit_hidden_size=12,
            mit_intermediate_size=16,
            mit_num_hidden_layers=1,
            mit_num_attention_heads=2,
        ),
        lambda: _cropped(hf.VideoMAEImageProcessor),
    ),
}
MODELS = {**FRAME_MODELS, **CLIP_MODELS}


def make_model(folder: Path, family: str, *, seed: int = 0) -> Path:
    """A model's folder with weights, config and processor, as `save_pretrained` writes it."""
    config, processor = MODELS[family]
    torch.manual_seed(seed)
    with quietly():
        model = hf.AutoModel.from_config(config())
        _spread(model)
        model.save_pretrained(folder)
        processor().save_pretrained(folder)
    return folder


def _spread(model: torch.nn.Module) -> None:
    """Larger weights than a new model has, as trained ones are, so that rows differ from frame to frame."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)


def make_tokenizer(folder: Path) -> Path:
    """A tokenizer of letters beside a model."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    letters = {letter: at + 2 for at, letter in enumerate(string.ascii_lowercase)}
    tokenizer = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, **letters}, unk_token="</s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        unk_token="</s>",
        model_max_length=16,
    ).save_pretrained(folder)
    return folder
