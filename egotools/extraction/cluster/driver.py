"""Runs an extraction on a Ray cluster, or on a local Ray: workers receive shards and return rows.

tasks -> shards -> Worker (actors) -> batches of pieces -> this process, the only one that writes
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egotools.config import to_json
from egotools.errors import EgotoolsError, ExtractorError
from egotools.extraction.cluster.connection import connect, hosted, import_ray
from egotools.extraction.cluster.sharding import Open, durations, shards_of
from egotools.extraction.cluster.worker import Begun, Prepared, ShardMessages, Worker, WorkerSetup
from egotools.extraction.messages import BegunAgain, Failure, Message, Piece, ReadingTask
from egotools.extraction.readers import ATTEMPTS, TRACEBACK
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import Agreement, CacheRequest, Resources
from egotools.extractors.own_code import source_digest
from egotools.machine import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 2  # pending calls per worker, so that none waits for this process
START_SECONDS = 300.0  # for the first worker: a busy cluster may have no room, and disks may be slow
MOST_DEATHS = 20  # without any row in between


@dataclass(frozen=True)
class Cluster:
    """An engine for `extract`: number, size and place of the Ray workers.

    Args:
        address: HOST:PORT of a cluster's head, or "auto"; None: Ray is started on this machine and stopped afterwards.
        num_workers: None: as many as fit.
        cpus_per_worker: cores, reading processes (unless `Resources.workers` says otherwise) and threads of each.
        gpus_per_worker: for each; with 0.5, two share one.
    """

    address: str | None = None
    num_workers: int | None = None
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if (self.num_workers is not None and self.num_workers < 1) or self.cpus_per_worker < 1:
            raise ValueError("a cluster needs at least one worker, and a worker at least one CPU")
        if self.gpus_per_worker < 0 or (self.gpus_per_worker > 1 and self.gpus_per_worker % 1):
            raise ValueError(f"{self.gpus_per_worker:g} GPUs per worker: give a fraction up to 1, or a whole number")

    def __call__(self, requests: Sequence[CacheRequest], resources: Resources) -> Workers:
        """The workers; nothing is started before there is work."""
        return Workers(self, requests, resources)


@dataclass(eq=False)
class _Remote:
    """A worker, as seen by the driver."""

    actor: Any  # a Ray handle, whose methods Ray creates
    prepared: Prepared | None = None
    shard: int | None = None  # the current one
    tasks: Sequence[ReadingTask] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def node(self) -> str:
        return self.prepared.node if self.prepared else "that never answered"


class Workers:
    """The workers of one extraction. A context manager; leaving it ends them."""

    def __init__(self, cluster: Cluster, requests: Sequence[CacheRequest], resources: Resources) -> None:
        self.cluster, self.requests = cluster, requests
        device = "cpu" if resources.device == "auto" and not cluster.gpus_per_worker else resources.device
        readers = resources.workers or cluster.cpus_per_worker
        self.resources = replace(resources, device=device, workers=readers)
        self.device = f"ray, {resources.device}"
        self.agreement: dict[Path, Agreement] = {}
        self._leaving = ExitStack()
        self._ended: Counter[str] = Counter()  # seconds of workers that have ended
        self._remotes: list[_Remote] = []
        self._calls: dict[Any, _Remote] = {}  # Ray's references; oldest first
        self._shards: deque[list[ReadingTask]] = deque()
        self._shards_given = 0
        self._deaths = 0

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds by stage, summed over workers."""
        total = Counter(self._ended)
        for remote in self._remotes:
            total.update(remote.seconds)
        return total

    def pieces(
        self,
        tasks: Sequence[ReadingTask],
        is_wanted: Callable[[Piece], bool],  # noqa: ARG002 - only known here
    ) -> Generator[Message, None, None]:
        """The computed rows of all tasks, failures, and digests of files.

        Raises:
            EgotoolsError: the cluster cannot be reached or is too small, or its nodes have other files or versions.
            ExtractorError: an extractor failed.
            WeightsError: weights do not fit.
        """
        cluster, here = self.cluster, Path.cwd()
        # Ray says on stdout that a worker died, from a thread; but a program may be reading our result there.
        self._leaving.enter_context(redirect_stdout(sys.stderr))
        if connect(cluster.address, _declared_cpus(cluster)):
            self._leaving.callback(import_ray().shutdown)
        where = f"any machine of the cluster at {cluster.address}" if cluster.address else "this machine"
        count = hosted(cluster.cpus_per_worker, cluster.gpus_per_worker, where)
        tasks = [replace(task, clip=replace(task.clip, path=here / task.clip.path)) for task in tasks]
        lengths = durations([task.clip for task in tasks])
        count = cluster.num_workers or count
        self._shards.extend(shards_of(tasks, count, lambda clip: lengths[clip.id]))
        self._open = Open(tasks)
        self._prepare(here)
        try:
            self._fill(count)
            while self._calls:
                yield from self._next_answer()
                self._fill(count)
        finally:
            self._end(list(self._remotes))

    def _prepare(self, here: Path) -> None:
        ray = import_ray()
        sources = {each.source: source_digest(each.source) for each in self.requests if each.source is not None}
        self._setup = WorkerSetup(here, sources, self.resources, self.cluster.cpus_per_worker)
        self._requests = ray.put(list(self.requests))
        self._identities = [json.loads(to_json(recipe_of(each).identity, exact=True)) for each in self.requests]
        size = {"num_cpus": self.cluster.cpus_per_worker, "num_gpus": self.cluster.gpus_per_worker}
        self._kind = ray.remote(Worker).options(**size, max_restarts=0)
        self._started = time.monotonic()

    def _fill(self, count: int) -> None:
        """Gives shards to idle workers, and starts as many workers as the rest can use."""
        for remote in self._remotes:
            if self._shards and remote.prepared and remote.shard is None:
                self._give(remote, self._shards.popleft())
        starting = sum(not remote.prepared for remote in self._remotes)
        for _ in range(min(count - len(self._remotes), len(self._shards) - starting)):
            remote = _Remote(self._kind.remote())
            self._remotes.append(remote)
            self._calls[remote.actor.prepare.remote(self._setup, [self._requests], self._identities)] = remote

    def _give(self, remote: _Remote, tasks: list[ReadingTask]) -> None:
        remote.shard, remote.tasks = self._shards_given, tasks
        self._shards_given += 1
        self._calls[remote.actor.begin.remote(remote.shard, tasks)] = remote
        for _ in range(CALLS):
            self._calls[remote.actor.more.remote(remote.shard)] = remote

    def _next_answer(self) -> Iterator[Message]:
        """The messages in the next answer of any worker."""
        ray = import_ray()
        ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=10.0)
        if not ready:
            return self._check_started()
        remote = self._calls[ready[0]]
        # Ray may tell of a small answer before a large one; but a worker answers in order, so the first is there, too.
        call = next(call for call, other in self._calls.items() if other is remote)
        del self._calls[call]
        kinds = ray.exceptions
        try:
            answer = ray.get(call)
        except (kinds.RayActorError, kinds.ObjectLostError, kinds.OutOfMemoryError) as error:
            yield from self._reassign(remote, error)
        except kinds.RayTaskError as error:
            raise _plain(error) from None
        else:
            yield from self._received(remote, answer)

    def _received(self, remote: _Remote, answer: Prepared | Begun | ShardMessages) -> Iterator[Message]:
        if isinstance(answer, Prepared):
            remote.prepared = answer
        elif isinstance(answer, Begun):
            for path in answer.missing:
                if os.path.exists(path):
                    raise EgotoolsError(
                        f"{path} exists here but not on node {remote.node}; all nodes must see the videos under "
                        "the same path"
                    )
        elif answer.shard == remote.shard:  # otherwise the answer to a surplus call at the end of a shard
            remote.seconds = answer.seconds
            self._keep_worst(answer.agreement)
            for message in answer.messages:
                if isinstance(message, (Piece, Failure, BegunAgain)):
                    self._open.note(message)
                if isinstance(message, Piece):
                    self._deaths = 0
                yield message
            if answer.is_over:
                remote.shard, remote.tasks = None, ()
            else:
                self._calls[remote.actor.more.remote(remote.shard)] = remote

    def _keep_worst(self, agreement: Mapping[Path, Agreement]) -> None:
        """Keeps the worst agreement of all workers."""
        for cache, found in agreement.items():
            if cache not in self.agreement or found.centered < self.agreement[cache].centered:
                self.agreement[cache] = found

    def _reassign(self, remote: _Remote, error: Exception) -> Iterator[Failure]:
        """Requeues the unfinished clips of a dead worker, one per shard; a clip that killed two workers has failed.

        So the next death has only one suspect.
        """
        self._end([remote])
        self._deaths += 1
        reason = f"node {remote.node}: {_reason(error)}"
        if self._deaths > (MOST_DEATHS if remote.prepared else ATTEMPTS):
            raise EgotoolsError(f"{self._deaths} workers died one after another, without a row: {reason}")
        for task in self._open.among(remote.tasks):
            if task.attempt < ATTEMPTS:
                self._shards.append([replace(task, attempt=task.attempt + ATTEMPTS)])
                continue
            text = f"{task.clip.path}: killed its worker twice ({reason})"
            for failure in [Failure(task.number, task.attempt, position, text) for position in task.positions]:
                self._open.note(failure)
                yield failure

    def _check_started(self) -> None:
        if not any(remote.prepared for remote in self._remotes) and time.monotonic() - self._started > START_SECONDS:
            raise EgotoolsError(
                f"no worker could start within {START_SECONDS:.0f} s: the cluster is busy, or its machines are slow"
            )

    def _end(self, remotes: Sequence[_Remote]) -> None:
        ray = import_ray()
        for remote in remotes:
            ray.kill(remote.actor)
            self._ended.update(remote.seconds)
            self._remotes.remove(remote)
        self._calls = {call: other for call, other in self._calls.items() if other in self._remotes}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        self._leaving.close()


def _declared_cpus(cluster: Cluster) -> int:
    """CPUs to declare for a local Ray; the user may ask for more workers than there are cores."""
    return (cluster.num_workers or 1) * cluster.cpus_per_worker if cluster.cpus_per_worker <= usable_cores() else 1


def _plain(error: Any) -> EgotoolsError:
    """The error raised in a worker, without Ray's wrapping."""
    shown = "'--engine local' shows the traceback"
    if isinstance(error.cause, ExtractorError):
        return ExtractorError(str(error.cause).replace(TRACEBACK, shown))
    if isinstance(error.cause, EgotoolsError):
        return error.cause
    return ExtractorError(f"a worker failed ({type(error.cause).__name__}: {error.cause}); {shown}")


def _reason(error: Exception) -> str:
    """What Ray says about a worker's death, in one line."""
    last = str(error).strip().splitlines()[-1]
    return last.partition(" Some common causes")[0].rpartition("Worker exit detail: ")[2][:200].rstrip(". ")
