"""Finds extractors by name: built-in ones, torchvision's and timm's networks, backbones of runs, other
packages' and the user's own."""

import difflib
import importlib
from collections.abc import Collection
from pathlib import Path

from egotools.errors import ExtractorError
from egotools.extractors.names import OWN_NAMES, VIDEO_NETWORKS, FoundExtractor, find_known
from egotools.extractors.own_code import check_trusted, checked, code_of, from_package, load_source
from egotools.extractors.plug_ins import EXTRACTORS, find_plug_in, offered
from egotools.texts import similar_names


def find_extractor(name: str, *, trusted: Collection[str] | None = None, offline: bool = False) -> FoundExtractor:
    """The extractor with this name.

    Args:
        name: as on the command line.
        trusted: the code (as `code_of` has it) that may be imported. None: the user has typed the name, so any;
            a name from a cache or a run takes what the user has trusted.
        offline: nothing is downloaded to find it.

    Raises:
        ExtractorError: unknown name (similar ones are suggested), or code that is not trusted.
        MissingExtra: its library is not installed.
    """
    if trusted is not None:
        check_trusted(name, trusted)
    if name.startswith("run:"):
        from egotools.extractors.backbone import read_backbone

        return read_backbone(name)
    known = find_known(name, offline=offline)
    if known is not None:
        return known
    prefix, _, rest = name.rpartition(":")
    code = code_of(name)
    if prefix.endswith(".py"):
        return FoundExtractor(name, checked(getattr(load_source(Path(code)), rest, None), name), {}, Path(code))
    if plug_in := find_plug_in(EXTRACTORS, name):
        return FoundExtractor(name, *from_package(plug_in.told, plug_in.module, plug_in.attribute))
    if code:
        return FoundExtractor(name, *from_package(name, code, rest))
    raise ExtractorError(f"unknown extractor {name!r}; {_hint(name)} ('egotools extract --help' lists them)")


def _hint(name: str) -> str:
    """Suggests alternatives to an unknown extractor; asks torchvision and timm, whose import takes seconds."""
    known = [*OWN_NAMES, *offered(EXTRACTORS).named]
    near = difflib.get_close_matches(name.lower(), known, 3, cutoff=0.65)
    for library in () if near else ("torchvision", "timm"):
        known = importlib.import_module(f"egotools.extractors.{library}_models").names()
        near += [f"{library}:{network}" for network in similar_names(name, known)]
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    videos = ", ".join(VIDEO_NETWORKS)
    return f"choose from {videos} for videos, torchvision:NAME and timm:NAME for images, and hf:NAME"
