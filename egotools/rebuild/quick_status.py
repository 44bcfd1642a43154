"""The state of a cache for lists: found without running code that its recipe names, and without reading its rows."""

from functools import lru_cache
from pathlib import Path

from egotools.config import file_digest
from egotools.errors import EgotoolsError
from egotools.extractors.own_code import code_of
from egotools.extractors.reproduction import name_in
from egotools.provenance import own_version
from egotools.rebuild.assessment import Assessment, Manifests, State, assess, assess_imported, by_id, stores_of, unknown
from egotools.rebuild.derived import assess_derived
from egotools.rebuild.named_files import changed_files
from egotools.stores.importing import imported_digest, is_imported
from egotools.stores.lineage import is_derived
from egotools.stores.source import SourceFiles
from egotools.stores.store import Recipe


class QuickStatus:
    """Assesses one cache after another; manifests and source files are read once for all of them."""

    def __init__(self) -> None:
        self._manifests, self._files = Manifests(), SourceFiles()
        self._states: dict[Path, State] = {}
        self._digest = lru_cache(maxsize=None)(file_digest)
        self._content = lru_cache(maxsize=None)(imported_digest)

    def __call__(self, cache: Path) -> Assessment:
        """The state of a cache, assuming that its rows are not damaged."""
        try:
            stores = stores_of(cache)
            recipe = stores[0].recipe
            if is_derived(recipe):
                return assess_derived(cache, stores[0], self._state)
            if is_imported(recipe):
                return assess_imported(cache, stores[0], digest=self._content)
            clips = self._manifests.clips(recipe)
            code = code_of(name_in(recipe))
            if not code and _may_have_changed(recipe):
                return _whole(cache)
            reasons = changed_files(recipe, code, self._digest)
            return assess(cache, by_id(stores), clips, reasons=reasons, files=self._files, code=code)
        except EgotoolsError as error:
            return unknown(cache, error)

    def _state(self, place: Path) -> State:
        if place not in self._states:
            self._states[place] = self(place).state
        return self._states[place]


def _may_have_changed(recipe: Recipe) -> bool:
    """Whether the cache was made by another version of egotools, or its extractor is a run."""
    is_same_code = (recipe.origin.get("libraries") or {}).get("egotools") == own_version()
    return not is_same_code or str(recipe.origin["extractor"]).startswith("run:")


def _whole(cache: Path) -> Assessment:
    from egotools.rebuild.planning import Planner, RebuildOptions  # imported here because it loads torch

    return Planner(RebuildOptions(checksums=False)).assess(cache)
