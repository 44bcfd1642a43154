"""A run of MemDPC as a checkpoint in the published layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from egotools.errors import RunError
from egotools.methods.exports import learned_tensors
from egotools.nn.memdpc import MemDPC, MemDPCClassifier
from egotools.training.runs import Run
from egotools.weights.memdpc import network_of, published_content, published_of
from egotools.weights.torch_files import write_torch

TENSORS = "memdpc.safetensors"  # of a run: the whole network, by the published names, each once


def export_run(run: Path, out: Path) -> dict[str, Any]:
    """Writes a run's network as the reference's `*.pth.tar`, whose own programs take it.

    The optimizer's state is not exported. `epoch`, `iteration` and `best_acc` are those of the run's report, if it has
    them (`epochs` and `steps` done, `best_top1`).

    Returns:
        What was written: `net`, the kind of network, and these figures. Any: JSON values.

    Raises:
        RunError: there is no such run, or it has no network of MemDPC.
        WeightsError: its tensors cannot be used.
        OutputError: the file cannot be written.
    """
    there = Run.open(run)
    tensors = learned_tensors(there, TENSORS, "'egotools train memdpc' or its classifier")
    report: dict[str, Any] = there.report() if there.is_done else {}
    published = published_of(tensors, {}, run / TENSORS)
    network = network_of(published)
    if not isinstance(network, MemDPC | MemDPCClassifier):
        raise RunError(f"{run / TENSORS} has neither a memory nor a classifier; the reference's checkpoints have one")
    content = published_content(
        network,
        net=published.depth,
        epoch=max(0, int(report.get("epochs") or 0) - 1),
        iteration=int(report.get("steps") or 0) + 1,
        best_acc=float(report.get("best_top1") or 0),
    )
    write_torch(out, content)
    kind = "pre-training" if isinstance(network, MemDPC) else "classifier"
    figures = {name: content[name] for name in ("epoch", "iteration", "best_acc")}
    return {"path": str(out), "net": published.depth, "kind": kind, **figures}


def in_words(done: Mapping[str, Any]) -> str:
    """What was written, for the screen."""
    return f"MemDPC {done['net']} ({done['kind']})"
