"""The families of models that are encoders, by the `model_type` of their config: what each takes and how it is pooled.

Does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
        takes: the name of the argument with the pixels, or the sound.
        fps, stride: how the frames of a window were taken in training: a rate in Hz, or every n-th frame.
    """

    kind: Kind
    pool: Pool = "cls"
    prefix: int = 0
    registers: str = ""
    joint: str = ""
    tower: str = ""
    pooled: Pool | Literal[""] = ""
    takes: str = "pixel_values"
    fps: float | None = None
    stride: int | None = None

    def prefix_of(self, config: Config) -> int:
        """Tokens before those of the patches, in a model with this config."""
        return self.prefix + (int(config.get(self.registers) or 0) if self.registers else 0)


_CLIP = Family("frame", prefix=1, joint="get_image_features", tower="vision_model", pooled="cls")
_SIGLIP = Family("frame", joint="get_image_features", tower="vision_model", pooled="cls")  # its attention pooling
_VIT = Family("frame", prefix=1)
_MAPS = Family("frame", pool="mean", pooled="mean")
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
    "dinov3_convnext": Family("frame", pool="cls", pooled="cls", prefix=1),
    "vit": _VIT,
    "deit": Family("frame", prefix=2),
    "beit": _VIT,
    "data2vec-vision": _VIT,
    "ijepa": Family("frame", pool="mean"),
    "swin": _MAPS,
    "swinv2": _MAPS,
    "convnext": _MAPS,
    "convnextv2": _MAPS,
    "resnet": _MAPS,
    "regnet": _MAPS,
    "videomae": Family("clip", pool="mean", stride=4),
    "vjepa2": Family("clip", pool="mean", takes="pixel_values_videos", fps=4.0),
    "timesformer": Family("clip", prefix=1, stride=32),
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
