"""The engine: every clip decoded once, any number of extractors, reading, computing and writing at the same time.

clips -> Readers (processes) -> queue -> Batcher per network -> Collector -> Writing (thread) -> caches
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from egotools.engine.batching import Batcher
from egotools.engine.collecting import Collector
from egotools.engine.failures import write_failures
from egotools.engine.readers import Readers, Task
from egotools.engine.reading import Failure, Piece
from egotools.engine.recipes import recipe_of
from egotools.engine.request import Extraction, Resources, Wanted
from egotools.engine.trial import judge
from egotools.engine.writing import Writing
from egotools.forward import keep_freed_memory, runnable
from egotools.stores import open_store
from egotools.types import Clip, ClipExtractor

Progress = Callable[[float, int], None]  # clips done, those under way as fractions, and rows done

MOST_FRAMES = 256  # of a batch, unless the user says how large a batch is: windows of videos are long


def _unseen(clips: float, rows: int) -> None:
    """Progress that nobody looks at."""


def extract(
    clips: Sequence[Clip],
    wanted: Sequence[Wanted],
    *,
    resources: Resources = Resources(),  # noqa: B008 - frozen
    dtype: str = "float32",
    origin: Mapping[str, Any] | None = None,
    progress: Progress = _unseen,
) -> Extraction:
    """Fills the caches of `wanted` with the rows of all clips that are not there yet.

    Clips that cannot be read are in the result's `failed`; the others go on. Interrupted, it keeps what is finished,
    and the same call goes on from there. `dtype` is that of the rows on disk, float32 or float16.

    Raises:
        RecipeError: a cache was made in another way.
        StoreError: a cache cannot be written: no space, another writer.
        WeightsError: weights cannot be had or do not fit.
        ExtractorError: an extractor gives no rows [B, D], or fails.
        EgotoolsError: the device is not there, or bf16 rows differ too much from float32 ones.
        KeyboardInterrupt: after everything finished was committed.
    """
    device, _, _ = resources.chosen()
    recipes = {
        each.cache: recipe_of(
            each.found,
            each.extractor,
            precision=resources.precision,
            dtype=dtype,
            origin={**(origin or {}), "device": str(device)},
        )
        for each in wanted
    }
    with Writing(recipes) as writing:
        result, tasks = _plan(clips, wanted, writing)
        if tasks:
            keep_freed_memory()
            collector = Collector(clips, wanted, writing, result, np.dtype(dtype), progress)
            _Engine(wanted, collector, result).run(tasks, resources)
        writing.seal()
    for each in wanted:
        write_failures(each.cache, clips, result.failed[each.cache])
    result.seconds["writing"] = writing.seconds
    return result


def _plan(clips: Sequence[Clip], wanted: Sequence[Wanted], writing: Writing) -> tuple[Extraction, list[Task]]:
    """What is still to be done: tasks for the clips that at least one cache lacks."""
    result = Extraction(failed={each.cache: [] for each in wanted}, done={each.cache: 0 for each in wanted})
    there: list[list[Clip]] = [[] for _ in wanted]
    tasks = []
    for number, clip in enumerate(clips):
        missing = tuple(position for position in range(len(wanted)) if not writing.holds(position, clip.id))
        for position in set(range(len(wanted))).difference(missing):
            there[position].append(clip)
        if missing and clip.path == Path():
            for position in missing:
                result.failed[wanted[position].cache].append((clip, "the manifest names no file for it"))
        elif missing:
            tasks.append(Task(number, clip, missing))
    for each, held in zip(wanted, there, strict=True):
        result.skipped[each.cache] = len(held)
        result.changed[each.cache] = _changed(each.cache, held)
    return result, tasks


def _changed(cache: Path, clips: Sequence[Clip]) -> list[str]:
    """Clips that stand in the cache with rows of other times, or of a file that had another size."""
    if not clips or not cache.exists():  # a sealed cache may be under way as a part only
        return []
    store, changed = open_store(cache), []
    for clip in clips:
        if clip.id in store:
            source = store.source(clip.id)
            size = os.stat(clip.path).st_size if clip.path.exists() and source.size is not None else source.size
            if (source.start, source.end, source.size) != (clip.start, clip.end, size):
                changed.append(clip.id)
    return changed


class _Engine:
    """One extraction under way."""

    def __init__(self, wanted: Sequence[Wanted], collector: Collector, result: Extraction) -> None:
        self.wanted, self.collector, self.result = wanted, collector, result

    def run(self, tasks: Sequence[Task], resources: Resources) -> None:
        _, batch_size, workers = resources.chosen()
        extractors = [each.extractor for each in self.wanted]
        self.collector.expect(tasks)
        sources = [each.source for each in self.wanted if each.source is not None]
        began = time.perf_counter()
        with Readers(extractors, tasks, count=workers, piece_rows=batch_size, sources=sources) as readers:
            # The workers are starting while the networks are built.
            batchers = self._batchers(tasks, resources)
            self.result.seconds["starting"] = time.perf_counter() - began
            self.result.seconds["computing"] = 0.0
            with closing(_prefetched(readers, self.result.seconds)) as messages:
                for message in messages:
                    if isinstance(message, Failure):
                        self.collector.fail(message)
                    elif message.is_computed:
                        self.collector.take(message)
                    elif self.collector.is_open(message):
                        self._compute(batchers[message.extractor].add(message))
            for batcher in batchers.values():
                self._compute(batcher.flush())
            for stage, seconds in readers.seconds.items():
                self.result.seconds[stage] = seconds

    def _compute(self, computed: Iterator[Piece]) -> None:
        before = time.perf_counter()
        pieces = list(computed)
        self.result.seconds["computing"] += time.perf_counter() - before
        for piece in pieces:
            self.collector.take(piece)

    def _batchers(self, tasks: Sequence[Task], resources: Resources) -> dict[int, Batcher]:
        device, batch_size, _ = resources.chosen()
        precision, most_frames = resources.precision, None if resources.batch_size else MOST_FRAMES
        needed = sorted({position for task in tasks for position in task.wanted})
        batchers = {}
        for position in needed:
            each, extractor = self.wanted[position], self.wanted[position].extractor
            if isinstance(extractor, ClipExtractor) or extractor.place != "device":
                continue
            run = runnable(extractor.network(), device, precision)
            if precision != "float32":
                exact = runnable(extractor.network(), device, "float32")
                clips = [task.clip for task in tasks if position in task.wanted]
                if found := judge(each, clips, exact, run, batch_size):
                    self.result.agreement[each.cache] = found
            batchers[position] = Batcher(each.found.name, run, batch_size, most_frames=most_frames)
        return batchers


def _prefetched(readers: Readers, seconds: dict[str, float]) -> Generator[Piece | Failure, None, None]:
    """The readers' messages, received by a thread so that the pipes are emptied while a network runs."""
    received: queue.Queue[Piece | Failure | None] = queue.Queue(maxsize=8)
    is_over = threading.Event()

    def offer(message: Piece | Failure | None) -> None:
        while not is_over.is_set():
            try:
                return received.put(message, timeout=0.1)
            except queue.Full:
                continue

    def receive() -> None:
        try:
            for message in readers.messages():
                offer(message)
                if is_over.is_set():
                    return
        finally:
            offer(None)  # an end for whatever reason, so that nobody waits for more

    seconds["waiting"] = 0.0
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="receiving") as thread:
        receiving = thread.submit(receive)
        try:
            while True:
                before = time.perf_counter()
                message = received.get()
                seconds["waiting"] += time.perf_counter() - before
                if message is None:
                    return receiving.result()
                yield message
        finally:
            is_over.set()
            readers.stop()
