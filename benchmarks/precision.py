"""bf16 against float32: speed, and how alike the rows are by plain and by centered cosine.

    python benchmarks/precision.py [--rounds 5] [--video FILE] [--json FILE] [--quick]

The peer is the network as torchvision gives it, or for hrnet and csn as it is written: float32, contiguous, batch-norm
not folded, on normalized batches of eight, in a process of its own with memory allocated as usual. Ours takes the bytes
and normalizes them too. hrnet sees frames of 256x256, csn 16 frames of 112x112.

Weights are random; batch-norm statistics are fitted to real frames first, since networks without them say nothing of
precision, and the residual blocks of csn add a fifth of what they compute: trained ones add little, and fifty that add
all of it amplify any rounding.

Processor seconds of the same batches, taken in turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measuring import Apart, Cost, Ratio, cost_of, in_turns, machine, median_costs, median_ratio, real_clip, report

BATCH = 8
TARGETS = {
    "AVX512-BF16": {"resnet50": 2.0, "r2plus1d_18": 3.0, "hrnet": 2.0, "csn": 2.1},
    "AMX": {"resnet50": 2.8, "r2plus1d_18": 4.0, "hrnet": 2.8, "csn": 2.9},
}
# Options that give many windows of a video, or a size that is quick enough.
OPTIONS: dict[str, dict[str, Any]] = {
    "r2plus1d_18": {"hop": 0.2},
    "hrnet": {},
    "csn": {"frames": 16, "resize": "112x112"},
}


def real_windows(extractor: Any, video: Path, count: int) -> Any:
    """`count` windows [N, L, H, W, 3], prepared, spread over a video; it is cut where a clip gives only one."""
    import numpy as np
    import torch

    from egotools.media.video import open_frames
    from egotools.sampling import evenly
    from egotools.types import Clip

    source = open_frames(video)
    windows = extractor.windows(source.info, Clip(id="clip", path=video)).frames
    if len(windows) == 1:
        cuts = evenly(source.info.times[0], source.info.end, count)
        windows = np.concatenate(
            [extractor.windows(source.info, Clip("part", video, start, end)).frames for start, end in cuts]
        )
    windows = windows[np.linspace(0, len(windows) - 1, count).astype(int)]
    needed = np.unique(windows)
    prepared = np.stack([extractor.prepare(frame) for frame in source.frames(needed)])
    source.close()
    return torch.from_numpy(prepared[np.searchsorted(needed, windows)])


def fit_statistics(network: Any, windows: Any) -> None:
    """Gives batch-norms the mean and variance of real frames."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # the plain average over batches
    network.train()
    with torch.no_grad():
        for batch in windows.split(BATCH):
            network(batch)
    network.eval()


def calm(network: Any) -> None:
    """Lets the last batch-norm of each block of a CSN scale by a fifth."""
    import torch

    for name, module in network.named_modules():
        if name.endswith(".conv3.1"):
            torch.nn.init.constant_(module.weight, 0.2)


def plain(name: str, shape: Sequence[int]) -> Callable[[], None]:
    """The network as torchvision gives it or as it is written, on a float32 batch of that shape."""
    import torch
    from torchvision import models

    from egotools.nn.csn import CSN
    from egotools.nn.hrnet import HRNet

    network = {"hrnet": HRNet, "csn": lambda: CSN("ip_csn_152")}.get(name, lambda: models.get_model(name))().eval()
    batch = torch.randn(*shape, generator=torch.Generator().manual_seed(0))

    def run() -> None:
        with torch.inference_mode():
            network(batch)

    return run


def measure(name: str, video: Path, rounds: int, *, resize: str | None) -> tuple[list[dict[str, Cost]], Any]:
    """Costs of a batch in three ways, round by round, and the agreement of bf16 rows with float32 ones."""
    import copy

    import numpy as np
    import torch

    from egotools.extraction.forward import runnable
    from egotools.extraction.request import Agreement
    from egotools.extractors.lookup import find_extractor
    from egotools.machine import keep_freed_memory

    found = find_extractor(name)
    options = {**OPTIONS.get(name, {"fps": 8.0}), **({"resize": resize} if resize else {})}
    extractor = found.built(weights="random:0", **options)
    windows = real_windows(extractor, video, 2 * BATCH)
    network = extractor.network()
    if name == "csn":
        calm(network)
    fit_statistics(network, windows)
    cpu = torch.device("cpu")
    keep_freed_memory()
    exact = runnable(copy.deepcopy(network), cpu, "float32")
    fast = runnable(network, cpu, "bf16")
    batch = windows[:BATCH]
    _, length, height, width, _ = batch.shape
    shape = (BATCH, 3, height, width) if length == 1 else (BATCH, 3, length, height, width)
    with Apart(plain, name, shape) as peer:
        tasks: dict[str, Callable[[], Cost]] = {
            "plain": lambda: cost_of(peer),
            "float32": lambda: cost_of(lambda: exact(batch)),
            "bf16": lambda: cost_of(lambda: fast(batch)),
        }
        in_turns(tasks, 1)  # kernels are chosen in the first round
        measured = in_turns(tasks, rounds)
    rows = [np.concatenate([run(part).numpy() for part in windows.split(BATCH)]) for run in (exact, fast)]
    return measured, Agreement.between(*rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="a small network, two rounds: shows that it runs")
    parser.add_argument("--only", help="one of the networks")
    options = parser.parse_args(arguments)
    kind = machine()["bf16"]
    if kind == "none":
        raise SystemExit("this processor computes no bf16; nothing to compare")
    video = options.video or real_clip("videos/women_long_jump.mp4")
    names = ("resnet18",) if options.quick else tuple(TARGETS[kind])
    ratios, figures = [], {}
    for name in names:
        if options.only not in (None, name):
            continue
        rounds, agreement = measure(
            name, video, 2 if options.quick else options.rounds, resize="64x64" if options.quick else None
        )
        target = None if options.quick else TARGETS[kind][name]
        likeness = f"cosine {agreement.plain:.5f}, centered {agreement.centered:.4f} over {agreement.rows} windows"
        ratios += [
            Ratio(f"(c) {name}, bf16 against plain float32", median_ratio(rounds, "plain", "bf16"), target, likeness),
            Ratio(f"(c) {name}, bf16 against our float32", median_ratio(rounds, "float32", "bf16")),
            Ratio(f"(c) {name}, our float32 against plain float32", median_ratio(rounds, "plain", "float32")),
        ]
        figures[name] = {"seconds a batch": median_costs(rounds), "agreement": vars(agreement)}
    report(f"bf16 on {video.name}, batches of {BATCH}", ratios, options.json, figures=figures)


if __name__ == "__main__":
    main()
