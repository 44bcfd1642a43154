"""Which caches are to be made again, how, and what of each: from their recipes, manifests and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from egotools.config import file_digest, plain, to_json
from egotools.errors import EgotoolsError, ExtractorError, StoreError
from egotools.extract.recipes import recipe_of
from egotools.extract.request import CacheRequest
from egotools.extractors.own_code import code_of
from egotools.extractors.reproduction import name_in, numbers_in, reproduced
from egotools.files.disk import real
from egotools.progress import Progress, no_progress
from egotools.provenance import command_line
from egotools.rebuild.assessment import Assessment, Manifests, State, assess, assess_imported, by_id, stores_of, unknown
from egotools.rebuild.derived import assess_derived, in_order
from egotools.rebuild.named_files import changed_files
from egotools.stores.importing import is_imported
from egotools.stores.lineage import inputs_of, is_derived
from egotools.stores.source import SourceFiles
from egotools.stores.store import Recipe, Store, differences
from egotools.stores.summary import find_caches, sealed, unsaid
from egotools.stores.verify import verify
from egotools.texts import composed
from egotools.types import Clip


@dataclass(frozen=True)
class RebuildOptions:
    """What a rebuild is asked for."""

    weights: Mapping[str, str] = field(default_factory=dict)  # instead of its own, by the name of a cache
    manifest: Path | None = None  # instead of the one that each cache names
    digest: bool = False  # compare the content of source files where the cache has its digest
    checksums: bool = True  # read all rows, to find those that are damaged
    retry_failed: bool = False
    trusted: frozenset[str] = frozenset()  # the user's own extractors, files and packages, that may run


@dataclass(frozen=True)
class RebuildPlan:
    """A cache that may be made again: what of it holds, from which clips and by which extractor it is made."""

    assessment: Assessment
    clips: Sequence[Clip]
    wanted: CacheRequest
    origin: Mapping[str, Any]  # what its recipe is to say beside what makes the rows
    recipe: Recipe  # as it would be made now

    @property
    def cache(self) -> Path:
        return self.assessment.cache

    def held(self) -> dict[str, Store]:
        """For each clip the store that has its rows; opened anew, for an open cache takes 4 TiB of 128 to address."""
        return by_id(stores_of(self.cache))

    @property
    def shared(self) -> str:
        """Equal for caches of the same clips, which can be made in one decoding pass."""
        return to_json([self.origin["manifest"], self.origin.get("limit")])


def targets(paths: Sequence[Path], *, remark: Callable[[str], None] = unsaid) -> list[Path]:
    """The caches among `paths` and in the folders among them, by the names that they have once they are sealed.

    Those that were derived come after what they were derived from. `remark` is told of folders that are left out.

    Raises:
        StoreError: no such file or folder, or a folder without caches.
    """
    # What a link means is made again, not the link; a cache that is named twice is one.
    found = [real(path) if path.is_symlink() else path for path in map(sealed, find_caches(paths, remark=remark))]
    if not found:
        raise StoreError(f"{', '.join(map(str, paths))}: no caches there")
    return in_order(list({path.absolute(): path for path in found}.values()))


def check_names(caches: Sequence[Path], order: RebuildOptions) -> None:
    """Refuses weights for a cache that is not there, or that was derived and so has none.

    Raises:
        StoreError: names it, and those that are there.
    """
    names = dict.fromkeys(cache.stem for cache in caches if not inputs_of(cache))
    for name in order.weights:
        if name not in names:
            raise StoreError(f"no cache {name!r} for its --weights; there are {', '.join(names)}")


class Planner:
    """Plans caches one after another; manifests and source files are looked at once for all of them."""

    def __init__(self, order: RebuildOptions, progress: Progress = no_progress) -> None:
        self._order, self._progress = order, progress
        self._manifests = Manifests(order.manifest)
        self._files = SourceFiles(digest=order.digest)
        self.states: dict[Path, State] = {}  # of caches that others may be derived from, by their resolved paths

    @property
    def files(self) -> SourceFiles:
        """The source files as they were when they were looked at."""
        return self._files

    def plan(self, cache: Path) -> RebuildPlan | Assessment:
        """What of a cache holds and how to make it again; or, where nothing can be said, why."""
        try:
            stores = stores_of(cache)
            recipe = stores[0].recipe
            if is_derived(recipe):
                damaged = self._damaged(stores) if self._order.checksums else {}
                return assess_derived(cache, stores[0], self.state, damaged=damaged)
            if is_imported(recipe):
                damaged = self._damaged(stores) if self._order.checksums else {}
                return assess_imported(cache, stores[0], damaged=damaged)
            clips, origin = self._manifests.clips(recipe), _origin(recipe, self._manifests.paths(recipe))
            weights = self._order.weights.get(cache.stem)
            code = code_of(name_in(recipe, weights=weights))
            if code and code not in self._order.trusted:
                reasons = changed_files(recipe, code) + ([f"its weights are to be {weights}"] if weights else [])
                return self._assessed(cache, stores, clips, reasons, code)
            wanted = _wanted(cache, recipe, weights, self._order.trusted)
            renewed = recipe_of(wanted, origin)
            assessment = self._assessed(cache, stores, clips, _reasons(recipe, renewed))
        except EgotoolsError as error:
            return unknown(cache, error)
        return RebuildPlan(assessment, clips, wanted, origin, renewed)

    def assess(self, cache: Path) -> Assessment:
        """What of a cache holds."""
        plan = self.plan(cache)
        found = plan if isinstance(plan, Assessment) else plan.assessment
        self.states[real(cache)] = found.state
        return found

    def state(self, place: Path) -> State:
        """What a cache is, by its resolved path; looked at if it was not yet."""
        if place not in self.states:
            self.assess(place)
        return self.states[place]

    def _assessed(
        self, cache: Path, stores: Sequence[Store], clips: Sequence[Clip], reasons: Sequence[str], code: str = ""
    ) -> Assessment:
        return assess(
            cache,
            by_id(stores),
            clips,
            reasons=reasons,
            damaged={} if reasons or not self._order.checksums else self._damaged(stores),
            files=self._files,
            retry_failed=self._order.retry_failed,
            code=code,
        )

    def _damaged(self, stores: Sequence[Store]) -> dict[str, str]:
        found: dict[str, str] = {}
        for store in reversed(stores):
            verified = verify(store.path, progress=self._progress)
            bad = {composed(id): why for id, why in verified.bad.items()}
            found = {**{id: why for id, why in found.items() if id not in store}, **bad}
        return found


def _wanted(cache: Path, recipe: Recipe, weights: str | None, trusted: frozenset[str]) -> CacheRequest:
    """How a cache would be made now.

    Raises:
        EgotoolsError: it cannot be made: its extractor is gone, or imported rows have none.
    """
    found, extractor = reproduced(recipe, weights=weights, trusted=trusted)
    return CacheRequest(cache, extractor, found, *numbers_in(recipe))


def _origin(recipe: Recipe, manifests: Sequence[str]) -> dict[str, Any]:
    """What the new recipe says beside what makes the rows."""
    digests = [file_digest(Path(path)) for path in manifests]
    origin = {name: recipe.origin[name] for name in ("limit", "device") if name in recipe.origin}
    several = len(manifests) > 1
    origin["manifest"] = list(manifests) if several else manifests[0]
    origin["manifest_digest"] = digests if several else digests[0]
    return {**origin, "command": command_line()}


def _reasons(was: Recipe, now: Recipe) -> list[str]:
    """In what a recipe has changed, in words.

    Raises:
        ExtractorError: the cache was made by newer code.
    """
    reasons = []
    for name, before, after in differences(was.identity, plain(now.identity)):
        if name == "version" and isinstance(before, int) and before > after:
            name = was.identity["extractor"]
            raise ExtractorError(f"made by version {before} of {name}, and this egotools has {after}; update egotools")
        reasons.append(f"{NAMES.get(name, name)} was {before!r}, is now {after!r}")
    return reasons


NAMES = {
    "weights": "the digest of its weights",
    "source": "the digest of its extractor's source",
    "version": "the version of its extractor's code",
}
