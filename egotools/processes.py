"""Runs a function in other processes, so that a crash affects one item only; and detects forked processes."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from egotools.errors import EgotoolsError

FORKED = 0x40  # PF_FORKNOEXEC of Linux: forked, without an exec since


def is_forked() -> bool:
    """Whether this process was created by `fork` without `exec`, as workers of `multiprocessing`'s "fork" method are.

    False on other systems than Linux, where it cannot be determined.
    """
    try:
        stat = Path("/proc/self/stat").read_text()
    except OSError:
        return False
    flags = stat.rpartition(")")[2].split()[6]  # the name before ")" may hold anything
    return bool(int(flags) & FORKED)


def compute_alone_if_forked() -> None:
    """In a forked process: limits torch, FAISS and scikit-learn to one thread from now on.

    OpenMP's threads are not copied by a fork, but OpenMP still waits for them: any computation with more than one
    thread would hang forever. Called at the beginning of everything that computes with these libraries; costs a few
    microseconds in other processes.
    """
    if not is_forked():
        return
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    torch = sys.modules.get("torch")
    if torch is not None:  # this also limits its own kernels and MKL's, which threadpoolctl does not see
        torch.set_num_threads(1)


Item = TypeVar("Item")
Result = TypeVar("Result")

ENDED = (BrokenPipeError, ConnectionResetError, EOFError)  # of a pipe whose other end is gone
ENDED_EARLY = (
    "a reading process ended before it started work; its output is above "
    "(a script that calls this must have its main part under: if __name__ == '__main__')"
)
NO_CHILDREN = (
    "reading clips needs processes, but workers of multiprocessing.Pool cannot start any; "
    "use concurrent.futures.ProcessPoolExecutor with the start method 'spawn' or 'forkserver'"
)
FORK_OF_A_READER = (
    "this process was forked from one that has read clips, and cannot use its worker processes; "
    "use the start method 'spawn' or 'forkserver' instead of 'fork'"
)


@dataclass(frozen=True)
class Crash:
    """An item whose process died: its exit code; a negative one is a signal."""

    status: int | None


@dataclass(eq=False)
class _Worker(Generic[Item]):
    process: BaseProcess
    connection: Connection[Any, Any]
    item: Item | None = None  # being processed
    is_ready: bool = False


def apart(
    function: Callable[[Item], Result], items: Iterable[Item], *, count: int
) -> Generator[tuple[Item, Result | Crash], None, None]:
    """Yields each item with the function's result, in order of completion, from at most `count` processes.

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
                    yield worker.item, _crash(worker)  # type: ignore[misc]  # it is processing one
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

    It is forked from a server process that preloads the modules this process has loaded when it starts, such as torch.

    Raises:
        EgotoolsError: the system is out of processes or files, or this process must not start any.
    """
    context = forkserver()
    try:
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        process.start()
        theirs.close()
    except ChildProcessError as error:  # the server belongs to the parent
        raise EgotoolsError(FORK_OF_A_READER) from error
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or str(error) or "the process server ended"
        raise EgotoolsError(f"a reading process cannot be started: {why}; see 'ulimit -a'") from error
    return process, ours


def forkserver() -> ForkServerContext:
    """What starts processes from a server that preloads the modules of this process.

    Raises:
        EgotoolsError: this process must not start any.
    """
    if multiprocessing.current_process().daemon:
        raise EgotoolsError(NO_CHILDREN)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([name for name in sys.modules if name.startswith("egotools.") or name == "torch"])
    return context


def _give(worker: _Worker[Item], left: deque[Item]) -> None:
    worker.item = left.popleft()
    with suppress(BrokenPipeError, ConnectionResetError):  # it died; the next check finds out
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
    """The main loop of a worker process: receives an item, sends its result, until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    result: Any = None  # ready
    while True:
        try:
            connection.send(result)
            item = connection.recv()
        except ENDED:
            return
        result = function(item)
