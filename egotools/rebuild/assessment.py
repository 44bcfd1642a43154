"""Assesses one cache: compares its clips with its manifest, their source files and the list of earlier failures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from egotools.errors import EgotoolsError, ManifestError, StoreError
from egotools.extraction.failures import read_failures
from egotools.manifests.shards import shards_of
from egotools.manifests.table import read_manifest
from egotools.stores.importing import imported_digest, layout_of
from egotools.stores.source import SourceFiles
from egotools.stores.store import Recipe, Store, differences, part_of
from egotools.stores.summary import open_any
from egotools.texts import composed, counted
from egotools.types import Clip, Shard

State = Literal["fresh", "incomplete", "stale", "unknown"]


@dataclass(frozen=True)
class Assessment:
    """The state of a cache, clip by clip.

    `reasons` say why all of its rows are stale (its recipe has changed), `problem` why it can be neither assessed nor
    rebuilt. Every clip of the manifest, and of the cache, is in exactly one of `fresh`, `stale` (with the reason),
    `missing`, `failed` (earlier, and unchanged since: with the reason) and `dropped` (no longer in the manifest).
    """

    cache: Path
    problem: str = ""
    reasons: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    stale: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()  # those of `fresh` whose file no longer exists, so that it cannot be compared
    is_sealed: bool = True  # whether there is no interrupted pass to resume
    code: str = ""  # the user's own extractor that its recipe names, if it was not run

    @property
    def state(self) -> State:
        """`incomplete` lacks clips; `stale` has clips that do not match the manifest and the recipe."""
        if self.problem:
            return "unknown"
        if self.reasons or self.stale or self.dropped:
            return "stale"
        return "fresh" if self.is_sealed and not self.missing else "incomplete"

    @property
    def to_compute(self) -> frozenset[str]:
        """The ids of the clips to compute."""
        return frozenset(self.stale).union(self.missing)

    @property
    def remarks(self) -> list[str]:
        """Why it is not fresh, for people: the most general reason first."""
        found = [self.problem] if self.problem else list(self.reasons)
        if not self.reasons:
            for id, why in list(self.stale.items())[:1]:
                found.append(f"{len(self.stale)} clips have changed, such as {id!r}: {why}")
        for ids, what in ((self.missing, "not in it"), (self.dropped, "no longer in the manifest")):
            found += [f"{len(ids)} clips {what}, such as {ids[0]!r}"] if ids else []
        if not self.is_sealed:
            found.append("an interrupted pass left clips that are not sealed yet")
        if self.code and self.state != "fresh":
            found.append(f"it was made by your own code, which runs only if you allow it: --trust {self.code}")
        if self.failed:
            found.append(f"{counted(len(self.failed), 'clip')} failed before, unchanged since; --retry-failed retries")
        if self.gone:
            found.append(f"{len(self.gone)} clips cannot be compared: their files are gone, such as {self.gone[0]!r}")
        return found

    def summary(self) -> dict[str, Any]:
        """For programs: counts, and the clips that are not fresh."""
        return {
            "cache": self.cache,
            "state": self.state,
            "problem": self.problem,
            "reasons": self.reasons,
            "fresh": len(self.fresh),
            "stale": {} if self.reasons else self.stale,
            "missing": self.missing,
            "failed": self.failed,
            "dropped": self.dropped,
            "gone": self.gone,
        }


class Manifests:
    """The clips from which caches were made; each manifest is read once."""

    def __init__(self, override: Path | None = None) -> None:
        """With `override`, this manifest is used for all caches."""
        self._override = override
        self._read: dict[tuple[str, ...], list[Clip]] = {}
        self._shards: dict[tuple[tuple[str, ...], int | None, int], list[list[Clip]]] = {}

    def paths(self, recipe: Recipe) -> tuple[str, ...]:
        """The manifests of a cache: several if caches were merged.

        Raises:
            ManifestError: the recipe does not name one.
        """
        if self._override is not None:
            return (str(self._override.absolute()),)
        named = recipe.origin.get("manifest")
        if not named:
            raise ManifestError("its recipe does not name a manifest; give one with --manifest")
        return (named,) if isinstance(named, str) else tuple(named)

    def clips(self, recipe: Recipe) -> list[Clip]:
        """The clips that a cache should contain, each id once.

        Raises:
            ManifestError: a manifest does not exist or cannot be read.
        """
        paths = self.paths(recipe)
        if paths not in self._read:
            for path in paths:
                if not Path(path).is_file():
                    raise ManifestError(f"its manifest {path} is gone; restore it, or give another with --manifest")
            clips = [clip for path in paths for clip in read_manifest(Path(path))]
            self._read[paths] = list({clip.id: clip for clip in reversed(clips)}.values())[::-1]
        limit, named = recipe.origin.get("limit"), recipe.origin.get("shard")
        clips = self._read[paths][:limit]
        if named is None:
            return clips
        shard = Shard.parse(named)
        split = paths, limit, shard.count
        if split not in self._shards:
            self._shards[split] = shards_of(clips, shard.count)
        return self._shards[split][shard.number - 1]


def stores_of(cache: Path) -> list[Store]:
    """The cache, and what an interrupted pass left next to an HDF5 cache; at least one of them.

    Raises:
        StoreError: neither exists, or it cannot be opened.
    """
    part = part_of(cache)
    stores = [open_any(cache)] if cache.exists() or not part.exists() else []
    if cache.suffix == ".h5" and part.exists():
        try:
            left = open_any(part)
        except StoreError:  # nothing was committed to it yet
            if not stores:
                raise
            return stores
        if not stores or not any(differences(stores[0].recipe.identity, left.recipe.identity)):
            stores.append(left)
    return stores


def by_id(stores: Sequence[Store]) -> dict[str, Store]:
    """Each clip's id, in NFC as in manifests -> the first store that has it."""
    return {composed(id): store for store in reversed(stores) for id in store}


def unknown(cache: Path, error: EgotoolsError) -> Assessment:
    """A cache that cannot be assessed, and why."""
    return Assessment(cache, problem=str(error).removeprefix(f"{cache}: "))


def all_or_nothing(cache: Path, ids: Iterable[str], reasons: Sequence[str], gone: tuple[str, ...] = ()) -> Assessment:
    """A cache whose rows are stale together, for any of `reasons`, or fresh."""
    ids = tuple(ids)
    if reasons:
        return Assessment(cache, reasons=tuple(reasons), stale=dict.fromkeys(ids, reasons[0]))
    return Assessment(cache, fresh=ids, gone=gone)


def assess(
    cache: Path,
    held: Mapping[str, Store],
    clips: Sequence[Clip],
    *,
    reasons: Sequence[str] = (),
    damaged: Mapping[str, str] | None = None,
    files: SourceFiles,
    retry_failed: bool = False,
    code: str = "",
) -> Assessment:
    """Compares the clips of a cache with those of its manifest.

    Args:
        cache: its path.
        held: the store that has its rows, by id (an HDF5 cache that is being resumed has a second one).
        clips: the clips that it should contain.
        reasons: why all of its rows are stale, if they are.
        damaged: ids of clips whose rows are damaged, and how.
        files: the current state of the clips' files.
        retry_failed: whether clips that failed before are tried again even if nothing has changed.
        code: the user's own code that its recipe names, if it must not be run.
    """
    failures = read_failures(cache)
    if reasons or retry_failed:
        failures = {}
    fresh, missing, gone = [], [], []
    stale, failed = {}, {}
    for clip in clips:
        if clip.id in held:
            if why := _staleness(clip, held[clip.id], reasons, damaged or {}, files):
                stale[clip.id] = why
                continue
            fresh.append(clip.id)
            if clip.path != Path() and files.status(clip.path) is None:
                gone.append(clip.id)
        elif (failure := failures.get(clip.id)) and not failure.should_retry(clip, files):
            failed[clip.id] = failure.reason
        else:
            missing.append(clip.id)
    ids = {clip.id for clip in clips}
    return Assessment(
        cache,
        reasons=tuple(reasons),
        fresh=tuple(fresh),
        stale=stale,
        missing=tuple(missing),
        failed=failed,
        dropped=tuple(id for id in held if id not in ids),
        gone=tuple(gone),
        code=code,
        is_sealed=cache.suffix != ".h5" or not part_of(cache).exists(),
    )


def _staleness(clip: Clip, store: Store, reasons: Sequence[str], damaged: Mapping[str, str], files: SourceFiles) -> str:
    """Why the rows of a clip are stale; empty if they are fresh."""
    if reasons:
        return reasons[0]
    try:
        return damaged.get(clip.id, "") or files.change(store.source(clip.id), clip)
    except (StoreError, ValueError) as error:
        return str(error)


def assess_imported(
    cache: Path,
    store: Store,
    *,
    damaged: Mapping[str, str] | None = None,
    digest: Callable[[Path, str], str] = imported_digest,
) -> Assessment:
    """Assesses an imported cache, as a whole; it is never rebuilt.

    If the imported file no longer exists, the rows count as fresh; if it cannot be read, the state is unknown.
    """
    source, ids = Path(str(store.recipe.origin.get("source", ""))), tuple(store)
    again = f"import it again: egotools cache import {source} ... --out {cache} --overwrite"
    reasons = [f"clip {id!r}: {problem}; {again}" for id, problem in (damaged or {}).items()][:1]
    try:
        if digest(source, layout_of(store.recipe)) != store.recipe.identity.get("content"):
            reasons.insert(0, f"{source}, which it was imported from, has changed; {again}")
        gone: tuple[str, ...] = ()
    except (FileNotFoundError, NotADirectoryError):
        gone = ids
    except OSError as error:  # a device, a pipe, a folder without permission
        return Assessment(cache, problem=f"{source}, which it was imported from, cannot be read: {error.strerror}")
    return all_or_nothing(cache, ids, reasons, gone)
