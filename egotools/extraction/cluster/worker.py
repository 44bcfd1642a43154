"""Runs on the nodes of a cluster: a pipeline that receives one shard after another and is polled for its results.

Does not import torch before `Worker` is created: how torch's threads wait is decided at import.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egotools.errors import EgotoolsError, RecipeError
from egotools.extraction.messages import Message, Piece, ReadingTask

if TYPE_CHECKING:
    from ray import ObjectRef

    from egotools.extraction.pipeline import Pipeline
    from egotools.extraction.request import Agreement, CacheRequest, Resources

BATCH_BYTES = 8 << 20
BATCH_SECONDS = 1.0


@dataclass(frozen=True)
class WorkerSetup:
    """What every worker receives first."""

    folder: Path  # relative paths among the options refer to it
    sources: Mapping[Path, str]  # users' own files by digest
    resources: Resources
    threads: int  # for torch


@dataclass(frozen=True)
class Prepared:
    """A worker that is ready: the name of its node, and its process id."""

    node: str
    process: int


@dataclass(frozen=True)
class Begun:
    """A shard that a worker has accepted, and those of its files that do not exist on the worker's node."""

    shard: int
    missing: Sequence[Path]


@dataclass(frozen=True)
class ShardMessages:
    """A part of a shard's results; `seconds` and `agreement` are the worker's totals."""

    shard: int
    messages: Sequence[Message]
    is_over: bool
    seconds: Mapping[str, float] = field(default_factory=dict)
    agreement: Mapping[Path, Agreement] = field(default_factory=dict)


class Worker:
    """An actor; its methods run one after another, in call order."""

    def __init__(self) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
        self._pipeline: Pipeline | None = None
        self._pieces: Generator[Message, None, None] | None = None
        self._shard = -1

    def prepare(
        self, setup: WorkerSetup, requests: Sequence[ObjectRef[Any]], identities: Sequence[Mapping[str, Any]]
    ) -> Prepared:
        """Creates the pipeline.

        `requests` holds one reference, to a list of `CacheRequest`: Ray resolves nested references only on request, so
        that the sources, which define the classes of extractors, are imported first.

        Raises:
            EgotoolsError: the source, weights or versions on this node differ; the message names it.
        """
        import ray
        import torch

        from egotools.extraction.pipeline import Pipeline
        from egotools.machine import keep_freed_memory

        node = platform.node()
        with suppress(FileNotFoundError):  # only relative paths need the folder
            os.chdir(setup.folder)
        torch.set_num_threads(setup.threads)
        keep_freed_memory()
        try:
            _load(setup.sources)
            fetched: list[CacheRequest] = ray.get(requests[0])
            for each, identity in zip(fetched, identities, strict=True):
                _check(each, identity)
        except EgotoolsError as error:
            raise EgotoolsError(f"node {node}: {error}") from error
        self._pipeline = Pipeline(fetched, setup.resources)
        return Prepared(node, os.getpid())

    def begin(self, shard: int, tasks: Sequence[ReadingTask]) -> Begun:
        """Accepts the tasks of a shard; `more` computes them."""
        assert self._pipeline is not None, "prepare is called first"
        self._shard, self._pieces = shard, self._pipeline.pieces(tasks, lambda _: True)
        paths = dict.fromkeys(task.clip.path for task in tasks)
        return Begun(shard, [path for path in paths if not os.path.exists(path)])

    def more(self, shard: int) -> ShardMessages:
        """The next results of a shard: about 8 MiB, or one second's work."""
        assert self._pipeline is not None, "prepare is called first"
        messages: list[Message] = []
        is_over, size, began = True, 0, time.monotonic()
        for message in self._pieces if self._pieces is not None and shard == self._shard else ():
            messages.append(message)
            size += message.units.nbytes if isinstance(message, Piece) else 0
            if size >= BATCH_BYTES or time.monotonic() - began >= BATCH_SECONDS:
                is_over = False
                break
        return ShardMessages(shard, messages, is_over, dict(self._pipeline.seconds), dict(self._pipeline.agreement))


def _load(sources: Mapping[Path, str]) -> None:
    from egotools.extractors.own_code import load_source, source_digest

    for source, digest in sources.items():
        load_source(source)
        if source_digest(source) != digest:
            raise RecipeError(f"{source} differs from the file on the machine that runs the command")


def _check(request: CacheRequest, identity: Mapping[str, Any]) -> None:
    """Refuses to compute rows if this node would compute them by another recipe."""
    import json

    from egotools.config import to_json
    from egotools.extraction.recipes import recipe_of
    from egotools.stores.store import differences

    here = json.loads(to_json(recipe_of(request).identity, exact=True))
    for name, found, asked in differences(here, identity):
        raise RecipeError(
            f"{request.found.name} has {name}={found!r} here, not {asked!r} as on the machine that runs the command"
        )
