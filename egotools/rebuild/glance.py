"""What `rebuild --dry-run` would say of a cache, without its networks and without reading its rows: for lists."""

from __future__ import annotations

from pathlib import Path

from egotools import __version__
from egotools.config import file_digest
from egotools.errors import EgotoolsError, WeightsError
from egotools.extractors import source_digest
from egotools.rebuild.assessment import Assessment, Manifests, assess, by_id, stores_of, unknown
from egotools.stores.source import SourceFiles
from egotools.stores.store import Recipe


class Glance:
    """Looks at one cache after another; manifests, weights and source files are looked at once for all of them."""

    def __init__(self) -> None:
        self._manifests, self._files = Manifests(), SourceFiles()
        self._digests: dict[Path, str] = {}

    def __call__(self, cache: Path) -> Assessment:
        """What of a cache holds, rows taken to be what was written."""
        try:
            stores = stores_of(cache)
            recipe = stores[0].recipe
            clips = self._manifests.clips(recipe)
            if not _is_plain(recipe):
                return _whole(cache)
            return assess(cache, by_id(stores), clips, reasons=self._reasons(recipe), files=self._files)
        except EgotoolsError as error:
            return unknown(cache, error)

    def _reasons(self, recipe: Recipe) -> list[str]:
        """In what the files that a recipe names have changed."""
        weights, extractor = recipe.origin.get("weights"), str(recipe.origin["extractor"]).rpartition(":")[0]
        reasons = []
        file = Path(weights) if isinstance(weights, str) else Path()
        if file.is_absolute() and self._digest(file) != recipe.identity.get("weights"):
            reasons.append(f"its weights {weights} have changed")
        if extractor.endswith(".py") and source_digest(Path(extractor)) != recipe.identity.get("source"):
            reasons.append(f"its extractor {extractor} has changed")
        return reasons

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            if not path.is_file():
                raise WeightsError(f"{path}: no such weights file")
            self._digests[path] = file_digest(path)
        return self._digests[path]


def _is_plain(recipe: Recipe) -> bool:
    """Whether only files can have changed: the code is that of then, and no run stands behind the extractor."""
    name, libraries = recipe.origin.get("extractor"), recipe.origin.get("libraries", {})
    is_same_code = isinstance(name, str) and libraries.get("egotools") == __version__
    of_a_package = isinstance(name, str) and "." in name.rpartition(":")[0] and ".py:" not in name
    return is_same_code and not of_a_package and not str(name).startswith("run:")


def _whole(cache: Path) -> Assessment:
    from egotools.rebuild.planning import Order, Planner  # here, for it loads the networks' library

    return Planner(Order(checksums=False)).assess(cache)
