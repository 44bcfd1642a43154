"""What this machine offers (memory, cores, devices, fast bf16), and settings of this process that save time."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from egotools.errors import EgotoolsError

if TYPE_CHECKING:  # commands that do not need torch ask for cores and memory, too
    import torch


MOST_READING = 16  # processes that read a training's examples


def keep_freed_memory() -> None:
    """Makes glibc keep large freed blocks, for the rest of this process.

    Otherwise a forward pass, decoding and writing rows spend much of their time on page faults: keeping them makes a
    writer 2.5 times as fast.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, mmap_max = -1, -4  # malloc.h
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_max, 0)


@contextmanager
def uncollected() -> Iterator[None]:
    """Pauses Python's garbage collector, for the whole process, while very many objects are made that all stay.

    Otherwise it looks at all objects again each time that their number has grown by a quarter: with torch loaded, this
    is half of the time that a manifest of 200,000 clips takes. Also a decorator.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping, within the container's limit; None if unknown."""
    free = []
    with suppress(OSError, TypeError, ValueError):
        free.append(int(re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) << 10)  # type: ignore[index]
    with suppress(OSError, ValueError):  # no limit is the word "max"
        free.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(free, default=None)


def usable_cores() -> int:
    """Processor cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reading_processes(computing: int = 1) -> int:
    """How many processes read for each of so many that compute on this machine: the cores that these leave."""
    return max(min(usable_cores() // computing - 1, MOST_READING), 0)


def choose_device(name: str) -> torch.device:
    """`"auto"` is the first CUDA device if there is one, else the CPU.

    Raises:
        EgotoolsError: this machine does not have the device.
    """
    import torch

    from egotools.processes import compute_alone_if_forked  # here, for `egotools --help` needs no processes

    compute_alone_if_forked()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EgotoolsError(f"--device {name}: not available on this machine ({str(error).splitlines()[0]})") from error
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware supports bf16: AVX512-BF16 or AMX on CPUs, compute capability 8 on GPUs."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if capabilities:
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # torch 2.6 has no public function for this
