"""How much memory there is, and how the C library treats what was freed."""

from __future__ import annotations

import ctypes
import platform
import re
from contextlib import suppress
from pathlib import Path


def keep_freed_memory() -> None:
    """Lets glibc keep large freed blocks, for all that this process does from now on.

    A forward pass, decoding and writing rows otherwise spend much of their time on page faults: a writer then takes
    2.5 times as many rows a second.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, mmap_max = -1, -4  # malloc.h
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_max, 0)


def available_memory() -> int | None:
    """Bytes that can still be taken without swapping, at most what a container may have; None where nobody says."""
    free = []
    with suppress(OSError, AttributeError, ValueError):
        free.append(int(re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) << 10)  # type: ignore[index]
    with suppress(OSError, ValueError):  # no limit is the word "max"
        free.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(free, default=None)
