"""Provenance: what a result records about how it was made (versions, command, manifest)."""

import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from egotools.config import file_digest
from egotools.types import Shard

LIBRARIES = ("egotools", "torch", "torchvision", "timm", "transformers", "openvino", "nncf", "av", "numpy")
RESULT_LIBRARIES = ("egotools", "torch", "numpy", "faiss-cpu", "faiss-gpu")


def surroundings() -> dict[str, Any]:
    """Versions of the libraries that the numbers depend on."""
    libraries = _installed(LIBRARIES)
    return {"python": platform.python_version(), "platform": platform.platform(), "libraries": libraries}


@cache
def own_version() -> str | None:
    """The version of egotools, as results record it."""
    return _installed(("egotools",)).get("egotools")


def command_line() -> str:
    """The current command line, for people to repeat."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def manifest_origin(manifest: Path, limit: int | None = None, shard: Shard | None = None) -> dict[str, Any]:
    """What a result records about the manifest, which of its clips were used (by default all), and the command.

    Args:
        manifest: the file.
        limit: the number of its first clips that were used.
        shard: the part of these that was used.
    """
    origin = {"manifest": str(manifest.absolute()), "manifest_digest": file_digest(manifest), "command": command_line()}
    used = {"limit": limit, "shard": None if shard is None else str(shard)}
    return origin | {name: value for name, value in used.items() if value is not None}


def versions() -> Mapping[str, str]:
    """Versions of Python and of the installed libraries that a result may depend on."""
    return {"python": platform.python_version(), **_installed(RESULT_LIBRARIES)}


def _installed(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):  # faiss-cpu or faiss-gpu, not both
            found[name] = version(name)
    return found
