"""The engine: every clip decoded once, any number of extractors, reading, computing and writing at the same time.

clips -> an engine (Pipeline: this machine; Cluster: Ray) -> Collector -> Writing (thread) -> caches
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from egotools.extract.collecting import Collector
from egotools.extract.failures import write_failures
from egotools.extract.messages import Failure, FileDigest, FileRemarks, Message, Piece, ReadingTask
from egotools.extract.pipeline import Pipeline
from egotools.extract.recipes import recipe_of
from egotools.extract.request import Agreement, CacheRequest, Extraction, Resources
from egotools.extract.writing import Writing
from egotools.machine import keep_freed_memory
from egotools.progress import Progress, no_progress
from egotools.stores import open_store
from egotools.stores.source import SourceFiles
from egotools.types import Clip


class Computing(Protocol):
    """What reads clips and computes rows, here or elsewhere. A context manager."""

    @property
    def device(self) -> object:
        """For the recipe's origin."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """By stage."""

    @property
    def agreement(self) -> Mapping[Path, Agreement]:
        """Of bf16 rows with float32 ones, by cache."""

    def pieces(
        self, tasks: Sequence[ReadingTask], is_wanted: Callable[[Piece], bool]
    ) -> Generator[Message, None, None]:
        """The computed rows of all tasks, what failed, and digests of files."""

    def __enter__(self) -> Computing: ...
    def __exit__(self, *exception: object) -> None: ...


Engine = Callable[[Sequence[CacheRequest], Resources], Computing]


def extract(
    clips: Sequence[Clip],
    wanted: Sequence[CacheRequest],
    *,
    resources: Resources = Resources(),  # noqa: B008 - frozen
    engine: Engine = Pipeline,
    digest: bool = True,
    strict: bool = False,
    origin: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> Extraction:
    """Fills the caches of `wanted` with the rows of all clips that are not there yet.

    Clips that cannot be read are in the result's `failed`; the others go on. Interrupted, it keeps what is finished,
    and the same call goes on from there.

    Args:
        clips: what the caches are to hold.
        wanted: the caches.
        resources: what each machine gives.
        engine: where clips are read and rows computed: `Pipeline` (this machine) or a `cluster.Cluster`.
        strict: whether clips fail whose files have remarks: whose times were repaired, for one.
        digest: whether the digest of each source file is kept, too, for a later `rebuild --digest`.
        origin: what the recipes say beside what makes the rows.
        progress: told of clips and rows.

    Raises:
        RecipeError: a cache was made in another way.
        StoreError: a cache cannot be written: no space, another writer.
        WeightsError: weights cannot be had or do not fit.
        ExtractorError: an extractor gives no rows [B, D], or fails.
        EgotoolsError: the device is not there, or bf16 rows differ too much from float32 ones.
        KeyboardInterrupt: after everything finished was committed.
    """
    keep_freed_memory()
    with engine(wanted, resources) as computing:
        origin = {**(origin or {}), "device": str(computing.device)}
        with Writing({each.cache: recipe_of(each, origin) for each in wanted}) as writing:
            result, tasks = _plan(clips, wanted, writing, digest, strict)
            if tasks:
                collector = Collector(clips, wanted, writing, result, progress)
                collector.expect(tasks)
                with closing(computing.pieces(tasks, collector.is_open)) as messages:
                    for message in messages:
                        if isinstance(message, FileDigest):
                            collector.know(message)
                        elif isinstance(message, Failure):
                            collector.fail(message)
                        elif isinstance(message, FileRemarks):
                            collector.remark(message)
                        else:
                            collector.take(message)
                collector.settle()
            writing.seal()
    for each in wanted:
        tried = [clip for clip in clips if each.only is None or clip.id in each.only]
        write_failures(each.cache, tried, result.failed[each.cache])
    result.seconds = {**computing.seconds, "writing": writing.seconds}
    result.agreement = dict(computing.agreement)
    return result


def _plan(
    clips: Sequence[Clip], wanted: Sequence[CacheRequest], writing: Writing, digest: bool, strict: bool
) -> tuple[Extraction, list[ReadingTask]]:
    """What is still to be done: tasks for the clips that at least one cache lacks."""
    result = Extraction(failed={each.cache: [] for each in wanted}, done={each.cache: 0 for each in wanted})
    there: list[list[Clip]] = [[] for _ in wanted]
    tasks = []
    for number, clip in enumerate(clips):
        missing = []
        for position, each in enumerate(wanted):
            if writing.holds(position, clip.id):
                there[position].append(clip)
            elif each.only is not None and clip.id not in each.only:
                continue
            elif clip.path == Path():
                result.failed[each.cache].append((clip, "the manifest names no file for it"))
            else:
                missing.append(position)
        if missing:
            tasks.append(ReadingTask(number, clip, tuple(missing), strict=strict))
    for each, held in zip(wanted, there, strict=True):
        result.changed[each.cache], result.empty[each.cache] = _looked_at(each.cache, held)
        result.skipped[each.cache] = len(held)
    if digest:
        first = {task.clip.path: task for task in sorted(tasks, key=lambda task: task.clip.start, reverse=True)}
        tasks = [replace(task, digest=first[task.clip.path] is task) for task in tasks]
    return result, tasks


def _looked_at(cache: Path, clips: Sequence[Clip]) -> tuple[list[str], list[str]]:
    """Of the clips in a cache those whose rows are of other times or of a changed file, and those without rows."""
    if not clips or not cache.exists():  # a sealed cache may be under way as a part only
        return [], []
    store, files = open_store(cache), SourceFiles()
    there = [clip for clip in clips if clip.id in store]
    changed = [clip.id for clip in there if files.change(store.source(clip.id), clip)]
    return changed, [clip.id for clip in there if not len(store.stored(clip.id))]
