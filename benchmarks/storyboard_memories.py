"""Memory Storyboard's memories, against the published algorithms; both sides choose the same frames.

    python benchmarks/storyboard_memories.py [--rounds 5] [--json FILE] [--quick]

- Reservoir: 45,000 frames, 64 more and a batch of 448 a step, after four million frames. The published one keeps a list
  of entries, sorts all of it by key, picks in a loop, and sorts again by frame.
- MinRed: 64 of 2,000 frames and as many new ones are to go, 2,048 features each, a batch of 512 a step. The specified
  loop computes all similarities and searches the whole matrix for each frame that goes.

One thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from measuring import Cost, Ratio, cost_of, in_turns, median_costs, median_ratio, report  # before torch

import torch  # isort: skip

from egotools.methods.storyboard.labels import by_length
from egotools.methods.storyboard.memories import Reservoir
from egotools.methods.storyboard.minred import MinRed

STEP, BATCH = 64, 448
PLAIN_STEPS, OUR_STEPS = 5, 200  # of the reservoir, in a round
LABELS = by_length(4500)


class PlainReservoir:
    """As published: a list of entries, whose keys are tensors."""

    def __init__(self, memory: Reservoir, random: Random, generator: torch.Generator, head: int) -> None:
        pairs = zip(memory.ids.tolist(), torch.from_numpy(memory.keys.copy()), strict=True)
        self.entries: list[dict[str, Any]] = [{"frame": frame, "key": key} for frame, key in pairs]
        self.size, self.random, self.generator, self.head = memory.size, random, generator, head

    def step(self) -> list[int]:
        """Takes frames, and draws a batch."""
        keys = torch.rand(STEP, generator=self.generator)
        union = [{"frame": self.head + i, "key": key} for i, key in enumerate(keys)] + self.entries
        order = torch.tensor([entry["key"] for entry in union]).sort(descending=True, stable=True).indices
        self.entries = [union[i] for i in order[: self.size]]
        self.head += STEP
        held = sorted(self.entries, key=lambda entry: entry["frame"])
        return [entry["frame"] for entry in self.random.sample(held, BATCH)]


def reservoir(size: int, passed: int, rounds: int) -> tuple[Ratio, dict[str, Any]]:
    """The ratio of both sides' costs a step, and the costs."""
    random, generator = Random(0), torch.Generator().manual_seed(0)
    frames = passed + 2 * (OUR_STEPS + PLAIN_STEPS) * STEP * (rounds + 1)
    memory = Reservoir(frames, STEP, size, BATCH, LABELS, random, generator, fill=size)
    keys = torch.rand(passed, generator=generator)  # what is held by then: the largest ones
    ids = keys.topk(size).indices.sort().values
    entries = {"ids": ids, "labels": LABELS(ids), "keys": keys[ids]}
    memory.load_state_dict({**memory.state_dict(), "head": passed, "done": passed // STEP, "entries": entries})
    copies = Random(), torch.Generator()
    copies[0].setstate(random.getstate())
    copies[1].set_state(generator.get_state())
    plain = PlainReservoir(memory, *copies, passed)

    def ours(steps: int) -> list[list[int]]:
        found = []
        for _ in range(steps):
            memory.advance()
            found.append(memory.draw().ids.tolist())
        return found

    if ours(PLAIN_STEPS) != [plain.step() for _ in range(PLAIN_STEPS)]:
        raise SystemExit("the reservoirs drew different batches")
    tasks: dict[str, Callable[[], Cost]] = {
        "published": lambda: cost_of(lambda: [plain.step() for _ in range(PLAIN_STEPS)]) / PLAIN_STEPS,
        "egotools": lambda: cost_of(partial(ours, OUR_STEPS)) / OUR_STEPS,
    }
    costs = in_turns(tasks, rounds)
    figures = median_costs(costs)
    note = f"{1000 * figures['published']['cpu']:.0f} / {1000 * figures['egotools']['cpu']:.2f} ms a step"
    return Ratio("(q) reservoir, published / ours", median_ratio(costs, "published", "egotools"), 500, note), figures


def specified(features: torch.Tensor, count: int) -> list[int]:
    """The rows of unit features [B, D] that go, one after the other."""
    similarity = ((features @ features.T + 1) / 2).fill_diagonal_(-10)
    gone: list[int] = []
    for _ in range(count):
        gone.append(int(similarity.max(dim=1).values.argmax()))
        similarity[gone[-1]] = similarity[:, gone[-1]] = -10
    return gone


def minred(size: int, width: int, batch: int, rounds: int) -> tuple[Ratio, dict[str, Any]]:
    """The ratio of both sides' costs of a reduction, and the costs."""
    generator = np.random.default_rng(0)
    scenes = generator.standard_normal((200, width), np.float32)
    memory = MinRed(10_000_000, STEP, size, batch, LABELS, Random(0), taken=STEP)

    def look() -> None:
        """What follows a step: a frame's features are those of its scene, and noise."""
        ids = memory.draw().ids
        noise = generator.standard_normal((batch, width), np.float32)
        memory.seen(ids, torch.from_numpy(scenes[ids // 50 % len(scenes)] + noise))

    for _ in range(2 * size // STEP):
        memory.advance()
        look()
    same = total = 0
    costs = []
    for _ in range(2 * rounds):
        before, state = memory.ids[memory.is_seen], memory.state_dict()
        features = state["neighbors"]["features"][state["entries"]["slots"].numpy()[memory.is_seen]]
        gone: list[int] = []
        costs.append(
            {
                "specified": cost_of(lambda features=features, gone=gone: gone.extend(specified(features, STEP))),
                "egotools": cost_of(memory.advance),
            }
        )
        left = np.setdiff1d(before, memory.ids)
        same, total = same + len(np.intersect1d(before[gone], left)), total + STEP
        look()
    if same < 0.99 * total:
        raise SystemExit(f"only {same} of {total} frames are forgotten by both")
    figures = median_costs(costs)
    specified_ms, our_ms = (1000 * figures[side]["cpu"] for side in ("specified", "egotools"))
    note = f"{specified_ms:.0f} / {our_ms:.0f} ms, {same} of {total} the same"
    return Ratio("(q) MinRed, specified / ours", median_ratio(costs, "specified", "egotools"), None, note), figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small memories: shows that it runs")
    options = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sizes = (2000, 6400, 1) if options.quick else (45000, 4_000_000, options.rounds)
        first, one = reservoir(*sizes)
        second, other = minred(*((300, 64, 100, 2) if options.quick else (2000, 2048, 512, options.rounds)))
    finally:
        torch.set_num_threads(threads)
    title = f"Memories of {sizes[0]} frames, of which all keys are compared, and of fewer, of which features are"
    report(title, [first, second], options.json, figures={"reservoir": one, "minred": other})


if __name__ == "__main__":
    main()
