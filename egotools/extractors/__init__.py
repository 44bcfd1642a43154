"""Extractors by name: what is built in, torchvision's and timm's networks, runs' backbones, and the user's own."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from egotools.errors import ExtractorError
from egotools.types import Extractor

# name -> ("module:Class", what `egotools extract --help` says of it)
BUILT_IN = {
    "efficientnet-lite0": (
        "egotools.extractors.image:ImageModel",
        "EfficientNet-Lite0, ImageNet, 1280-d (extra: demo).",
    ),
    "hrnet": ("egotools.extractors.hrnet:HRNetModel", "HRNetV2-W48, ADE20K, mean over 1, 5 or 9 frames, 720-d."),
    "csn": ("egotools.extractors.csn:CSNModel", "ip-CSN-152 or ir-CSN-152, IG-65M and Kinetics-400, 2048-d."),
    "hog": ("egotools.extractors.hog:HOG", "Histograms of oriented gradients of a frame, 34,596-d."),
    "m3s": ("egotools.extractors.m3s:M3S", "Raw features of M3-S: HOG, flow, size, ...; a row a clip (extra: flow)."),
    "color": ("egotools.extractors.lowlevel:Color", "Mean, deviation and histogram of each color."),
    "waveform": ("egotools.extractors.audio:Waveform", "Sound, as samples."),
    "log-mel": ("egotools.extractors.audio:LogMelSpectrogram", "Sound, as log-mel spectra."),
}
SHORT_NAMES = {
    name: f"torchvision:{name}"
    for name in ("resnet18", "resnet50", "convnext_tiny", "vit_b_16", "r2plus1d_18", "r3d_18", "mvit_v2_s", "swin3d_t")
}
VIDEO_NETWORKS = ("csn", "r2plus1d_18", "r3d_18", "mvit_v2_s", "swin3d_t", "torchvision:s3d")


@dataclass(frozen=True)
class Found:
    """An extractor's class, the options that its name fixes, and, for the user's own, the file it was read from.

    `defaults` are the options that the backbone of a run was trained with, which a user may override; None: no run.
    """

    name: str
    kind: type[Any]  # Any: a class that fulfils one of the protocols in egotools.types
    fixed: Mapping[str, str] = field(default_factory=dict)
    source: Path | None = None
    defaults: Mapping[str, Any] | None = None  # Any: values of fields

    @property
    def cache_name(self) -> str:
        """What follows the last `:` or `/` of the name, in lower case."""
        return self.name.rpartition(":")[2].rpartition("/")[2].lower()

    def built(self, **options: Any) -> Extractor:
        """The extractor with these options (Any: values of fields); what is not given takes its default.

        Raises:
            ValueError: options that mean nothing.
        """
        extractor: Extractor = self.kind(**{**(self.defaults or {}), **options, **self.fixed})
        return extractor


def code_of(name: str) -> str:
    """The user's own code that an extractor's name imports: a file by its whole path, or a package; else empty."""
    prefix = name.rpartition(":")[0]
    if name.startswith("run:"):  # data: its description can name built-in networks only
        return ""
    if prefix.endswith(".py"):
        return prefix if "\0" in prefix else os.path.realpath(prefix)
    return prefix if "." in prefix and all(part.isidentifier() for part in prefix.split(".")) else ""


def check_trusted(name: str, trusted: Collection[str]) -> None:
    """Refuses an extractor of the user's own code that nobody has named but a cache or a run.

    Raises:
        ExtractorError: says how to name it.
    """
    code = code_of(name)
    if code and code not in trusted:
        raise ExtractorError(f"made by code of your own, which runs only if you name it: --trust {code}")


def find_extractor(name: str, *, trusted: Collection[str] | None = None) -> Found:
    """The extractor that a name means.

    Args:
        name: as on the command line.
        trusted: the code (as `code_of` has it) that may be imported. None: the user has typed the name, so any;
            a name from a cache or a run takes what the user has trusted.

    Raises:
        ExtractorError: unknown; near names are suggested. Or code that is not trusted.
        MissingExtra: its library is not installed.
    """
    if trusted is not None:
        check_trusted(name, trusted)
    if name.startswith("run:"):
        from egotools.extractors.backbone import read_backbone

        return read_backbone(Path(name.removeprefix("run:")))
    full = SHORT_NAMES.get(name, name)
    if full in BUILT_IN:
        kind = _attribute(BUILT_IN[full][0])
        has_model = any(each.name == "model" for each in fields(kind))
        return Found(name, kind, {"model": full} if has_model else {})
    prefix, _, rest = full.rpartition(":")
    code = code_of(full)
    if prefix in ("torchvision", "timm"):
        from egotools.extractors.published_model import published

        is_video = published(full).kind == "video"
        kind = _attribute(f"egotools.extractors.{'video:VideoModel' if is_video else 'image:ImageModel'}")
        return Found(name, kind, {"model": full})
    if prefix.endswith(".py"):
        return Found(name, _checked(getattr(load_source(Path(code)), rest, None), name), {}, Path(code))
    if code:
        return Found(name, *_from_package(name, code, rest))
    raise ExtractorError(f"unknown extractor {name!r}; {_hint(name)} ('egotools extract --help' lists them)")


def like(name: str, names: Iterable[str], *, most: int = 3) -> list[str]:
    """Names that contain `name` whatever its case and signs, the shortest first; else those that are spelled alike."""
    names = list(names)
    bare = _bare(name)
    containing = sorted((each for each in names if bare and bare in _bare(each)), key=lambda each: (len(each), each))
    return containing[:most] or difflib.get_close_matches(name, names, most)


def _bare(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _hint(name: str) -> str:
    """What there is instead of an extractor that is unknown; asks torchvision and timm, whose import takes seconds."""
    near = difflib.get_close_matches(name.lower(), [*BUILT_IN, *SHORT_NAMES], 3, cutoff=0.6)
    for library in () if near else ("torchvision", "timm"):
        known = importlib.import_module(f"egotools.extractors.{library}_models").names()
        near += [f"{library}:{network}" for network in like(name, known)]
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    videos = ", ".join(VIDEO_NETWORKS)
    return f"there are {videos} for videos, and torchvision:NAME and timm:NAME for images"


def load_source(path: Path) -> ModuleType:
    """The module that a user's own file is, imported once; its name carries the digest of its text.

    Raises:
        ExtractorError: no such file, or it cannot be imported.
    """
    if not path.is_file():
        raise ExtractorError(f"{path}: no such file")
    name = f"egotools_extractor_{source_digest(path)}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ExtractorError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]  # half a module; a second try must fail too
        if isinstance(error, (ImportError, SyntaxError)):
            raise ExtractorError(f"{path}: cannot be imported ({error})") from error
        raise
    return module


def weights_option(kind: type[Any]) -> str:
    """The option of an extractor's class that says what it was trained to: `weights`, unless the class says another."""
    return str(getattr(kind, "weights_option", "weights"))


def source_digest(path: Path) -> str:
    """The first 16 hex digits of the SHA-256 of a source file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _from_package(name: str, module: str, attribute: str) -> tuple[type[Any], dict[str, str], Path | None]:
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise ExtractorError(f"{name!r}: the module {module!r} cannot be imported ({error})") from error
    source = Path(loaded.__file__) if loaded.__file__ else None
    return _checked(getattr(loaded, attribute, None), name), {}, source


def _checked(kind: Any, name: str) -> type[Any]:
    """A class that has the members of an extractor."""
    if not isinstance(kind, type):
        raise ExtractorError(f"{name!r}: there is no such class")
    members = (("windows", "prepare", "network", "place"), ("sound_windows", "network", "place"), ("rows",))
    if not any(all(hasattr(kind, member) for member in wanted) for wanted in members):
        raise ExtractorError(
            f"{name!r} is no extractor: it needs place, windows, prepare and network (frames), "
            "place, sound_windows and network (sound), or rows (whole files); see docs/extractors.md"
        )
    if not is_dataclass(kind) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ExtractorError(f"{name!r} is no extractor: it must be a frozen dataclass, whose fields are its options")
    bare = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    if bare:
        raise ExtractorError(f"{name!r}: its field {bare[0]!r} needs a default; declare it as option(default, help)")
    place = getattr(kind, "place", "device")
    if place not in ("device", "worker"):
        raise ExtractorError(f"{name!r}: its place is {place!r}, not 'device' or 'worker'")
    return kind


def _attribute(reference: str) -> type[Any]:
    module, _, attribute = reference.partition(":")
    kind: type[Any] = getattr(importlib.import_module(module), attribute)
    return kind
