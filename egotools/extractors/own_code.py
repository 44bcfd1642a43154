"""The user's own extractors: a class in a file or a package, which runs only if the user names it."""

import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Collection
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from egotools.errors import ExtractorError
from egotools.extractors.names import OWN_NAMES
from egotools.extractors.plug_ins import EXTRACTORS, find_plug_in


def code_of(name: str) -> str:
    """The user's own code that an extractor's name imports: a file by its full path, or a module; else empty.

    Raises:
        ExtractorError: two packages offer an extractor of this name.
    """
    prefix = name.rpartition(":")[0]
    if name.startswith("run:"):  # data: its description can only name built-in networks
        return ""
    if prefix.endswith(".py"):
        return prefix if "\0" in prefix else os.path.realpath(prefix)
    if "." in prefix and all(part.isidentifier() for part in prefix.split(".")):
        return prefix
    plug_in = None if name in OWN_NAMES else find_plug_in(EXTRACTORS, name)
    return "" if plug_in is None else plug_in.module


def check_trusted(name: str, trusted: Collection[str]) -> None:
    """Refuses code of the user's own that is named only by a cache or a run.

    Raises:
        ExtractorError: the message says how to allow it.
    """
    code = code_of(name)
    if code and code not in trusted:
        raise ExtractorError(f"it was made by your own code, which runs only if you allow it: --trust {code}")


class FromSource(importlib.machinery.SourceFileLoader):
    """Compiles the text as it is now: what Python keeps compiled may be older, if the file changed within a second."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - importlib passes it
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def load_source(path: Path) -> ModuleType:
    """The module in a user's file, imported once; its name contains the digest of its text.

    Raises:
        ExtractorError: the file does not exist, or cannot be imported.
    """
    if not path.is_file():
        raise ExtractorError(f"{path}: no such file")
    name = f"egotools_extractor_{source_digest(path)}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=FromSource(name, str(path)))
    if spec is None or spec.loader is None:
        raise ExtractorError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]  # incomplete; a second attempt must fail, too
        if isinstance(error, (ImportError, SyntaxError)):
            raise ExtractorError(f"{path}: cannot be imported ({error})") from error
        raise
    return module


def source_digest(path: Path) -> str:
    """The first 16 hex digits of the SHA-256 of a source file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def imported(name: str, module: str) -> ModuleType:
    """A module of an installed package; `name` says in messages what it is for.

    Raises:
        ExtractorError: it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, SyntaxError) as error:
        raise ExtractorError(f"{name!r}: the module {module!r} cannot be imported ({error})") from error


def from_package(name: str, module: str, attribute: str) -> tuple[type[Any], dict[str, str], Path | None]:
    loaded = imported(name, module)
    source = Path(loaded.__file__) if loaded.__file__ else None
    return checked(getattr(loaded, attribute, None), name), {}, source


def checked(kind: Any, name: str) -> type[Any]:
    """Checks that a class has the members of an extractor."""
    if not isinstance(kind, type):
        raise ExtractorError(f"{name!r}: the class does not exist")
    members = (("windows", "prepare", "network", "place"), ("sound_windows", "network", "place"), ("rows",))
    if not any(all(hasattr(kind, member) for member in wanted) for wanted in members):
        raise ExtractorError(
            f"{name!r} is not an extractor: it needs place, windows, prepare and network (frames), "
            "place, sound_windows and network (sound), or rows (whole files); see docs/add-an-extractor.md"
        )
    if not is_dataclass(kind) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ExtractorError(
            f"{name!r} is not an extractor: it must be a frozen dataclass, whose fields are its options"
        )
    bare = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    if bare:
        raise ExtractorError(f"{name!r}: its field {bare[0]!r} needs a default; declare it as option(default, help)")
    place = getattr(kind, "place", "device")
    if place not in ("device", "worker"):
        raise ExtractorError(f"{name!r}: its place is {place!r}, not 'device' or 'worker'")
    return kind
