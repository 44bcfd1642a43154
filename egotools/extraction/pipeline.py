"""Reads clips and computes rows on one machine: tasks go in, computed pieces come out.

Readers (processes) -> queue -> Batcher per network -> pieces
"""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import torch

from egotools.extraction.batching import Batcher, full_size
from egotools.extraction.forward import Network, runnable
from egotools.extraction.messages import Message, Piece, ReadingTask, Stage
from egotools.extraction.networks import network_of
from egotools.extraction.precision import Array, alone, check_precision
from egotools.extraction.readers import Readers
from egotools.extraction.request import Agreement, CacheRequest, Resources
from egotools.types import AudioExtractor, Clip, ClipExtractor, Extractor

# Frames of a batch, unless the user says how large a batch is. Windows of videos are long: on a CPU, five of 45 frames
# of 256x256 through ip-CSN-152 take 2.4 times the memory of two, and a row 1.3 times the processor time.
MOST_FRAMES, MOST_FRAMES_ON_CPU = 256, 128


class Pipeline:
    """The reading processes and the networks of this machine. A context manager; leaving it ends the processes.

    `seconds` sums time by stage; `agreement` is how close rows are to those of float32 with PyTorch, by cache.
    """

    def __init__(self, requests: Sequence[CacheRequest], resources: Resources) -> None:
        self.requests = requests
        self.device, self.batch_size, workers = resources.chosen()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.seconds["computing"] = 0.0
        self.agreement: dict[Path, Agreement] = {}
        most = MOST_FRAMES_ON_CPU if self.device.type == "cpu" else MOST_FRAMES
        self._most_frames = None if resources.batch_size else most
        self._batchers: dict[int, Batcher] = {}
        self._readers = Readers(
            [each.extractor for each in requests],
            count=workers,
            piece_rows=self.batch_size,
            sources=[each.source for each in requests if each.source is not None],
        )

    def pieces(
        self, tasks: Sequence[ReadingTask], is_wanted: Callable[[Piece], bool]
    ) -> Generator[Message, None, None]:
        """The computed rows of all tasks, failures, and digests of files. May be called again when it has ended.

        Raises:
            ExtractorError: an extractor failed.
            WeightsError: weights are not available or do not fit.
            EgotoolsError: rows differ too much from those of float32 with PyTorch.
        """
        began = time.perf_counter()
        self._readers.give(tasks)  # the processes start while the networks are built
        yield from self._build(tasks)
        self.seconds["starting"] += time.perf_counter() - began
        with closing(_prefetched(self._readers, self.seconds)) as messages:
            for message in messages:
                if not isinstance(message, Piece) or message.is_computed:
                    yield message
                elif is_wanted(message):
                    yield from self._computed(self._batchers[message.extractor].add(message))
        for batcher in self._batchers.values():
            yield from self._computed(batcher.flush())
        self.seconds.update(self._readers.seconds)

    def _computed(self, pieces: Iterator[Piece]) -> list[Piece]:
        before = time.perf_counter()
        found = list(pieces)
        self.seconds["computing"] += time.perf_counter() - before
        return found

    def _build(self, tasks: Sequence[ReadingTask]) -> Iterator[Stage]:
        """Builds the networks that these tasks need, unless they exist already; says which are compiled."""
        for position in sorted({position for task in tasks for position in task.positions}.difference(self._batchers)):
            each, extractor = self.requests[position], self.requests[position].extractor
            if isinstance(extractor, ClipExtractor) or extractor.place != "device":
                continue
            if each.runtime == "compile":
                yield Stage(f"compiling {each.found.name} (once; about half a minute)")
            run = network_of(each, self.device, partial(self._full, extractor))
            if (each.runtime, each.precision) != ("torch", "float32"):
                self._check_precision(each, run, [task.clip for task in tasks if position in task.positions])
            self._batchers[position] = Batcher(
                each.found.name, run, self.batch_size, most_frames=self._most_frames,
                row_times=getattr(extractor, "row_times", None),
            )  # fmt: skip

    def _check_precision(self, each: CacheRequest, run: Network, clips: Sequence[Clip]) -> None:
        assert not isinstance(each.extractor, ClipExtractor), "it has no network"
        device = torch.device("cpu") if each.runtime == "openvino" else self.device
        exact = runnable(each.extractor.network(), device, "float32")
        full = partial(self._full, each.extractor)
        # A compiled network takes full batches: one window less tells whether filling a batch up changes its rows.
        together = (lambda windows: max(full(windows) - 1, 1)) if each.runtime == "compile" else alone
        if found := check_precision(each, clips, exact, run, together=together):
            self.agreement[each.cache] = found

    def _full(self, extractor: Extractor, windows: Array | torch.Tensor) -> int:
        """Windows of a full batch of windows [N, L, ...] such as these."""
        is_sound = isinstance(extractor, AudioExtractor)
        return full_size(self.batch_size, windows.shape[1], None if is_sound else self._most_frames)

    def close(self) -> None:
        """Ends the reading processes, and frees what was compiled."""
        self._readers.close()
        if any(each.runtime == "compile" for each in self.requests):
            from egotools.extraction.compiled import forget_compiled

            forget_compiled()

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _prefetched(readers: Readers, seconds: dict[str, float]) -> Generator[Message, None, None]:
    """The readers' messages, received by a thread so that the pipes are drained while a network runs."""
    received: queue.Queue[Message | None] = queue.Queue(maxsize=8)
    is_over = threading.Event()

    def offer(message: Message | None) -> None:
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
            offer(None)  # sent after errors, too, so that the consumer does not wait forever

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
            if not receiving.done():
                readers.stop()
