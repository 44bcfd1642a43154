"""A training step and a frozen forward pass of MemDPC against the network run the reference's way.

    python benchmarks/memdpc_step.py [--rounds 5] [--size 128] [--clips 2] [--json FILE] [--quick]

The peer is MemDPC as the reference writes it: 3D convolutions of contiguous clips, gates of concatenated maps, one
direction after the other. Both have the same weights and batches, Adam (the peer PyTorch's default, ours the one that
`fit` is given), one thread; a step has no loading. Minimum of
processor seconds over alternating rounds. In bf16 ours trains under autocast, after the check of its gradients.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measuring import Cost, Ratio, cost_of, in_turns, machine, report

STEP = 1.05
BF16_STEP = {"AVX512-BF16": 1.6, "AMX": 2.0}
BF16_FORWARD = 2.0
BLOCKS, PREDICTED, SLOTS, LENGTH = 8, 3, 1024, 5
SMALL_SIZE = 32


def plain_network() -> Any:
    """MemDPC of resnet18, as the reference runs it; parameters have the names of ours. Any: torch is imported late."""
    from plain_memdpc import PlainMemDPC

    return PlainMemDPC(PREDICTED, SLOTS)


def tasks(size: int, clips: int, *, with_bf16: bool) -> dict[str, Callable[[], Cost]]:
    """What is measured, by name."""
    import torch

    from egotools.extraction.forward import fold_batch_norms
    from egotools.methods.memdpc.network import Pretraining
    from egotools.nn.memdpc import block_maps
    from egotools.nn.mixed_precision import LIMIT, weight_gradient_errors
    from egotools.training.optimizers import optimizer_of

    torch.set_num_threads(1)
    torch.manual_seed(0)
    batch = torch.randn(clips, BLOCKS, 3, LENGTH, size, size)
    plain, ours = plain_network(), Pretraining("resnet18", predicted=PREDICTED, slots=SLOTS)
    ours.load_state_dict(plain.state_dict())

    def step_of(model: Any, optimizer: Any, *, low: bool = False) -> Callable[[], Cost]:
        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                found = model(batch)
            (found["loss"] if isinstance(found, dict) else found).backward()
            optimizer.step()

        return lambda: cost_of(step)

    def frozen(backbone: Any, *, low: bool = False) -> Callable[[], Cost]:
        def forward() -> None:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
                block_maps(backbone, batch)

        return lambda: cost_of(forward)

    default = torch.optim.Adam(plain.parameters(), lr=1e-3, weight_decay=1e-5)
    own = optimizer_of(ours, "adam", lr=1e-3, weight_decay=1e-5)
    still, folded = plain_network().backbone.eval(), Pretraining("resnet18").backbone.eval()
    fold_batch_norms(folded.requires_grad_(False))
    found = {
        "plain": step_of(plain, default),
        "ours": step_of(ours, own),
        "plain frozen": frozen(still),
        "frozen": frozen(folded),
    }
    if with_bf16:
        worst = max(weight_gradient_errors(ours, batch).values())
        print(f"worst gradient in bf16: off by {worst:.4f} of the largest entry (limit {LIMIT})")
        found |= {"ours bf16": step_of(ours, own, low=True), "frozen bf16": frozen(folded, low=True)}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small frames, two rounds: shows that it runs")
    options = parser.parse_args(arguments)
    kind = machine()["bf16"]
    size = SMALL_SIZE if options.quick else options.size
    work = tasks(size, options.clips, with_bf16=kind != "none")
    in_turns(work, 1)  # kernels are chosen in the first round
    rounds = in_turns(work, 2 if options.quick else options.rounds)
    least = {name: min(costs[name].cpu for costs in rounds) for name in work}

    def ratio(name: str, above: str, below: str, target: float | None) -> Ratio:
        note = f"{least[above]:.2f} s against {least[below]:.2f} s"
        return Ratio(name, least[above] / least[below], None if options.quick else target, note)

    ratios = [
        ratio("a step in float32", "plain", "ours", STEP),
        ratio("a frozen forward pass in float32", "plain frozen", "frozen", None),
    ]
    if kind != "none":
        ratios += [
            ratio("a step in bf16", "plain", "ours bf16", BF16_STEP[kind]),
            ratio("a frozen forward pass in bf16", "plain frozen", "frozen bf16", BF16_FORWARD),
        ]
    report(f"MemDPC, {options.clips} clips at {size} px", ratios, options.json, figures={"least seconds": least})


if __name__ == "__main__":
    main()
