"""The extraction engine: decodes each clip once for any number of extractors, computes rows and writes caches.

clips -> an engine (Pipeline: this machine; Cluster: Ray) -> Collector -> Writing (thread) -> caches
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from egotools.extraction.collecting import Collector
from egotools.extraction.failures import write_failures
from egotools.extraction.messages import Message, Piece, ReadingTask
from egotools.extraction.pipeline import Pipeline
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import Agreement, CacheRequest, Extraction, Resources
from egotools.extraction.resuming import resumed
from egotools.extraction.writing import Writing
from egotools.machine import keep_freed_memory
from egotools.progress import Progress, no_progress
from egotools.stores import open_store
from egotools.stores.source import SourceFiles
from egotools.types import Clip


class Computing(Protocol):
    """Reads clips and computes rows, on this machine or elsewhere. A context manager."""

    @property
    def device(self) -> object:
        """Recorded in the recipe."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds by stage."""

    @property
    def agreement(self) -> Mapping[Path, Agreement]:
        """Agreement of the rows of lower precisions and other runtimes with float32 by PyTorch, by cache."""

    def pieces(
        self, tasks: Sequence[ReadingTask], is_wanted: Callable[[Piece], bool]
    ) -> Generator[Message, None, None]:
        """The computed rows of all tasks, failures, and digests of files."""

    def __enter__(self) -> "Computing": ...
    def __exit__(self, *exception: object) -> None: ...


Engine = Callable[[Sequence[CacheRequest], Resources], Computing]


def extract(
    clips: Sequence[Clip],
    requests: Sequence[CacheRequest],
    *,
    resources: Resources = Resources(),  # noqa: B008 - frozen
    engine: Engine = Pipeline,
    digest: bool = True,
    strict: bool = False,
    origin: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
    tell: Callable[[str], object] = lambda _: None,
) -> Extraction:
    """Computes the rows of all clips that the requested caches lack, and adds them.

    Clips that cannot be read end up in the result's `failed`; the others continue. If interrupted, finished clips and
    the first rows of long ones are kept, and the same call resumes.

    Args:
        clips: what the caches should contain.
        requests: the caches.
        resources: what each machine may use.
        engine: where clips are read and rows computed: `Pipeline` (this machine) or a `cluster.Cluster`.
        strict: whether clips fail if there are remarks on their files, such as repaired timestamps.
        digest: whether to record the digest of each source file, too, for a later `rebuild --digest`.
        origin: further provenance for the recipes.
        progress: reports clips and rows.
        tell: is called with a line on each clip that fails, when it fails.

    Raises:
        RecipeError: a cache was made with another recipe.
        StoreError: a cache cannot be written: the disk is full, or another process is writing it.
        WeightsError: weights are not available or do not fit.
        ExtractorError: an extractor does not return rows [B, D], or fails.
        MissingExtra: the runtime is not installed.
        EgotoolsError: the device does not exist, the network cannot be converted for its runtime, or rows differ too
            much from those of float32 with PyTorch.
        KeyboardInterrupt: everything finished so far is committed.
    """
    keep_freed_memory()
    requests = [_with_runtime(each, clips, progress) for each in requests]
    if all(each.runtime == "openvino" for each in requests):
        resources = replace(resources, device="cpu")
    with engine(requests, resources) as computing:
        origin = {**(origin or {}), "device": str(computing.device)}
        with Writing({each.cache: recipe_of(each, origin) for each in requests}) as writing:
            result, tasks = _plan(clips, requests, writing, digest, strict)
            collector = Collector(clips, requests, writing, result, progress, tell)
            for clip, reason in chain.from_iterable(result.failed.values()):
                collector.tell_failed(clip, reason)
            if tasks:
                tasks, begun = resumed(tasks, requests, writing, result)
                collector.expect(tasks, begun)
                with closing(computing.pieces(tasks, collector.is_open)) as messages:
                    for message in messages:
                        collector.receive(message)
                collector.fail_unfinished()
                collector.finish_undigested()
            writing.seal()
    for each in requests:
        tried = [clip for clip in clips if each.only is None or clip.id in each.only]
        write_failures(each.cache, tried, result.failed[each.cache])
    result.seconds = {**computing.seconds, "writing": writing.seconds}
    result.agreement = dict(computing.agreement)
    return result


def _with_runtime(request: CacheRequest, clips: Sequence[Clip], progress: Progress) -> CacheRequest:
    """The request, if its runtime is there; with the file of its int8 network if it needs one."""
    if request.runtime != "openvino":
        return request
    from egotools.extraction.int8 import with_int8_network
    from egotools.extraction.openvino_runtime import load

    load()
    return with_int8_network(request, clips, progress=progress)


def _plan(
    clips: Sequence[Clip], requests: Sequence[CacheRequest], writing: Writing, digest: bool, strict: bool
) -> tuple[Extraction, list[ReadingTask]]:
    """The remaining work: tasks for the clips that at least one cache lacks."""
    result = Extraction(failed={each.cache: [] for each in requests}, done={each.cache: 0 for each in requests})
    result.resumed = {each.cache: {} for each in requests}
    result.begun_again = {each.cache: {} for each in requests}
    there: list[list[Clip]] = [[] for _ in requests]
    tasks = []
    for number, clip in enumerate(clips):
        missing = []
        for position, each in enumerate(requests):
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
    for each, held in zip(requests, there, strict=True):
        result.changed[each.cache], result.empty[each.cache] = _changed_and_empty(each.cache, held)
        result.skipped[each.cache] = len(held)
    if digest:
        first = {task.clip.path: task for task in sorted(tasks, key=lambda task: task.clip.start, reverse=True)}
        tasks = [replace(task, digest=first[task.clip.path] is task) for task in tasks]
    return result, tasks


def _changed_and_empty(cache: Path, clips: Sequence[Clip]) -> tuple[list[str], list[str]]:
    """Of the clips in a cache, the ids of those with other times or a changed file, and of those without rows."""
    if not clips or not cache.exists():  # an HDF5 cache may exist only as an unsealed part
        return [], []
    store, files = open_store(cache), SourceFiles()
    there = [clip for clip in clips if clip.id in store]
    changed = [clip.id for clip in there if files.change(store.source(clip.id), clip)]
    return changed, [clip.id for clip in there if not len(store.stored(clip.id))]
