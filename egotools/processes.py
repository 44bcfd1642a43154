"""What a process must know of how it came to be."""

from __future__ import annotations

import sys
from pathlib import Path

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
