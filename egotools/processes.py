"""Processes: how this one came to be, and a function applied in others, so that a crash takes down one item only."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from egotools.errors import EgotoolsError

FORKED = 0x40  # PF_FORKNOEXEC of Linux: a copy of a process, in which no program was started since


def is_forked() -> bool:
    """Whether this process was copied by `fork` amid a program, as workers of `multiprocessing`'s method 'fork' are.

    False where the system does not tell, which is everywhere but on Linux.
    """
    try:
        stat = Path("/proc/self/stat").read_text()
    except OSError:
        return False
    flags = stat.rpartition(")")[2].split()[6]  # the name before ")" may hold anything
    return bool(int(flags) & FORKED)


def compute_alone_if_forked() -> None:
    """In a forked process: torch, FAISS and scikit-learn compute with one thread from now on, in this thread.

    The threads that OpenMP had in the parent are not copied, but OpenMP goes on waiting for them: any computation with
    more than one thread would hang for ever. With one it asks nobody. Called at the beginning of all that computes with
    these libraries; costs some microseconds in any other process.
    """
    if not is_forked():
        return
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    torch = sys.modules.get("torch")
    if torch is not None:  # it also tells its own kernels, and MKL's, which threadpoolctl does not see
        torch.set_num_threads(1)


Item = TypeVar("Item")
Result = TypeVar("Result")

ENDED_EARLY = (
    "a reading process ended before it began; what it said is above "
    "(a script that calls this needs its main part under: if __name__ == '__main__')"
)


NO_CHILDREN = (
    "reading clips needs processes, and the workers of multiprocessing.Pool may start none; "
    "use concurrent.futures.ProcessPoolExecutor with the start method 'spawn' or 'forkserver'"
)
FORK_OF_A_READER = (
    "this process is a fork of one that has read clips, whose processes it cannot use; "
    "use the start method 'spawn' or 'forkserver' instead of 'fork'"
)


@dataclass(frozen=True)
class Crash:
    """What is known of an item whose process ended: the exit code, a signal if it is negative."""

    status: int | None


@dataclass(eq=False)
class _Worker(Generic[Item]):
    process: BaseProcess
    connection: Connection[Any, Any]
    item: Item | None = None  # in hand
    is_ready: bool = False


def apart(
    function: Callable[[Item], Result], items: Iterable[Item], *, count: int
) -> Generator[tuple[Item, Result | Crash], None, None]:
    """Each item with what the function gives for it, as it comes, from `count` processes at most.

    The function, the items and the results are pickled. Closing the generator ends the processes.

    Raises:
        EgotoolsError: a process cannot be started, or the function raises: it has printed the traceback.
    """
    left = deque(items)
    workers: list[_Worker[Item]] = []
    try:
        while left or workers:
            while left and len(workers) < count:
                workers.append(_Worker(*start(_serve, function)))
                _give(workers[-1], left)
            for ready in wait([worker.connection for worker in workers]):
                worker = next(worker for worker in workers if worker.connection is ready)
                try:
                    result = worker.connection.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    yield worker.item, _crash(worker)  # type: ignore[misc]  # it has one in hand
                    continue
                if not worker.is_ready:
                    worker.is_ready = True
                    continue
                item, worker.item = worker.item, None
                if left:
                    _give(worker, left)
                else:
                    workers.remove(worker)
                    _end(worker)
                yield item, result  # type: ignore[misc]
    finally:
        for worker in workers:
            _end(worker)


def start(target: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection[Any, Any]]:
    """A process that runs `target` with one end of a pipe and the arguments; and the other end.

    It comes from a server, which loads once what this process has loaded when the first one starts: of ours, and torch.

    Raises:
        EgotoolsError: the system has no more processes or files to give, or this process may start none.
    """
    if multiprocessing.current_process().daemon:
        raise EgotoolsError(NO_CHILDREN)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([name for name in sys.modules if name.startswith("egotools.") or name == "torch"])
    try:
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        process.start()
        theirs.close()
    except ChildProcessError as error:  # the server is the parent's
        raise EgotoolsError(FORK_OF_A_READER) from error
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or str(error) or "the server of processes ended"
        raise EgotoolsError(f"no process to read with can be started: {why}; see 'ulimit -a'") from error
    return process, ours


def _give(worker: _Worker[Item], left: deque[Item]) -> None:
    worker.item = left.popleft()
    with suppress(BrokenPipeError, ConnectionResetError):  # it is gone, which the next look at it tells
        worker.connection.send(worker.item)


def _crash(worker: _Worker[Any]) -> Crash:
    worker.process.join()
    worker.connection.close()
    status = worker.process.exitcode
    if not worker.is_ready:
        raise EgotoolsError(ENDED_EARLY)
    if status == 1:  # a Python error, not a crash
        raise EgotoolsError(f"reading failed on {worker.item}; the traceback is above")
    return Crash(status)


def _end(worker: _Worker[Any]) -> None:
    worker.process.terminate()
    worker.process.join()
    worker.connection.close()


def _serve(connection: Connection[Any, Any], function: Callable[[Any], Any]) -> None:
    """A process's life: an item comes, its result goes, until nobody is there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by who started it
    connection.send(None)  # ready
    while True:
        try:
            item = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        connection.send(function(item))
