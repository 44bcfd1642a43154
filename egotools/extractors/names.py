"""The names of built-in extractors, and the classes that names refer to."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from egotools.types import Extractor

# name -> ("module:Class", its line in `egotools extract --help`)
BUILT_IN = {
    "efficientnet-lite0": (
        "egotools.extractors.image:ImageModel",
        "EfficientNet-Lite0, ImageNet, 1280-d (extra: demo).",
    ),
    "hrnet": ("egotools.extractors.hrnet:HRNetModel", "HRNetV2-W48, ADE20K, mean over 1, 5 or 9 frames, 720-d."),
    "csn": ("egotools.extractors.csn:CSNModel", "ip-CSN-152 or ir-CSN-152, IG-65M and Kinetics-400, 2048-d."),
    "tsm": ("egotools.extractors.tsm:TSMModel", "TSM ResNet-50 without shift, 30 rows per second, 2048-d."),
    "egovlp": (
        "egotools.extractors.timesformer:SpaceTimeModel",
        "EgoVLP, windows of 4 frames, in the space of videos and texts, 256-d.",
    ),
    "lavila": (
        "egotools.extractors.timesformer:SpaceTimeModel",
        "LaViLa, base or large, windows of 4 frames, in the space of videos and texts, 256-d.",
    ),
    "tsm-shift": (
        "egotools.extractors.tsm:ShiftedTSMModel",
        "TSM ResNet-50 with its shift, windows of 8 frames, 2048-d.",
    ),
    "memdpc": ("egotools.extractors.memdpc:MemDPCModel", "MemDPC, a row a block, 256-d, or a row a window, 512-d."),
    "storyboard": ("egotools.extractors.storyboard:StoryboardModel", "Memory Storyboard, 512-d or 2048-d."),
    "avid-video": ("egotools.extractors.avid:AvidVideo", "R(2+1)D of RepLAI and AVID, rows of half a second, 512-d."),
    "avid-audio": ("egotools.extractors.avid:AvidAudio", "Sound, by the CNN of RepLAI and AVID, 512-d."),
    "hog": ("egotools.extractors.hog:HOG", "Histograms of oriented gradients of a frame, 34,596-d."),
    "m3s": ("egotools.extractors.m3s:M3S", "Raw features of M3-S: HOG, flow, size, ...; a row a clip (extra: flow)."),
    "flow": ("egotools.extractors.flow:Flow", "Mean length of optical flow, 1-d (extra: flow)."),
    "pixels": ("egotools.extractors.pixels:Pixels", "The frame itself at 16x16 pixels, in color or gray."),
    "color": ("egotools.extractors.color:Color", "Mean, deviation and histogram of each color."),
    "waveform": ("egotools.extractors.audio:Waveform", "Sound, as samples."),
    "log-mel": ("egotools.extractors.audio:LogMelSpectrogram", "Sound, as log-mel spectra."),
    "moments": ("egotools.extractors.moments:Moments", "Moments of interaction in the sound: a row a moment."),
}

SHORT_NAMES = {
    name: f"torchvision:{name}"
    for name in ("resnet18", "resnet50", "convnext_tiny", "vit_b_16", "r2plus1d_18", "r3d_18", "mvit_v2_s", "swin3d_t")
}


@dataclass(frozen=True)
class Encoder:
    """A short name of a model on huggingface.co: what `egotools extract --help` says of it."""

    model: str
    kind: str  # frame, clip or sound
    width: int
    input: str
    license: str

    @property
    def line(self) -> str:
        """Its line in the help."""
        return f"{self.kind}, {self.width}-d, {self.input}; {self.license}; {self.model}."


ENCODERS = {
    "clip": Encoder("openai/clip-vit-base-patch32", "frame", 512, "224 px", "MIT"),
    "siglip2": Encoder("google/siglip2-base-patch16-224", "frame", 768, "224 px", "Apache-2.0"),
    "dinov2": Encoder("facebook/dinov2-base", "frame", 768, "224 px", "Apache-2.0"),
    "dinov3": Encoder("facebook/dinov3-vits16-pretrain-lvd1689m", "frame", 384, "224 px", "DINOv3, on request"),
    "videomae": Encoder("MCG-NJU/videomae-base", "clip", 768, "16 frames, 224 px", "CC-BY-NC-4.0"),
    "vjepa2": Encoder("facebook/vjepa2-vitl-fpc64-256", "clip", 1024, "64 frames, 256 px", "MIT"),
    "xclip": Encoder("microsoft/xclip-base-patch32", "clip", 512, "8 frames, 224 px", "MIT"),
    "timesformer": Encoder("facebook/timesformer-base-finetuned-k400", "clip", 768, "8 frames, 224 px", "CC-BY-NC-4.0"),
    "clap": Encoder("laion/clap-htsat-unfused", "sound", 512, "10 s, 48 kHz", "Apache-2.0"),
    "whisper": Encoder("openai/whisper-base", "sound", 512, "30 s, 16 kHz", "Apache-2.0"),
    "wav2vec2": Encoder("facebook/wav2vec2-base-960h", "sound", 768, "16 kHz", "Apache-2.0"),
}

OWN_NAMES = (*BUILT_IN, *SHORT_NAMES, *ENCODERS)  # which no package can replace

VIDEO_NETWORKS = ("csn", "r2plus1d_18", "r3d_18", "mvit_v2_s", "swin3d_t", "torchvision:s3d")


@dataclass(frozen=True)
class FoundExtractor:
    """An extractor's class, the options that its name fixes, and, for the user's own, the file it was read from.

    `defaults` are the options that the backbone of a run was trained with, which a user may override; None: no run.
    `view` is the part of the name that says which view of the backbone it is.
    """

    name: str
    kind: type[Any]  # Any: a class that implements one of the protocols in egotools.types
    fixed: Mapping[str, str] = field(default_factory=dict)
    source: Path | None = None
    defaults: Mapping[str, Any] | None = None  # Any: values of fields
    view: str = ""

    @property
    def cache_name(self) -> str:
        """The part after the last `:` or `/` of the name, in lower case; `run:runs/A#clip` gives `a-clip`."""
        last = self.name.rpartition(":")[2].rpartition("/")[2].lower()
        return f"{last.removesuffix(f'#{self.view}')}-{self.view}" if self.view else last

    def built(self, **options: Any) -> Extractor:
        """The extractor with these options (Any: values of fields); others take their defaults.

        Raises:
            ValueError: the options are invalid.
        """
        extractor: Extractor = self.kind(**{**(self.defaults or {}), **options, **self.fixed})
        return extractor


def weights_option(kind: type[Any]) -> str:
    """The option of an extractor's class that says what it was trained to: `weights`, unless the class says another."""
    return str(getattr(kind, "weights_option", "weights"))


def _class_at(reference: str) -> type[Any]:
    module, _, attribute = reference.partition(":")
    kind: type[Any] = getattr(importlib.import_module(module), attribute)
    return kind


def find_known(name: str, *, offline: bool = False) -> FoundExtractor | None:
    """A built-in extractor, or a network of PANNs, open_clip, torchvision, timm or Transformers; None for others.

    Raises:
        ExtractorError: the library does not have the network; similar names, or all, are suggested.
        MissingExtra: the library is not installed.
    """
    full = SHORT_NAMES.get(name) or (f"hf:{ENCODERS[name].model}" if name in ENCODERS else name)
    if full in BUILT_IN:
        kind = _class_at(BUILT_IN[full][0])
        has_model = any(each.name == "model" for each in fields(kind))
        return FoundExtractor(name, kind, {"model": full} if has_model else {})
    if full.startswith("panns:"):
        _class_at("egotools.extractors.panns:architecture_of")(full)
        return FoundExtractor(name, _class_at("egotools.extractors.panns:PannsModel"), {"model": full.lower()})
    if full.startswith("hf:"):
        return _of_transformers(name, full, offline)
    if full.startswith("open_clip:"):
        _class_at("egotools.extractors.open_clip_models:check_known")(full)
        return FoundExtractor(name, _class_at("egotools.extractors.open_clip_models:OpenClipModel"), {"model": full})
    if full.rpartition(":")[0] not in ("torchvision", "timm"):
        return None
    from egotools.extractors.published_model import published  # imported here because it loads torch

    is_video = published(full).kind == "video"
    kind = _class_at(f"egotools.extractors.{'video:VideoModel' if is_video else 'image:ImageModel'}")
    return FoundExtractor(name, kind, {"model": full})


def _of_transformers(name: str, full: str, offline: bool) -> FoundExtractor:
    """A model in the format of Transformers: a short name, a name on huggingface.co, or a folder."""
    kinds = {"frame": "vision:FrameModel", "clip": "vision:ClipModel", "sound": "sound:SoundModel"}
    if name in ENCODERS:  # nothing is looked up, so that its help needs no network
        kind = ENCODERS[name].kind
    else:
        from egotools.extractors.hf.checkpoints import checkpoint, in_place

        name = full = in_place(full)
        kind = checkpoint(full, offline=offline).family.kind
    return FoundExtractor(name, _class_at(f"egotools.extractors.hf.{kinds[kind]}"), {"model": full})
