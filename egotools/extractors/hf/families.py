"""The families of models that are encoders, by the `model_type` of their config: what each takes and how it is pooled.

Does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal["frame", "clip", "sound"]
Pool = Literal["cls", "mean"]
Config = Mapping[str, Any]  # Any: JSON values of a config.json


@dataclass(frozen=True)
class Family:
    """How models of one `model_type` are used as encoders.

    Attributes:
        kind: what one row is computed from.
        pool: the usual pooling, as of the model cards, where there is no joint space.
        prefix: tokens before those of the patches, such as a class token.
        registers: the entry of the config that says how many further tokens follow those.
        joint: the method that gives rows in a space shared with text; empty if there is none.
        tower: the part that encodes; empty: the whole model.
        pooled: which pooling the model's own `pooler_output` is; empty: neither.
        pooled_if: the entry of the config that must be true, as it is by default, for that; empty: it always is.
        maps: hidden states are maps of shrinking size, without further tokens.
        patches_first: tokens of a window are in the order of patches, then times; else times first.
        takes: the name of the argument with the pixels, or the sound.
        fps, stride: how the frames of a window were taken in training: a rate in Hz, or every n-th frame.
        any_length: windows may have other numbers of frames than in training.
    """

    kind: Kind
    pool: Pool = "cls"
    prefix: int = 0
    registers: str = ""
    joint: str = ""
    tower: str = ""
    pooled: Pool | Literal[""] = ""
    pooled_if: str = ""
    maps: bool = False
    patches_first: bool = False
    takes: str = "pixel_values"
    fps: float | None = None
    stride: int | None = None
    any_length: bool = False

    def prefix_of(self, config: Config) -> int:
        """Tokens before those of the patches, in a model with this config."""
        return self.prefix + (int(config.get(self.registers) or 0) if self.registers else 0)

    def of(self, config: Config) -> Family:
        """The same for a model with this config, which says whether it has a pooling of its own."""
        return self if not self.pooled_if or config.get(self.pooled_if, True) else replace(self, pooled="")

    def has_summary(self, layer: int | None) -> bool:
        """Whether there is a token, or the like, that stands for all patches: in the output, or after a layer."""
        if layer is None and self.pooled == "cls":
            return True
        return self.prefix > 0 and not (self.maps and layer is not None)


_CLIP = Family("frame", prefix=1, joint="get_image_features", tower="vision_model", pooled="cls")
_SIGLIP = Family("frame", joint="get_image_features", tower="vision_model", pooled="cls")  # its attention pooling
_VIT = Family("frame", prefix=1)
_MAPS = Family("frame", pool="mean", pooled="mean", maps=True)
_SPEECH = Family("sound", pool="mean", takes="input_values")

FAMILIES: Mapping[str, Family] = {
    "clip": _CLIP,
    "metaclip_2": _CLIP,
    "altclip": _CLIP,
    "chinese_clip": _CLIP,
    "siglip": _SIGLIP,
    "clip_vision_model": Family("frame", prefix=1, pooled="cls"),
    "siglip_vision_model": Family("frame", pooled="cls"),
    "dinov2": _VIT,
    "dinov2_with_registers": Family("frame", prefix=1, registers="num_register_tokens"),
    "dinov3_vit": Family("frame", prefix=1, registers="num_register_tokens"),
    "dinov3_convnext": Family("frame", pooled="cls", prefix=1, maps=True),
    "vit": _VIT,
    "deit": Family("frame", prefix=2),
    # Their class token is not trained where `use_mean_pooling` is set, as it is by default.
    "beit": Family("frame", pool="mean", prefix=1, pooled="mean", pooled_if="use_mean_pooling"),
    "data2vec-vision": Family("frame", pool="mean", prefix=1),
    "ijepa": Family("frame", pool="mean"),
    "swin": _MAPS,
    "swinv2": _MAPS,
    "convnext": _MAPS,
    "convnextv2": _MAPS,
    "resnet": _MAPS,
    "regnet": _MAPS,
    "videomae": Family("clip", pool="mean", stride=4),
    "vjepa2": Family("clip", pool="mean", takes="pixel_values_videos", fps=4.0, any_length=True),
    "timesformer": Family("clip", prefix=1, stride=32, patches_first=True),
    "vivit": Family("clip", prefix=1, stride=2),
    "xclip": Family("clip", joint="get_video_features", stride=8),
    "clap": Family(
        "sound", pool="mean", joint="get_audio_features", tower="audio_model", pooled="mean", takes="input_features"
    ),
    "whisper": Family("sound", pool="mean", tower="encoder", takes="input_features"),
    "audio-spectrogram-transformer": Family("sound", prefix=2, pooled="cls", takes="input_values"),
    "wav2vec2": _SPEECH,
    "hubert": _SPEECH,
    "wavlm": _SPEECH,
    "data2vec-audio": _SPEECH,
    "unispeech": _SPEECH,
    "unispeech-sat": _SPEECH,
    "sew": _SPEECH,
    "wav2vec2-conformer": _SPEECH,
}
