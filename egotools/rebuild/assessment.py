"""What of one cache still holds: its clips against its manifest, their files and the list of earlier failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from egotools.errors import EgotoolsError, ManifestError, StoreError
from egotools.extract.failures import read_failures
from egotools.manifests.table import read_manifest
from egotools.stores.importing import imported_digest
from egotools.stores.source import SourceFiles
from egotools.stores.store import Recipe, Store, differences, part_of
from egotools.stores.summary import open_any
from egotools.texts import composed
from egotools.types import Clip

State = Literal["fresh", "incomplete", "stale", "unknown"]


@dataclass(frozen=True)
class Assessment:
    """What of a cache holds, clip by clip.

    `reasons` say why no row of it holds any more (its recipe has changed), `problem` why it can be neither judged nor
    made again. Every clip of the manifest, and of the cache, is in exactly one of `fresh`, `stale` (with the reason),
    `missing`, `failed` (before, and nothing has changed since: with the reason) and `dropped` (out of the manifest).
    """

    cache: Path
    problem: str = ""
    reasons: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    stale: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()  # those of `fresh` whose file is not there to be compared
    is_sealed: bool = True  # whether no interrupted pass waits beside it
    code: str = ""  # the user's own code that its recipe names, and that was not run: its extractor

    @property
    def state(self) -> State:
        """`incomplete` lacks clips; `stale` holds some that are not what the manifest and the recipe say."""
        if self.problem:
            return "unknown"
        if self.reasons or self.stale or self.dropped:
            return "stale"
        return "fresh" if self.is_sealed and not self.missing else "incomplete"

    @property
    def wanted(self) -> frozenset[str]:
        """The ids of the clips that are to be computed."""
        return frozenset(self.stale).union(self.missing)

    @property
    def remarks(self) -> list[str]:
        """Why it is not fresh, in words for people: most general first."""
        found = [self.problem] if self.problem else list(self.reasons)
        if not self.reasons:
            for id, why in list(self.stale.items())[:1]:
                found.append(f"{len(self.stale)} clips have changed, such as {id!r}: {why}")
        for ids, what in ((self.missing, "not in it"), (self.dropped, "no longer in the manifest")):
            found += [f"{len(ids)} clips {what}, such as {ids[0]!r}"] if ids else []
        if not self.is_sealed:
            found.append("an interrupted pass left clips that are not sealed")
        if self.code and self.state != "fresh":
            found.append(f"it is made by code of your own, which runs only if you name it: --trust {self.code}")
        if self.failed:
            found.append(f"{len(self.failed)} clips failed before and are unchanged; --retry-failed tries them")
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
    """The clips that caches were made from; each manifest is read once."""

    def __init__(self, instead: Path | None = None) -> None:
        """With `instead`, all caches take this manifest."""
        self._instead = instead
        self._read: dict[tuple[str, ...], list[Clip]] = {}

    def paths(self, recipe: Recipe) -> tuple[str, ...]:
        """The manifests of a cache: several, where caches were merged.

        Raises:
            ManifestError: the recipe names none.
        """
        if self._instead is not None:
            return (str(self._instead.absolute()),)
        named = recipe.origin.get("manifest")
        if not named:
            raise ManifestError("its recipe names no manifest; name one with --manifest")
        return (named,) if isinstance(named, str) else tuple(named)

    def clips(self, recipe: Recipe) -> list[Clip]:
        """The clips that a cache is to hold, each id once.

        Raises:
            ManifestError: a manifest is gone or cannot be read.
        """
        paths = self.paths(recipe)
        if paths not in self._read:
            for path in paths:
                if not Path(path).is_file():
                    raise ManifestError(f"its manifest {path} is gone; bring it back, or name another with --manifest")
            clips = [clip for path in paths for clip in read_manifest(Path(path))]
            self._read[paths] = list({clip.id: clip for clip in reversed(clips)}.values())[::-1]
        return self._read[paths][: recipe.origin.get("limit")]


def stores_of(cache: Path) -> list[Store]:
    """The cache, and what an interrupted pass left beside one that is to be sealed; at least one of them.

    Raises:
        StoreError: there is neither, or it cannot be opened.
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
    """For each clip, its id in NFC as manifests have it, the first store that has it."""
    return {composed(id): store for store in reversed(stores) for id in store}


def unknown(cache: Path, error: EgotoolsError) -> Assessment:
    """A cache of which nothing can be said, and why."""
    return Assessment(cache, problem=str(error).removeprefix(f"{cache}: "))


def all_or_nothing(cache: Path, ids: Iterable[str], reasons: Sequence[str], gone: tuple[str, ...] = ()) -> Assessment:
    """A cache whose rows hold together, or, for any reason, do not."""
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
        held: for each id the store that has its rows (a cache that is to be sealed may have a part beside it).
        clips: what it is to hold.
        reasons: why none of its rows holds, if so.
        damaged: ids of clips whose rows are not what was written, and what is wrong.
        files: the clips' files as they are now.
        retry_failed: whether clips that failed before are tried again though nothing has changed.
        code: the user's own code that its recipe names, if that may not be run.
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
        elif (failure := failures.get(clip.id)) and not failure.is_worth_a_try(clip, files):
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
    """Why the rows of a clip do not hold; empty where they do."""
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
    digest: Callable[[Path], str] = imported_digest,
) -> Assessment:
    """What of an imported cache holds: all of it, or nothing; it is never made again.

    Where the file that it came from is gone, its rows stand; where it cannot be read, nothing can be said.
    """
    source, ids = Path(str(store.recipe.origin.get("source", ""))), tuple(store)
    again = f"import it again: egotools cache import {source} ... --out {cache} --overwrite"
    reasons = [f"clip {id!r}: {problem}; {again}" for id, problem in (damaged or {}).items()][:1]
    try:
        if digest(source) != store.recipe.identity.get("content"):
            reasons.insert(0, f"{source}, which it was imported from, has changed; {again}")
        gone: tuple[str, ...] = ()
    except (FileNotFoundError, NotADirectoryError):
        gone = ids
    except OSError as error:  # a device, a pipe, a folder that may not be looked into
        return Assessment(cache, problem=f"{source}, which it was imported from, cannot be read: {error.strerror}")
    return all_or_nothing(cache, ids, reasons, gone)
