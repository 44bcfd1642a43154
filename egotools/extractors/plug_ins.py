"""Extractors and datasets of other installed packages, found by their entry points; named ones only are imported."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points

from egotools.errors import ExtractorError

EXTRACTORS, DATASETS = "egotools.extractors", "egotools.datasets"  # groups of entry points
USABLE = re.compile(r"[A-Za-z0-9][\w.-]*")  # a cache is named after its extractor, and colons have meanings


@dataclass(frozen=True)
class PlugIn:
    """What a package offers under a name: the class `attribute` of `module`."""

    name: str
    module: str
    attribute: str
    package: str  # the distribution's name and version

    @property
    def told(self) -> str:
        """How messages name it."""
        return f"{self.name} of {self.package}"


@dataclass(frozen=True)
class Offered:
    """What the installed packages offer in a group, by name, sorted; and what of it is ignored, with the reason."""

    named: dict[str, list[PlugIn]] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)

    def lines(self) -> dict[str, str]:
        """By name, the package that offers it, in one line."""
        return {
            name: plug_ins[0].package if len(plug_ins) == 1 else f"ambiguous: {_both(plug_ins)}"
            for name, plug_ins in self.named.items()
        }


def offered(group: str, taken: Collection[str] = ()) -> Offered:
    """What the installed packages offer in a group; reads their metadata and imports nothing of them.

    Args:
        group: of entry points.
        taken: names of egotools itself, which no package can replace.
    """
    found = Offered()
    for each in sorted(map(_plug_in, entry_points(group=group)), key=lambda plug_in: (plug_in.name, plug_in.package)):
        if each.name in taken:
            found.ignored[each.told] = "ignored: egotools has this name"
        elif not USABLE.fullmatch(each.name):
            found.ignored[each.told] = "ignored: a name has letters, digits, '.', '-' and '_' only"
        else:
            found.named.setdefault(each.name, []).append(each)
    return found


def find_plug_in(group: str, name: str) -> PlugIn | None:
    """What the installed packages offer under a name, if anything.

    Raises:
        ExtractorError: two packages offer it.
    """
    if not USABLE.fullmatch(name):
        return None
    found = sorted(map(_plug_in, entry_points(group=group, name=name)), key=lambda plug_in: plug_in.package)
    if len(found) > 1:
        raise ExtractorError(f"{name!r} is ambiguous: {_both(found)}; uninstall one of them")
    return found[0] if found else None


def _both(plug_ins: list[PlugIn]) -> str:
    return " and ".join(f"{each.package} ({each.module}:{each.attribute})" for each in plug_ins) + " offer it"


def _plug_in(entry: EntryPoint) -> PlugIn:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.module
    return PlugIn(entry.name, entry.module, entry.attr, package)
