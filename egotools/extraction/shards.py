"""Caches of shards: a cache holds one shard of one manifest, and all of them are merged without gaps."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from egotools.errors import ManifestError, StoreError
from egotools.extraction.failures import list_failures, listed_failures
from egotools.manifests.shards import shards_of
from egotools.manifests.table import read_manifest
from egotools.progress import Progress, no_progress
from egotools.stores.merge import merge
from egotools.stores.opening import open_store
from egotools.stores.publish import check_free
from egotools.stores.store import Store, part_of
from egotools.stores.summary import open_any
from egotools.texts import composed, counted, named
from egotools.types import Clip, Shard

NAMED = 3  # clips, or shards, in a message


def check_same_shard(caches: Sequence[Path], clips: Sequence[Clip], shard: Shard | None) -> None:
    """Refuses to add a shard to caches that hold another one, or clips of the whole manifest; and the reverse.

    Args:
        caches: what would be written.
        clips: those of the shard.
        shard: the shard; None: the whole manifest.

    Raises:
        StoreError: the message names the cache, and what it holds.
    """
    ids = {clip.id for clip in clips}
    for cache in caches:
        for store in filter(len, _begun(cache)):
            was = store.recipe.origin.get("shard")
            if was != (None if shard is None else str(shard)):
                raise StoreError(f"{cache} holds {_what(was)}, not {_what(shard)}; choose another --out")
            others = [id for id in store if composed(id) not in ids] if shard else []
            if others:
                clips_there = f"{counted(len(others), 'clip')} outside shard {shard}, such as {others[0]!r}"
                raise StoreError(f"{cache} holds {clips_there}: the manifest has changed; choose another --out")


def _begun(cache: Path) -> Iterator[Store]:
    """The cache, and what an interrupted pass left beside an HDF5 cache, as far as there is something to read."""
    for path in (cache, part_of(cache)):
        try:
            yield open_any(path)
        except StoreError:  # nothing is there or committed yet; what is damaged is refused when it is written to
            continue


def _what(shard: object) -> str:
    return f"shard {shard}" if shard else "clips of a whole manifest"


@dataclass(frozen=True)
class Merged:
    """What was merged: the number of clips, and those that need a word, by id.

    `twice` are in several of the caches, with equal rows; `failed` are in their lists of failures. Where the clips were
    compared with a manifest, `changed` have other times there than their rows, and `missing` are in no cache and no
    list: what lacks them, and which they are.
    """

    clips: int
    twice: Sequence[str] = ()
    failed: Sequence[str] = ()
    changed: Sequence[str] = ()
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)


def merge_shards(
    paths: Sequence[Path],
    out: Path,
    *,
    manifest: Path | None = None,
    partial: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Merged:
    """Merges caches as `stores.merge` does, and their lists of failed clips; refuses gaps between shards.

    Args:
        paths: the caches, shards or not.
        out: the new one.
        manifest: the clips that must be there; None: what the shards name, and nothing where none is a shard.
        partial: whether clips may be missing.
        overwrite: whether to replace an existing cache.
        progress: reports clips.

    Raises:
        StoreError: clips are missing, shards belong to different splits, or as `stores.merge.merge`.
        RecipeError: the caches have different recipes.
        ManifestError: the manifest does not exist or cannot be read.
    """
    check_free(out, overwrite=overwrite)  # before everything is compared
    stores = {path: open_store(path) for path in paths}
    shards = {path: Shard.parse(text) for path, store in stores.items() if (text := store.recipe.origin.get("shard"))}
    _check_one_split(shards)
    if shards and manifest is None:
        manifest = _manifest_of([stores[path] for path in shards])
    found = Counter(composed(id) for store in stores.values() for id in store)
    failed = {id: clip for id, clip in listed_failures(paths).items() if id not in found}
    changed: list[str] = []
    missing: dict[str, list[str]] = {}
    if manifest is not None:
        clips = read_manifest(manifest)[: _limit(stores.values())]
        failed = {clip.id: failed[clip.id] for clip in clips if clip.id in failed}
        changed = _changed(stores.values(), clips)
        missing = _missing(clips, found.keys() | failed.keys(), shards, manifest)
        if missing and not partial:
            raise StoreError(_refusal(out, missing))
    done = merge(paths, out, manifest=manifest, overwrite=overwrite, progress=progress)
    list_failures(out, [*failed.values()])
    return Merged(done, [id for id, number in found.items() if number > 1], [*failed], changed, missing)


def _check_one_split(shards: Mapping[Path, Shard]) -> None:
    first = next(iter(shards), None)
    for path, shard in shards.items():
        if first is not None and shard.count != shards[first].count:
            raise StoreError(f"{path} is shard {shard} and {first} is shard {shards[first]}; merge shards of one split")


def _manifest_of(stores: Sequence[Store]) -> Path:
    """The manifest that shards were made from: the first that is here, as each may come from another machine."""
    places = [place for store in stores if isinstance(place := store.recipe.origin.get("manifest"), str)]
    for path in map(Path, places):
        if path.is_file():
            return path
    where = f"its manifest {places[0]} is not here" if places else "it names no manifest"
    raise ManifestError(f"{stores[0].path}: {where}; give one with --manifest")


def _limit(stores: Iterable[Store]) -> int | None:
    """How many clips of the manifest the caches were made from, if that is the same for all."""
    limits = {store.recipe.origin.get("limit") for store in stores}
    return limits.pop() if len(limits) == 1 else None


def _changed(stores: Iterable[Store], clips: Sequence[Clip]) -> list[str]:
    """The ids of clips whose rows, in the first cache that has them, were computed for other times."""
    wanted = {clip.id: clip for clip in clips}
    changed = []
    for store in stores:
        for id in store:
            if clip := wanted.pop(composed(id), None):
                source = store.source(id)
                changed += [clip.id] if (source.start, source.end) != (clip.start, clip.end) else []
    return changed


def _missing(
    clips: Sequence[Clip], there: Collection[str], shards: Mapping[Path, Shard], manifest: Path
) -> dict[str, list[str]]:
    """What lacks clips of the manifest, and which; by shard where there are any."""
    count = max((shard.count for shard in shards.values()), default=1)
    given = {shard.number: path for path, shard in shards.items()}
    missing = {}
    for number, part in enumerate(shards_of(clips, count), 1):
        lacking = [clip.id for clip in part if clip.id not in there]
        what = (
            f"shard {Shard(number, count)} ({given.get(number, 'not among the caches')})" if shards else str(manifest)
        )
        if lacking:
            missing[f"{what}: {len(lacking)} of {counted(len(part), 'clip')}"] = lacking
    return missing


def _refusal(out: Path, missing: Mapping[str, Sequence[str]]) -> str:
    clips = counted(sum(map(len, missing.values())), "clip")
    places = named([f"{what}, such as {ids[0]!r}" for what, ids in missing.items()], NAMED, between="; ")
    return f"{out} would lack {clips}: {places}; extract them, or merge what is there with --partial"
