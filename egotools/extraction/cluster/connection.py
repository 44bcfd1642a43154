"""Connects to a Ray cluster, or reports in one line why not; and computes how many workers it can host."""

import logging
import os
import signal
import socket
import threading
from types import ModuleType
from typing import Any

from egotools.errors import ClusterError, MissingExtra
from egotools.machine import usable_cores

REACH_SECONDS = 5.0
LOCAL_BYTES = 512 << 20  # of a local Ray's shared memory: it holds two batches of rows per worker


def import_ray() -> ModuleType:
    """Imports Ray, an optional dependency.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "ray") from None
    return ray


def connect(address: str | None, cpus: int) -> bool:
    """Joins the cluster at an address, or starts Ray on this machine declaring at least `cpus` CPUs.

    An existing connection of this process is reused.

    Returns:
        Whether the caller should disconnect.

    Raises:
        ClusterError: the cluster cannot be reached, or Ray cannot start.
    """
    ray = import_ray()
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # otherwise it asks on the terminal, and reports
    # Output of the workers and of Ray itself would appear on stdout, where a program may read our result.
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    options: dict[str, Any] = {"address": address or "local", **quiet}
    if address is None:
        options |= {"num_cpus": max(cpus, usable_cores()), "include_dashboard": False}
        options |= {"object_store_memory": LOCAL_BYTES}
    else:
        _check_reachable(address)
    try:
        _init(ray, options)
    except (OSError, RuntimeError, ValueError, SystemExit) as error:  # SystemExit: raised by Ray after its last attempt
        what = f"the Ray cluster at {address} cannot be reached" if address else "Ray cannot start on this machine"
        raise ClusterError(f"{what}: {_first_line(error)}") from error
    return True


def _init(ray: ModuleType, options: dict[str, Any]) -> None:
    """Starts Ray, and restores our handler of SIGTERM, which ends like Ctrl-C, after Ray replaces it."""
    if threading.current_thread() is not threading.main_thread():
        ray.init(**options)
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_reachable(address: str) -> None:
    """Checks within seconds what Ray would try for two minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise ClusterError(
            f"--address {address}: give HOST:PORT of the cluster's head (or auto), and run on one of its machines"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"the Ray cluster at {address} cannot be reached ({_first_line(error)}); is it running, and is the address "
            "the one that 'ray start --head' printed?"
        ) from error


def hosted(cpus: int, gpus: float, where: str) -> int:
    """How many workers of this size the nodes of the cluster can host at once.

    Raises:
        ClusterError: not even one fits.
    """
    nodes = [node["Resources"] for node in import_ray().nodes() if node["Alive"]]
    sizes = [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes]
    count = sum(int(min(has_cpus / cpus, has_gpus / gpus + 1e-9 if gpus else has_cpus)) for has_cpus, has_gpus in sizes)
    if not count:
        there = " or ".join(f"{has_cpus:g} CPUs and {has_gpus:g} GPUs" for has_cpus, has_gpus in sorted(set(sizes)))
        raise ClusterError(f"a worker of {cpus} CPUs and {gpus:g} GPUs does not fit on {where}, which has {there}")
    return count


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
