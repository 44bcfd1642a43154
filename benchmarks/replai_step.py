"""What RepLAI's training and its downstream tasks compute: a step, backbone passes, and a second probe off a cache.

    python benchmarks/replai_step.py [--rounds 5] [--size 112] [--moments 4] [--actions 2000] [--only PART]
        [--json FILE] [--quick]

**step**: one of pre-training, without loading: contiguous frames in float32, as the published code has them, against
ours, which come out of the loader with channels last; and in bf16 where the processor computes that, after the check of
its gradients.

**passes**: how often the backbone sees a clip. The published probe of EPIC-KITCHENS-100 shows it each action in each of
30 epochs, and tests six times; off a cache it is shown ten clips of each action once. The published long-term
anticipation shows it four clips of each window in each of 50 epochs; off a cache it is shown five clips of each action.
Windows are those that egotools finds in a made listing, with so many actions in each of its clips.

**probe**: `egotools train probe` off a cache with ten rows an action, from start to end, against 30 epochs of frozen
passes: those of a batch are timed, without loading, and the rest is extrapolated.

One thread. Processor seconds, the least of alternating rounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from measuring import Cost, Ratio, cost_of, in_turns, machine, report

BF16_STEP = 2.0
EPIC_PASSES, LTA_PASSES, PROBE = 2.5, 25.0, 100.0
EPIC = {"train": 67_217, "validation": 9_668}  # actions
EPIC_EPOCHS, EPIC_TESTS, EPIC_CLIPS = 30, 6, 10
LTA_EPOCHS, LTA_CROPS = 50, 5
ACTIONS = (40, 62, 80, 120)  # of a clip of five minutes
TARGETED = 80
CLASSES = {"verb_class": 97, "noun_class": 300}
WIDTH = 512


def step_ratios(size: int, moments: int, rounds: int, target: float | None) -> list[Ratio]:
    """A step of ours against contiguous float32."""
    import torch

    from egotools.methods.replai.examples import MomentBatch
    from egotools.methods.replai.network import Pretraining
    from egotools.nn.mixed_precision import LIMIT, weight_gradient_errors

    frames = [torch.randn(moments, 3, 8, size, size) for _ in range(2)]
    ours = [each.contiguous(memory_format=torch.channels_last_3d) for each in frames]
    sound, clips = torch.randn(moments, 1, 125, 80), torch.arange(moments)
    batches = {"plain": MomentBatch(*frames, sound, clips), "ours": MomentBatch(*ours, sound, clips)}
    model = Pretraining(10 if size < 112 else 18)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)

    def step_of(batch: MomentBatch, *, low: bool = False) -> Callable[[], Cost]:
        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                found = model(batch)
            found["loss"].backward()
            optimizer.step()

        return lambda: cost_of(step)

    work = {name: step_of(batch) for name, batch in batches.items()}
    has_bf16 = machine()["bf16"] != "none"
    if has_bf16:
        worst = max(weight_gradient_errors(model, batches["ours"]).values())
        print(f"worst gradient in bf16: off by {worst:.4f} of the largest entry (limit {LIMIT})")
        work["bf16"] = step_of(batches["ours"], low=True)
    else:
        print("no bf16 here: this processor would only emulate it; float32 is measured")
    least = least_of(work, rounds)
    named = {"ours": "float32, channels last", "bf16": "bf16, channels last"}
    return [
        Ratio(
            f"(v) a step, contiguous float32 / {named[name]}",
            least["plain"] / least[name],
            target if name == "bf16" else None,
            f"{least['plain']:.2f} s against {least[name]:.2f} s",
        )
        for name in work
        if name != "plain"
    ]


def least_of(work: dict[str, Callable[[], Cost]], rounds: int) -> dict[str, float]:
    """Processor seconds of each, the least of some rounds; kernels are chosen in one before."""
    in_turns(work, 1)
    found = in_turns(work, rounds)
    return {name: min(costs[name].cpu for costs in found) for name in work}


def pass_ratios() -> list[Ratio]:
    """Passes of the backbone, published by ours."""
    published = EPIC_EPOCHS * EPIC["train"] + EPIC_TESTS * EPIC["validation"]
    ours = EPIC_CLIPS * sum(EPIC.values())
    found = [Ratio(f"(v) EPIC probe, {EPIC_CLIPS} clips", published / ours, EPIC_PASSES, f"{published} / {ours}")]
    for actions in ACTIONS:
        windows, inputs = windows_of_clip(actions)
        published, ours = LTA_EPOCHS * inputs * windows, LTA_CROPS * actions
        target = LTA_PASSES if actions == TARGETED else None
        note = f"{windows} windows: {published} / {ours}"
        found.append(Ratio(f"(v) anticipation, {actions} actions a clip", published / ours, target, note))
    return found


def windows_of_clip(actions: int) -> tuple[int, int]:
    """How many windows egotools finds in a clip with so many actions, and how many actions each observes."""
    from egotools.methods.anticipation.options import Anticipation
    from egotools.methods.anticipation.windows import Actions, windows_of
    from egotools.types import Clip

    numbers = np.arange(actions)
    clips = [Clip(f"a/{number}", Path()) for number in numbers]
    labels, rows = np.zeros((actions, 2), np.int64), np.zeros((actions, 1), np.float32)
    made = Actions(clips, ("a",) * actions, numbers, labels, rows, numbers, np.ones(actions, np.int64))
    found = windows_of(made, Anticipation())
    return len(found), found.inputs.shape[1]


def command(line: Sequence[str]) -> None:
    """Runs a command in a process of its own."""
    subprocess.run([sys.executable, "-m", "egotools", *line], check=True, stdout=subprocess.DEVNULL)


def in_this_process(line: Sequence[str]) -> None:
    """As `command`, without a process."""
    from click.testing import CliRunner
    from egotools.cli.main import root

    CliRunner().invoke(root, line, catch_exceptions=False)


def probe_ratio(
    folder: Path, run: Callable[[Sequence[str]], None], actions: int, size: int, rounds: int, target: float | None
) -> Ratio:
    """30 epochs through the frozen backbone by a probe off a cache."""
    import torch

    from egotools.nn.r2plus1d import R2Plus1D

    cache, manifest = written(folder, actions)
    line = ["train", "probe", "--features", cache, "--manifest", manifest, "--rows", "random", "--quiet"]
    line += [word for name in CLASSES for word in ("--label", name)]

    def probe() -> None:
        run([*map(str, line), "--out", str(Path(tempfile.mkdtemp(dir=folder)) / "p")])

    backbone, batch = R2Plus1D(18).eval(), torch.randn(8, 3, 8, size, size)
    batch = batch.contiguous(memory_format=torch.channels_last_3d)

    def frozen() -> None:
        with torch.inference_mode():
            backbone(batch)

    a_pass = least_of({"frozen": lambda: cost_of(frozen)}, rounds)["frozen"] / len(batch)
    ours = min(cost_of(probe).cpu for _ in range(min(rounds, 2)))
    whole = EPIC_EPOCHS * actions * a_pass
    note = f"{whole:.0f} s, extrapolated from {1000 * a_pass:.0f} ms a pass, against {ours:.1f} s"
    return Ratio(f"(v) {EPIC_EPOCHS} frozen epochs / probe off a cache, {actions} actions", whole / ours, target, note)


def written(folder: Path, actions: int) -> tuple[Path, Path]:
    """A cache with ten rows an action, of noise, and a manifest with classes; a tenth is tested."""
    from egotools.stores import Recipe, Source, open_writer
    from egotools.types import Rows

    random = np.random.default_rng(0)
    lines = [",".join(["id", "split", *CLASSES])]
    times = np.stack([np.arange(EPIC_CLIPS), np.arange(EPIC_CLIPS) + 0.5], axis=1)
    with open_writer(folder / "c.lmdb", Recipe({"imported": {"content": "x"}})) as writer:
        for number in range(actions):
            writer.append(f"{number}", Rows(random.standard_normal((EPIC_CLIPS, WIDTH), np.float32), times))
            writer.finish(f"{number}", Source(""))
            classes = [str(random.integers(count)) for count in CLASSES.values()]
            lines.append(",".join([f"{number}", "test" if number % 10 == 0 else "train", *classes]))
        writer.commit()
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    return folder / "c.lmdb", folder / "m.csv"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--moments", type=int, default=4)
    parser.add_argument("--actions", type=int, default=2000)
    parser.add_argument("--only", choices=["step", "passes", "probe"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small frames, few actions: shows that it runs")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.size, options.moments, options.actions = 1, 32, 2, 40
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    step_target, probe_target = (None, None) if options.quick else (BF16_STEP, PROBE)
    run = in_this_process if options.quick else command
    ratios = []
    if options.only in (None, "step"):
        ratios += step_ratios(options.size, options.moments, options.rounds, step_target)
    if options.only in (None, "passes"):
        ratios += pass_ratios()
    if options.only in (None, "probe"):
        with tempfile.TemporaryDirectory() as folder:
            given = (run, options.actions, options.size, options.rounds, probe_target)
            ratios.append(probe_ratio(Path(folder), *given))
    report(f"RepLAI, {options.moments} moments at {options.size} px", ratios, options.json)


if __name__ == "__main__":
    main()
