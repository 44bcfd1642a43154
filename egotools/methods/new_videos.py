"""Features of new videos, straight from their files, as those that a run learned from. Axes: N rows, D features."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.config import digest, field_values
from egotools.derive.deriving import Derived, derive
from egotools.derive.lookup import find_derivation
from egotools.derive.similarity import assign
from egotools.errors import ExtractorError, RunError
from egotools.extraction.engine import extract
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import CacheRequest, Resources
from egotools.extractors.reproduction import numbers_in, reproduced, runtime_in
from egotools.progress import Progress, no_progress
from egotools.stores.copying import intact
from egotools.stores.opening import open_store
from egotools.stores.store import Recipe, differences
from egotools.tables.groups import SIMILARITY
from egotools.tables.matching import CUT, Record
from egotools.tables.table import Reduce, reduced
from egotools.types import Clip

Floats = npt.NDArray[np.float32]
Failures = tuple[tuple[Path, str], ...]  # videos, and why they failed

NOT_FINITE = "its features hold NaN or infinite values"


@dataclass(frozen=True, eq=False)
class VideoFeatures:
    """Features of the videos that could be read, in their order, and why the others could not."""

    videos: tuple[Path, ...]
    rows: tuple[tuple[Floats, ...], ...]  # of each video, of each record [N, D]
    failed: Failures
    remarks: tuple[str, ...]  # what is odd about some

    @property
    def columns(self) -> list[Floats]:
        """Of each record, the rows [N, D] of all videos, one after the other."""
        return [np.concatenate(parts) for parts in zip(*self.rows, strict=True)]


def features_of_videos(
    run: Path,
    records: Mapping[str, Record],
    videos: Sequence[Path],
    *,
    reduce: Reduce | None = "mean",
    trusted: frozenset[str] = frozenset(),
    resources: Resources = Resources(),  # noqa: B008 - frozen
    progress: Progress = no_progress,
) -> VideoFeatures:
    """Computes the features that a run learned from, in one decoding pass, in temporary files.

    Args:
        run: the folder that the files of the records lie in.
        records: of its features, in its order.
        videos: files.
        reduce: as in `egotools.tables.table.read_table`.
        trusted: the user's own extractors, files and packages, that may run: a run only names them.
        resources: what this machine gives.
        progress: told of videos and rows.

    Raises:
        RunError: features that cannot be computed as the run's were; they are named.
    """
    with tempfile.TemporaryDirectory(prefix="egotools-") as temporary:
        caches = _Caches(run, Path(temporary), trusted)
        records = {name: _uncut(record) for name, record in records.items()}
        for name, record in records.items():
            caches.request(name, record)
        return extracted(
            videos,
            list(caches.requests.values()),
            lambda clips: [caches.rows(record, clips, reduce) for record in records.values()],
            resources,
            progress,
        )


def extracted(
    videos: Sequence[Path],
    requests: Sequence[CacheRequest],
    rows_of: Callable[[Sequence[Clip]], Sequence[Sequence[Floats]]],
    resources: Resources,
    progress: Progress,
) -> VideoFeatures:
    """Fills caches with the features of videos, decoding each once; `rows_of` reads them, by record and clip."""
    clips = [Clip(f"{number:06d}", path.absolute()) for number, path in enumerate(videos)]
    result = extract(clips, requests, resources=resources, digest=False, progress=progress)
    failed = {id: f"it has nothing for {each.found.name}" for each in requests for id in result.empty[each.cache]}
    failed |= {clip.id: reason for failures in result.failed.values() for clip, reason in failures}
    odd = {id: remark for remarks in result.remarks.values() for id, remark in remarks.items()}
    read = [clip for clip in clips if clip.id not in failed]
    rows = dict(zip((clip.id for clip in read), zip(*rows_of(read), strict=True), strict=True)) if read else {}
    failed |= {id: reason for id, parts in rows.items() if (reason := _why_unusable(parts))}
    return VideoFeatures(
        tuple(videos[int(id)] for id in rows if id not in failed),
        tuple(parts for id, parts in rows.items() if id not in failed),
        tuple((videos[int(id)], reason) for id, reason in sorted(failed.items())),
        tuple(f"{videos[int(id)]}: {remark}" for id, remark in sorted(odd.items())),
    )


def stored_rows(cache: Path, clips: Sequence[Clip], reduce: Reduce | None = "mean") -> list[Floats]:
    """The rows [N, D] of each clip of a cache, as a table has them."""
    store = open_store(cache)
    stored = [intact(store, clip.id) for clip in clips]
    if reduce is None:
        return [np.concatenate(each.views).astype(np.float32) for each in stored]
    return [np.array(reduced(each, reduce), np.float32)[np.newaxis] for each in stored]


def _uncut(record: Record) -> Record:
    """A record without cutting: a new video is one clip, whose rows are all its own."""
    inputs = {stem: _uncut(each) for stem, each in record["inputs"].items()}
    if record["identity"].get("derivation") == CUT and len(inputs) == 1:
        return next(iter(inputs.values()))
    return {**record, "inputs": inputs}


def _why_unusable(parts: Sequence[Floats]) -> str:
    """What is wrong with the rows [N, D] of one video, in words; empty where nothing is."""
    counts = [len(rows) for rows in parts]
    if len(set(counts)) > 1:
        return f"its features have {' and '.join(map(str, counts))} rows, which cannot be joined"
    return "" if all(np.isfinite(rows).all() for rows in parts) else NOT_FINITE


@dataclass
class _Caches:
    """The caches in a temporary folder through which the features of new videos go."""

    run: Path
    folder: Path
    trusted: frozenset[str]
    requests: dict[Path, CacheRequest] = field(default_factory=dict)

    def request(self, name: str, record: Record) -> None:
        """Notes the extractors that features follow from.

        Raises:
            RunError: they cannot be computed for new videos.
        """
        identity, origin = record["identity"], record["origin"]
        if "derivation" in identity:
            self._check_derived(name, record)
            for stem, each in record["inputs"].items():
                if each["identity"].get("derivation") == SIMILARITY:
                    raise RunError(f"{self._whose(name)} follow from a similarity: they cannot be computed anew")
                self.request(stem, each)
            return
        if "extractor" not in identity:
            raise RunError(f"{self._whose(name)} were imported: they cannot be computed for new videos")
        cache = self._place(record)
        if cache not in self.requests:
            self.requests[cache] = self._requested(name, record, Recipe(identity, origin), cache)

    def rows(self, record: Record, clips: Sequence[Clip], reduce: Reduce | None) -> list[Floats]:
        """The features [N, D] of each clip."""
        if record["identity"].get("derivation") != SIMILARITY:
            return stored_rows(self._cache(record), clips, reduce)
        (each,) = record["inputs"].values()
        file = self.run / str(record["file"])
        try:
            values = assign(file, np.concatenate(stored_rows(self._cache(each), clips)))
        except (ValueError, LookupError, TypeError) as error:
            raise RunError(f"{file} is not what a similarity learned: {error}") from error
        if reduce == "mean+std":
            values = np.concatenate([values, np.zeros_like(values)], axis=1)
        return list(values[:, np.newaxis])

    def _cache(self, record: Record) -> Path:
        """The cache of new videos that a record describes; derived ones are made here."""
        path, identity = self._place(record), record["identity"]
        if "derivation" in identity and not path.exists():
            kind = find_derivation(str(identity["derivation"]))
            inputs = {stem: self._cache(each) for stem, each in record["inputs"].items()}
            try:
                options = kind(**field_values(kind, identity.get("options", {})))
            except ValueError as error:
                raise RunError(f"{self.run}: {identity['derivation']!r} of features: {error}") from error
            derive(Derived(path, str(identity["derivation"]), options, inputs, str(identity.get("dtype", "float32"))))
        return path

    def _place(self, record: Record) -> Path:
        """Features that are computed alike share a cache."""
        return self.folder / f"{digest(record['identity'])}.lmdb"

    def _requested(self, name: str, record: Record, recipe: Recipe, cache: Path) -> CacheRequest:
        """The extractor as it was, with the files that the run has kept."""
        file = record["file"]
        weights = None if file is None else str(self.run / file)
        try:
            found, extractor = reproduced(recipe, weights=weights, trusted=self.trusted)
            numbers, runtime = numbers_in(recipe), runtime_in(recipe)
        except ExtractorError as error:
            raise RunError(f"{self._whose(name)}: {error}") from error
        identity = recipe.identity
        request = CacheRequest(cache, extractor, found, *numbers, runtime=runtime)
        for what, was, now in differences(identity, recipe_of(request).identity):
            raise RunError(f"{self._whose(name)} were made with {what}={was!r}; here it is {now!r}")
        return request

    def _check_derived(self, name: str, record: Record) -> None:
        identity, inputs = record["identity"], record["origin"].get("inputs") or {}
        if missing := next((stem for stem in inputs if stem not in record["inputs"]), None):
            raise RunError(f"{self._whose(name)} follow from {missing}, whose cache was gone when it was trained")
        if len(record["inputs"]) != 1:
            raise RunError(f"{self._whose(name)} follow from {len(record['inputs'])} caches, not from one")
        if "times" in (record["origin"].get("files") or {}):
            raise RunError(f"{self._whose(name)} lie at the times of a file, which say nothing of new videos")
        if identity["derivation"] == SIMILARITY and record["file"] is None:
            raise RunError(f"{self._whose(name)} need what the similarity learned, which was gone when it was trained")

    def _whose(self, name: str) -> str:
        return f"the features {name!r} of {self.run}"
