"""Scores of new videos, straight from their files. Axes: N videos, D features."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.config import digest, field_values
from egotools.derive.deriving import Derived, derive
from egotools.derive.lookup import find_derivation
from egotools.derive.similarity import assign
from egotools.errors import ExtractorError, RunError
from egotools.extract.engine import extract
from egotools.extract.recipes import recipe_of
from egotools.extract.request import CacheRequest, Resources
from egotools.extractors.reproduction import numbers_in, reproduced
from egotools.methods.memorability.normalizing import doubts
from egotools.methods.memorability.run import TrainedRun, open_run
from egotools.methods.memorability.task import Member
from egotools.methods.new_videos import Record
from egotools.progress import Progress, no_progress
from egotools.stores.copying import intact
from egotools.stores.opening import open_store
from egotools.stores.store import Recipe, Store, differences
from egotools.tables.groups import SIMILARITY, Group, one_hot
from egotools.types import Clip

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scored:
    """A video's score: the mean over a run's networks, and how much they differ."""

    path: Path
    score: float
    deviation: float


@dataclass(frozen=True)
class Prediction:
    """Scores of the videos that could be read, in their order, and why the others could not."""

    scored: tuple[Scored, ...]
    failed: tuple[tuple[Path, str], ...]
    networks: int
    remarks: tuple[str, ...] = ()


def predict_memorability(
    folder: Path,
    videos: Sequence[Path],
    *,
    trusted: frozenset[str] = frozenset(),
    resources: Resources = Resources(),  # noqa: B008 - frozen
    progress: Progress = no_progress,
) -> Prediction:
    """Computes the features that a run was trained on, in one decoding pass, and scores each video.

    Args:
        folder: the run.
        videos: files.
        trusted: the user's own extractors, files and packages, that may run: a run only names them.
        resources: what this machine gives.
        progress: told of videos and rows.

    Raises:
        RunError: no such run, or features that cannot be computed as the run's were; they are named.
    """
    trained = open_run(folder)
    with tempfile.TemporaryDirectory(prefix="egotools-") as temporary:
        making = _Making(trained, Path(temporary), trusted)
        for group in trained.groups:
            making.plan(group.name, trained.records[group.name])
        made = extracted(videos, list(making.wanted.values()), resources, progress)
        columns = [making.columns(group, made.kept) for group in trained.groups] if made.kept else []
    remarks = [*doubts(trained.groups, trained.normalizing), *made.remarks]
    return Prediction(
        scored(made, columns, trained.members, resources), made.failed, len(trained.members), tuple(remarks)
    )


@dataclass(frozen=True)
class Made:
    """The videos whose features were computed, as clips; those that failed, and why; what is odd about some."""

    videos: Sequence[Path]
    kept: Sequence[Clip]
    failed: tuple[tuple[Path, str], ...]
    remarks: tuple[str, ...]


def extracted(videos: Sequence[Path], wanted: Sequence[CacheRequest], resources: Resources, progress: Progress) -> Made:
    """Fills caches with the features of videos, decoding each once."""
    clips = [Clip(f"{number:06d}", path.absolute()) for number, path in enumerate(videos)]
    result = extract(clips, wanted, resources=resources, digest=False, progress=progress)
    failed = {id: f"it has nothing for {each.found.name}" for each in wanted for id in result.empty[each.cache]}
    failed |= {clip.id: reason for failures in result.failed.values() for clip, reason in failures}
    odd = {id: remark for remarks in result.remarks.values() for id, remark in remarks.items()}
    return Made(
        videos,
        [clip for clip in clips if clip.id not in failed],
        tuple((videos[int(id)], reason) for id, reason in failed.items()),
        tuple(f"{videos[int(id)]}: {remark}" for id, remark in sorted(odd.items())),
    )


def scored(
    made: Made, columns: Sequence[Floats], members: Sequence[Member], resources: Resources
) -> tuple[Scored, ...]:
    """The mean scores of the videos, from the features [N, D] of each group."""
    if not made.kept:
        return ()
    device, _, _ = resources.chosen()
    values = np.concatenate(columns, axis=1)
    scores = np.array([member.scores(values, device) for member in members])  # [networks, N]
    numbers = zip(scores.mean(axis=0).tolist(), scores.std(axis=0).tolist(), strict=True)
    return tuple(Scored(made.videos[int(clip.id)], *both) for clip, both in zip(made.kept, numbers, strict=True))


@dataclass
class _Making:
    """The features of new videos on their way through caches in a temporary folder."""

    trained: TrainedRun
    folder: Path
    trusted: frozenset[str]
    wanted: dict[Path, CacheRequest] = field(default_factory=dict)

    def plan(self, name: str, record: Record) -> None:
        """Notes the extractors that a group follows from.

        Raises:
            RunError: it cannot be computed for new videos.
        """
        identity, origin = record["identity"], record["origin"]
        if "derivation" in identity:
            self._check_derived(name, record)
            for stem, each in record["inputs"].items():
                if each["identity"].get("derivation") == SIMILARITY:
                    raise RunError(f"{self._whose(name)} follow from a similarity: they cannot be computed anew")
                self.plan(stem, each)
            return
        if "extractor" not in identity:
            raise RunError(f"{self._whose(name)} were imported: they cannot be computed for new videos")
        cache = self.folder / f"{_place(record)}.lmdb"
        if cache not in self.wanted:
            self.wanted[cache] = self._wanted(name, record, Recipe(identity, origin), cache)

    def columns(self, group: Group, clips: Sequence[Clip]) -> Floats:
        """The features [N, D] of a group."""
        record = self.trained.records[group.name]
        if record["identity"].get("derivation") != SIMILARITY:
            return means_of(open_store(self._cache(record)), clips)
        (each,) = record["inputs"].values()
        learned = self.trained.run.path / record["file"]
        try:
            values = assign(learned, means_of(open_store(self._cache(each)), clips))
        except (ValueError, LookupError, TypeError) as error:
            raise RunError(f"{learned} is not what a similarity learned: {error}") from error
        return values if group.classes is None else one_hot(values, group)

    def _cache(self, record: Record) -> Path:
        """The cache of new videos that a record describes; derived ones are made here."""
        path = self.folder / f"{_place(record)}.lmdb"
        identity = record["identity"]
        if "derivation" in identity and not path.exists():
            kind = find_derivation(str(identity["derivation"]))
            inputs = {stem: self._cache(each) for stem, each in record["inputs"].items()}
            try:
                options = kind(**field_values(kind, identity.get("options", {})))
            except ValueError as error:
                raise RunError(f"{self.trained.run.path}: {identity['derivation']!r} of features: {error}") from error
            derive(Derived(path, str(identity["derivation"]), options, inputs, str(identity.get("dtype", "float32"))))
        return path

    def _wanted(self, name: str, record: Record, recipe: Recipe, cache: Path) -> CacheRequest:
        """The extractor as it was, with the files that the run has kept."""
        file = record["file"]
        weights = None if file is None else str(self.trained.run.path / file)
        try:
            found, extractor = reproduced(recipe, weights=weights, trusted=self.trusted)
            numbers = numbers_in(recipe)
        except ExtractorError as error:
            raise RunError(f"{self._whose(name)}: {error}") from error
        identity = recipe.identity
        wanted = CacheRequest(cache, extractor, found, *numbers)
        for what, was, now in differences(identity, recipe_of(wanted).identity):
            raise RunError(f"{self._whose(name)} were made with {what}={was!r}; here it is {now!r}")
        return wanted

    def _check_derived(self, name: str, record: Record) -> None:
        identity, inputs = record["identity"], record["origin"].get("inputs") or {}
        if missing := next((stem for stem in inputs if stem not in record["inputs"]), None):
            raise RunError(f"{self._whose(name)} follow from {missing}, whose cache was gone when it was trained")
        if len(record["inputs"]) != 1:
            raise RunError(f"{self._whose(name)} follow from {len(record['inputs'])} caches, not from one")
        if identity["derivation"] == SIMILARITY and record["file"] is None:
            raise RunError(f"{self._whose(name)} need what the similarity learned, which was gone when it was trained")

    def _whose(self, name: str) -> str:
        return f"the features {name!r} of {self.trained.run.path}"


def _place(record: Record) -> str:
    """Groups that are computed alike share a cache."""
    return digest(record["identity"])


def means_of(store: Store, clips: Sequence[Clip]) -> Floats:
    """The mean row of each clip [N, D], as a table has it."""
    rows = []
    for clip in clips:
        stored = intact(store, clip.id)
        rows.append(sum(piece.values.sum(axis=0, dtype=np.float64) for piece in stored.pieces()) / max(len(stored), 1))
    return np.array(rows, np.float32)
