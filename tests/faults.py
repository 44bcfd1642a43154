"""Commands that can be killed: started within milliseconds, watched, ended by SIGKILL, and looked at afterwards.

A start of `egotools` imports torch, which takes seconds. So one process here imports everything once, and forks a new
one for each command: `Starter().start(["extract", ...], folder)`. Only the imports are spared. Linux only.

    test -- Starter -- [process that has everything imported] -- command -- its fork server -- its reading processes
"""

from __future__ import annotations

import atexit
import ctypes
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe, forkserver, util
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

PATIENCE = 120.0  # seconds until what should happen counts as not happening
COMMIT_SECONDS = 0.02  # of commands here: a commit nearly each time a clip is finished, since all is over in a second
PAUSE = 0.004  # after each step on the disk that others can see, of commands here
DISK_BYTES = 96 << 20
NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000  # of unshare(2)
IMPORTED = (
    "egotools.media.audio",
    "egotools.cli.cache",
    "egotools.cli.extract",
    "egotools.cli.rebuild",
    "egotools.cli.table",
    "egotools.extraction.estimate",
    "egotools.extraction.engine",
    "egotools.extractors.color",
    "egotools.extractors.torchvision_models",
    "egotools.rebuild.rebuilding",
    "egotools.stores.hdf5_writer",
    "faiss",
)


@dataclass(frozen=True)
class Finished:
    """How a command ended: exit status, negative for a signal, and what it said."""

    status: int
    stdout: str
    stderr: str


class Running:
    """A command under way, the leader of its own session and process group."""

    def __init__(self, starter: Starter, pid: int, folder: Path) -> None:
        self.pid = pid
        self._starter, self._folder = starter, folder
        self._finished: Finished | None = None

    def poll(self) -> Finished | None:
        """How it ended, if it did."""
        if self._finished is None and (status := self._starter.status(self.pid)) is not None:
            said = [(self._folder / name).read_text() for name in ("stdout", "stderr")]
            self._finished = Finished(status, *said)
        return self._finished

    def wait(self) -> Finished:
        """How it ended, once it did."""
        wait_until(lambda: self.poll() is not None, f"process {self.pid} does not end")
        assert self._finished is not None
        return self._finished

    def kill(self, *, everyone: bool, number: signal.Signals = signal.SIGKILL) -> Finished:
        """A signal to `everyone` or only to the process that was started; how it ended, perhaps before that."""
        with suppress(ProcessLookupError):  # it has ended, and so have all its children
            (os.killpg if everyone else os.kill)(self.pid, number)
        return self.wait()

    def survivors(self) -> list[int]:
        """Processes that it started, and that are still there."""
        return session(self.pid)


class Starter:
    """Starts commands from a process that has everything imported. A context manager; leaving it ends the process."""

    def __init__(self) -> None:
        ours, theirs = Pipe()
        code = "import sys; sys.path[0] = sys.argv[3]; import faults; faults.serve(int(sys.argv[1]), sys.argv[2])"
        self._folder = tempfile.mkdtemp(prefix="faults")  # a short name, since sockets will lie in it
        with interruptible():
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, str(theirs.fileno()), self._folder, str(Path(__file__).parent)],
                pass_fds=[theirs.fileno()],
                env={
                    **os.environ,
                    "OMP_WAIT_POLICY": "PASSIVE",
                },  # as the command line sets it before torch is imported
            )
        theirs.close()
        self._connection: Connection[Any, Any] = ours

    def start(self, words: Sequence[object], folder: Path) -> Running:
        """`egotools WORDS` in `folder`, where `stdout` and `stderr` will lie."""
        return self.call(command, [str(word) for word in words], folder=folder)

    def run(self, words: Sequence[object], folder: Path) -> Finished:
        """`egotools WORDS`, from its start to its end."""
        return self.start(words, folder).wait()

    def call(self, function: Callable[..., None], *arguments: Any, folder: Path) -> Running:
        """A function of this module in a process of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        self._connection.send((function.__name__, arguments, folder))
        return Running(self, self._connection.recv(), folder)

    def fill_disk(
        self, words: Sequence[object], folder: Path, room: int, *, there: Path | None = None, is_real: bool = True
    ) -> FullDisk:
        """`egotools WORDS` on a disk at `folder` with `room` bytes free beside its caches, and once more with plenty.

        `there` is copied to `folder/out` before.
        """
        report = folder.with_name(f"{folder.name}.said") / "report"
        folder.mkdir()
        arguments = list(map(str, words)), folder, room, there, report, is_real
        finished = self.call(fill_disk, *arguments, folder=report.parent).wait()
        assert finished.status == 0, finished.stderr
        said: FullDisk = pickle.loads(report.read_bytes())
        return said

    def status(self, pid: int) -> int | None:
        """The exit status of a process that was started, None while it runs."""
        self._connection.send(pid)
        status: int | None = self._connection.recv()
        return status

    def close(self) -> None:
        """Ends the process that starts others."""
        self._connection.close()
        self._process.wait()
        shutil.rmtree(self._folder)

    def __enter__(self) -> Starter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def serve(handle: int, folder: str) -> None:
    """The life of the process that has everything imported: forks what it is asked for, and says how it ended."""
    for name in IMPORTED:
        __import__(name)
    tempfile.tempdir = folder
    connection: Connection[Any, Any] = Connection(handle)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        if isinstance(request, int):
            pid, status = os.waitpid(request, os.WNOHANG)
            connection.send(os.waitstatus_to_exitcode(status) if pid else None)
        elif (pid := os.fork()) == 0:
            connection.close()
            name, arguments, folder = request
            _begin(folder)
            _end(globals()[name], arguments)
        else:
            connection.send(pid)


def _begin(folder: Path) -> None:
    """Makes a fork a command of its own: a session, a folder, files to write to."""
    os.setsid()
    os.chdir(folder)
    for handle, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, handle)
        os.close(file)


def _fork_interpreter(path: bytes, arguments: Sequence[str], handles: Sequence[int]) -> int:
    """`multiprocessing.util.spawnv_passfds` without a start: a fork that runs the code a new interpreter would."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        for handle in map(int, os.listdir("/proc/self/fd")):
            if handle > 2 and handle not in handles:
                with suppress(OSError):  # the listing's own
                    os.close(handle)
        code = arguments.index("-c") + 1
        sys.argv = ["-c", *arguments[code + 1 :]]  # Python 3.14 passes some
        exec(arguments[code], {})
        status = 0
    finally:
        os._exit(status)


def _end(function: Callable[..., None], arguments: Sequence[Any]) -> None:
    """Calls a function, then ends this process, without taking all modules apart: that would cost another second."""
    status = 1
    try:
        function(*arguments)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def command(words: Sequence[str]) -> None:
    """What the installed `egotools` does; ends by SystemExit."""
    from egotools.cli.main import main

    from egotools.extraction import writing
    from egotools.rebuild import swap

    util.spawnv_passfds = _fork_interpreter
    forkserver.ensure_running()  # now, while this process has no thread and no file that a fork would inherit
    writing.COMMIT_SECONDS = COMMIT_SECONDS
    swap.CLIPS_PER_COMMIT = 2
    for name in ("link", "replace", "unlink"):
        setattr(os, name, _with_a_pause(getattr(os, name)))
    sys.argv = ["egotools", *words]
    main()


def limited(most: int, words: Sequence[str]) -> None:
    """A command whose files may have at most so many bytes: a quota, `ulimit -f`."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    command(words)


def bound_by_permissions(words: Sequence[str]) -> None:
    """A command of somebody who may not write what permissions forbid; root may."""
    system = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of capset(2), this process
    sets = (ctypes.c_uint32 * 6)()
    assert system.capget(header, sets) == 0
    for at in (0, 1, 2):  # effective, permitted, inheritable: without CAP_DAC_OVERRIDE, _READ_SEARCH, CAP_FOWNER
        sets[at] &= ~0b1110
    assert system.capset(header, sets) == 0
    command(words)


def _with_a_pause(step: Callable[..., None]) -> Callable[..., None]:
    """A step that others see, and time to be killed before the next one."""

    def taken(*arguments: Any, **options: Any) -> None:
        step(*arguments, **options)
        time.sleep(PAUSE)

    return taken


@dataclass
class Killing:
    """Runs a command until it ends by itself; up to three times before that, it is killed at some moment.

    The moments lie between the start and the expected end; one in three comes after `is_late`, in the last steps. While
    it waits, `watch` is called.
    """

    starter: Starter
    rng: np.random.Generator
    seconds: float  # that the command takes; less from then on, where it turns out to be over earlier
    is_late: Callable[[], bool] = lambda: False
    watch: Callable[[], None] = lambda: None

    def runs(self, words: Sequence[object], folder: Path) -> Iterator[Finished]:
        for attempt in range(4):
            running = self.starter.start(words, folder)
            if attempt < 3:
                self._wait(running)
                finished = running.kill(everyone=bool(self.rng.random() < 0.5))
            else:
                finished = running.wait()
            nobody_survives(running)
            yield finished
            if finished.status != -signal.SIGKILL:
                self.seconds *= 0.8 if attempt < 3 else 1.0
                return

    def _wait(self, running: Running) -> None:
        end = time.monotonic() + self.rng.uniform(0, 0.95 * self.seconds)
        if self.rng.random() < 1 / 3:
            while not self.is_late() and time.monotonic() < end + self.seconds and running.poll() is None:
                self.watch()
                time.sleep(0.0005)
            end = time.monotonic() + self.rng.uniform(0, 0.1 * self.seconds)
        while time.monotonic() < end:
            self.watch()
            time.sleep(max(0, min(0.002, end - time.monotonic())))


def nobody_survives(running: Running) -> None:
    wait_until(lambda: not running.survivors(), f"processes {running.survivors()} outlive the one that was killed")


@dataclass(frozen=True)
class FullDisk:
    """What a command did on a disk that filled up, and the same command once there was space again."""

    is_real: bool  # a file system that was full; False: none could be mounted, files were limited instead
    status: tuple[int, int]
    stderr: tuple[str, str]
    held: tuple[dict[str, Any], dict[str, Any]]  # after each, by the name of a cache, what `whole.held` says of it
    files: tuple[list[str], list[str]]


def fill_disk(words: Sequence[str], disk: Path, room: int, there: Path | None, report: Path, is_real: bool) -> None:
    """Runs a command, on `disk` with `room` bytes free, then with plenty; writes the `FullDisk` to `report`."""
    from whole import held

    is_real = is_real and _mount(disk, DISK_BYTES)
    if there is not None:
        shutil.copytree(there, disk / "out")
    filler = disk / "filler"
    if is_real:
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - room)
    status, stderr, found, files = [], [], [], []
    for attempt in ("full", "again"):
        folder = report.parent / attempt
        folder.mkdir()
        if (pid := os.fork()) == 0:
            if not is_real and attempt == "full":
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            _begin(folder)
            _end(command, [words])
        status.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        stderr.append((folder / "stderr").read_text())
        caches = [path for path in disk.glob("out/*") if path.suffix in (".lmdb", ".h5")]
        caches += [path.with_suffix("") for path in disk.glob("out/*.h5.part")]
        found.append({cache.name: held(cache) for cache in caches})
        files.append(sorted(path.name for path in disk.rglob("*") if path.is_file() and path != filler))
        filler.unlink(missing_ok=True)
    said = FullDisk(is_real, (status[0], status[1]), (stderr[0], stderr[1]), (found[0], found[1]), (files[0], files[1]))
    report.write_bytes(pickle.dumps(said))


def _mount(disk: Path, size: int) -> bool:
    """Mounts an empty file system of `size` bytes that only this process and its children see, if it may."""
    system = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if system.unshare(NEW_USER | NEW_MOUNTS):
        return False
    try:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(text)
    except OSError:
        return False
    return bool(system.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", 0, f"size={size}".encode()) == 0)


@contextmanager
def interruptible() -> Iterator[None]:
    """Processes that are started here hear Ctrl-C, even if the tests run in the background, where SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def session(leader: int) -> list[int]:
    """The processes of a session that are alive."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone since it was listed
            state, _, _, number = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(number) == leader and state != "Z":
                found.append(int(folder.name))
    return found


def wait_until(is_so: Callable[[], bool], otherwise: str) -> None:
    """Looks again and again, every millisecond."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, otherwise
        time.sleep(0.001)
