"""Plans rebuilds from the recipes, manifests and files of caches: what to rebuild, and how."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from egotools.config import file_digest, plain, to_json
from egotools.errors import EgotoolsError, ExtractorError, StoreError
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import CacheRequest, Runtime
from egotools.extractors.own_code import code_of
from egotools.extractors.reproduction import name_in, numbers_in, reproduced, runtime_in
from egotools.files.disk import real
from egotools.progress import Progress, no_progress
from egotools.provenance import command_line
from egotools.rebuild.assessment import Assessment, Manifests, State, assess, assess_imported, by_id, stores_of, unknown
from egotools.rebuild.derived import assess_derived, in_order
from egotools.rebuild.named_files import changed_files
from egotools.stores.importing import is_imported
from egotools.stores.int8_files import CALIBRATION
from egotools.stores.lineage import inputs_of, is_derived
from egotools.stores.source import SourceFiles
from egotools.stores.store import Recipe, Store, differences
from egotools.stores.summary import find_caches, sealed, unsaid
from egotools.stores.verify import verify
from egotools.texts import composed
from egotools.types import Clip


@dataclass(frozen=True)
class RebuildOptions:
    """The options of a rebuild."""

    weights: Mapping[str, str] = field(default_factory=dict)  # replaces the weights of a cache, by its name
    manifest: Path | None = None  # replaces the one that each cache names
    digest: bool = False  # compare the content of source files if the cache has its digest
    checksums: bool = True  # read all rows, to find those that are damaged
    retry_failed: bool = False
    compiling: bool = False  # run networks that PyTorch computes with the runtime "compile"
    trusted: frozenset[str] = frozenset()  # the user's own extractors, files and packages, that are allowed to run


@dataclass(frozen=True)
class RebuildPlan:
    """A cache that may be rebuilt: its state, its clips, and how they are computed."""

    assessment: Assessment
    clips: Sequence[Clip]
    request: CacheRequest
    origin: Mapping[str, Any]  # the provenance to record in its recipe
    recipe: Recipe  # the current recipe

    @property
    def cache(self) -> Path:
        return self.assessment.cache

    def held(self) -> dict[str, Store]:
        """The store that has each clip; opened on each call, as an open cache takes 4 of 128 TiB of addresses."""
        return by_id(stores_of(self.cache))

    @property
    def shared(self) -> str:
        """Equal for caches of the same clips, which can share a decoding pass."""
        return to_json([self.origin["manifest"], self.origin.get("limit"), self.origin.get("shard")])


def targets(paths: Sequence[Path], *, remark: Callable[[str], None] = unsaid) -> list[Path]:
    """The caches among `paths` and in the folders among them, by their names once they are sealed.

    Derived caches come after their inputs. `remark` receives remarks on folders that are skipped.

    Raises:
        StoreError: a path does not exist, or a folder has no caches.
    """
    # A link's target is rebuilt, not the link; a cache given twice counts once.
    found = [real(path) if path.is_symlink() else path for path in map(sealed, find_caches(paths, remark=remark))]
    if not found:
        raise StoreError(f"{', '.join(map(str, paths))}: no caches found")
    return in_order(list({path.absolute(): path for path in found}.values()))


def check_names(caches: Sequence[Path], options: RebuildOptions) -> None:
    """Refuses weights for a cache that does not exist, or is derived and so has none.

    Raises:
        StoreError: the message names it and the available ones.
    """
    names = dict.fromkeys(cache.stem for cache in caches if not inputs_of(cache))
    for name in options.weights:
        if name not in names:
            raise StoreError(f"no cache {name!r} for its --weights; choose from {', '.join(names)}")


class Planner:
    """Plans caches one after another; manifests and source files are read once for all of them."""

    def __init__(self, options: RebuildOptions, progress: Progress = no_progress) -> None:
        self._options, self._progress = options, progress
        self._manifests = Manifests(options.manifest)
        self.files = SourceFiles(digest=options.digest)  # as they were when first read
        self.states: dict[Path, State] = {}  # of caches assessed so far, by their resolved paths

    def plan(self, cache: Path) -> RebuildPlan | Assessment:
        """How to rebuild a cache; or its assessment, if it cannot be rebuilt by computing clips."""
        try:
            stores = stores_of(cache)
            recipe = stores[0].recipe
            if is_derived(recipe):
                return assess_derived(cache, stores[0], self.state, damaged=self._damaged(stores))
            if is_imported(recipe):
                return assess_imported(cache, stores[0], damaged=self._damaged(stores))
            clips, origin = self._manifests.clips(recipe), _origin(recipe, self._manifests.paths(recipe))
            weights = self._options.weights.get(cache.stem)
            code = code_of(name_in(recipe, weights=weights))
            if code and code not in self._options.trusted:
                reasons = changed_files(recipe, code) + ([f"its weights are to be {weights}"] if weights else [])
                return self._assessed(cache, stores, clips, reasons, code)
            found, extractor = reproduced(recipe, weights=weights, trusted=self._options.trusted)
            runtime: Runtime = runtime_in(recipe)
            if runtime == "torch" and self._options.compiling:
                runtime = "compile"
            request = CacheRequest(cache, extractor, found, *numbers_in(recipe), runtime=runtime)
            if CALIBRATION in recipe.identity:
                request = dataclasses.replace(request, quantized=request.int8_file)
            recipe_now = recipe_of(request, origin)
            reasons = _reasons(recipe, recipe_now)
            if reasons and request.quantized is not None:
                raise StoreError(
                    f"cannot be rebuilt: {reasons[0]}, but its int8 network, {request.quantized.name}, was quantized "
                    "before; extract it again under another name"
                )
            assessment = self._assessed(cache, stores, clips, reasons)
        except EgotoolsError as error:
            return unknown(cache, error)
        return RebuildPlan(assessment, clips, request, origin, recipe_now)

    def assess(self, cache: Path) -> Assessment:
        """The state of a cache, in detail."""
        plan = self.plan(cache)
        found = plan if isinstance(plan, Assessment) else plan.assessment
        self.states[real(cache)] = found.state
        return found

    def state(self, place: Path) -> State:
        """The state of a cache, by its resolved path; assessed on first use."""
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
            damaged={} if reasons else self._damaged(stores),
            files=self.files,
            retry_failed=self._options.retry_failed,
            code=code,
        )

    def _damaged(self, stores: Sequence[Store]) -> dict[str, str]:
        found: dict[str, str] = {}
        for store in reversed(stores) if self._options.checksums else ():
            verified = verify(store.path, progress=self._progress)
            bad = {composed(id): why for id, why in verified.bad.items()}
            found = {**{id: why for id, why in found.items() if id not in store}, **bad}
        return found


def _origin(recipe: Recipe, manifests: Sequence[str]) -> dict[str, Any]:
    """The provenance for the new recipe."""
    digests = [file_digest(Path(path)) for path in manifests]
    origin = {name: recipe.origin[name] for name in ("limit", "shard", "device") if name in recipe.origin}
    several = len(manifests) > 1
    origin["manifest"] = list(manifests) if several else manifests[0]
    origin["manifest_digest"] = digests if several else digests[0]
    return {**origin, "command": command_line()}


def _reasons(was: Recipe, now: Recipe) -> list[str]:
    """How a recipe has changed, as messages.

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
