"""Extraction against its own limit, and three extractors in one pass against three passes.

    python benchmarks/extraction.py [--rounds 3] [--video FILE] [--json FILE] [--quick]
    python benchmarks/extraction.py --device cuda        # instead: rows a second with a GPU, see throughput.py

The limit on a CPU, where stages share the cores, is 1 / (the processor seconds of decoding, preparing and the forward
pass, a row, each measured alone in this process). The pipeline's cost a row is the slope between a short and a long
run into new caches, with its reading workers: what it costs to start cancels out.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import Cost, Ratio, cost_of, in_turns, median_costs, median_ratio, real_clip, report

if TYPE_CHECKING:
    from egotools.extraction.request import Precision, Runtime

BATCH = 8
STAGES = ("decode", "prepare", "forward")


@dataclass(frozen=True)
class Case:
    """An extractor with its options, the seconds of a clip, clips of the short and the long run, and the target."""

    name: str
    options: dict[str, Any]
    seconds: float
    short: int
    long: int
    target: float


# Row counts of both runs are multiples of the batch.
CASES = (
    Case("resnet50", {"fps": 4.0}, 2.0, 1, 9, 0.9),
    Case("r2plus1d_18", {}, 2.2, 4, 12, 0.9),
    Case("efficientnet-lite0", {"fps": 8.0}, 2.0, 1, 33, 0.8),
)
QUICK = (Case("resnet18", {"fps": 8.0, "resize": "64x64"}, 1.0, 1, 5, 0.0),)
THREE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("efficientnet-lite0", {"weights": "random:0", "fps": 2.0}),
    ("resnet18", {"weights": "random:0", "fps": 2.0}),
    ("color", {"fps": 2.0}),
)
QUICK_THREE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("resnet18", {"weights": "random:0", "fps": 2.0, "resize": "64x64"}),
    ("color", {"fps": 2.0}),
    ("color", {"fps": 2.0, "bins": 16}),
)


class Pipeline:
    """Extractions of the same clips into ever new caches."""

    def __init__(
        self,
        folder: Path,
        extractors: Sequence[tuple[str, dict[str, Any]]],
        precision: Precision,
        runtime: Runtime = "torch",
    ) -> None:
        from egotools.extractors.lookup import find_extractor

        self.folder, self.precision, self.runtime = folder, precision, runtime
        self._numbers = itertools.count()
        self.found = [find_extractor(name) for name, _ in extractors]
        self.built = [
            found.kind(**found.fixed, **options) for found, (_, options) in zip(self.found, extractors, strict=True)
        ]

    def run(self, clips: Sequence[Any]) -> int:
        """One pass into new caches; gives the rows."""
        from egotools.extraction.engine import extract
        from egotools.extraction.request import CacheRequest, Resources

        out = Path(tempfile.mkdtemp(dir=self.folder))
        network = self.folder / "network.int8.npz" if self.precision == "int8" else None  # quantized once, for all runs
        wanted = [
            CacheRequest(out / f"{number}.lmdb", built, found, self.precision, runtime=self.runtime, quantized=network)
            for number, (built, found) in enumerate(zip(self.built, self.found, strict=True))
        ]
        resources = Resources(device="cpu", batch_size=BATCH)
        result = extract(clips, wanted, resources=resources)
        assert not any(result.failed.values()), result.failed
        shutil.rmtree(out)
        return result.rows


def clips_of(files: Sequence[Path], seconds: float, count: int) -> list[Any]:
    """`count` clips of that length, spread over the files from their beginnings on."""
    from egotools.media.video import open_frames
    from egotools.types import Clip

    clips: list[Clip] = []
    for file in files:
        video = open_frames(file)
        start = 0.0
        while start + seconds <= video.info.end and len(clips) < count:
            clips.append(Clip(id=f"{file.stem}/{start}", path=file, start=start, end=start + seconds))
            start += seconds
        video.close()
    if len(clips) < count:
        raise SystemExit(f"{count} clips of {seconds} s are more than the video gives; choose a longer --video")
    return clips


def copies(video: Path, folder: Path, count: int) -> list[Path]:
    """The video under several names, as the files of a data set."""
    found = [folder / f"{number:03d}{video.suffix}" for number in range(count)]
    for path in found:
        shutil.copyfile(video, path)
    return found


def decode(extractor: Any, clips: Sequence[Any]) -> int:
    """Reads the frames of all windows and drops them; gives the rows."""
    from egotools.media.video import open_frames

    rows, path, video = 0, None, None
    for clip in clips:
        if clip.path != path:
            path, video = clip.path, open_frames(clip.path)
        windows = extractor.windows(video.info, clip)  # type: ignore[union-attr]
        rows += len(windows.frames)
        for _ in video.frames(sorted(set(windows.frames.ravel().tolist()))):  # type: ignore[union-attr]
            pass
    return rows


def stages(pipeline: Pipeline, clips: Sequence[Any], batches: int) -> dict[str, Callable[[], Cost]]:
    """Each stage by itself, as its cost a row. Decoding and preparing run on one thread, as in a worker."""
    import numpy as np
    import torch

    from egotools.extraction.forward import runnable
    from egotools.media.video import open_frames

    extractor = pipeline.built[0]
    video = open_frames(clips[0].path)
    windows = extractor.windows(video.info, clips[0]).frames
    frames = list(video.frames(np.unique(windows)))
    run = runnable(extractor.network(), torch.device("cpu"), pipeline.precision)
    prepared = [extractor.prepare(frame) for frame in frames]
    units = np.stack([np.stack([prepared[at] for at in row]) for row in np.searchsorted(np.unique(windows), windows)])
    batch = torch.from_numpy(np.concatenate([units] * -(-BATCH // len(units)))[:BATCH])
    for _ in range(2):
        run(batch)
    threads = torch.get_num_threads()

    def preparing() -> None:
        torch.set_num_threads(1)
        for frame in frames:
            extractor.prepare(frame)
        torch.set_num_threads(threads)

    def forward() -> None:
        for _ in range(batches):
            run(batch).numpy()

    rows = decode(extractor, clips)
    return {
        "decode": lambda: cost_of(lambda: decode(extractor, clips)) / rows,
        "prepare": lambda: cost_of(preparing) / len(windows),
        "forward": lambda: cost_of(forward) / (BATCH * batches),
    }


def against_limit(
    case: Case, precision: Precision, folder: Path, files: Sequence[Path], rounds: int
) -> list[dict[str, Cost]]:
    """Costs a row of every stage alone and of the pipeline, a round each."""
    pipeline = Pipeline(folder, [(case.name, {"weights": "random:0", **case.options})], precision)
    # Before a run in bf16, windows of up to eight clips are judged in both precisions: both runs have so many.
    more = 8 if precision == "bf16" else 0
    clips = clips_of(files, case.seconds, case.long + more)
    short_clips = clips[: case.short + more]
    rows = [pipeline.run(short_clips), decode(pipeline.built[0], clips)]  # also warms everything up

    def slope() -> Cost:
        short = cost_of(lambda: pipeline.run(short_clips))
        return (cost_of(lambda: pipeline.run(clips)) - short) / (rows[1] - rows[0])

    batches = max(2, (rows[1] - rows[0]) // (2 * BATCH))
    return in_turns({**stages(pipeline, clips, batches), "pipeline": slope}, rounds)


def large(video: Path, folder: Path, size: tuple[int, int], seconds: float) -> Path:
    """The beginning of a video at a larger size, where decoding matters."""
    import av

    path = folder / "large.mp4"
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        rate = source.streams.video[0].average_rate
        stream = target.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            if number >= seconds * float(rate or 25):
                break
            resized = frame.reformat(width=size[0], height=size[1], format="yuv420p")
            resized.pts = None
            target.mux(stream.encode(resized))
        target.mux(stream.encode())
    return path


def one_pass(
    three: Sequence[tuple[str, dict[str, Any]]], video: Path, folder: Path, rounds: int
) -> list[dict[str, Cost]]:
    """Costs of one pass of three extractors, and of a pass for each."""
    from egotools.types import Clip

    clips = [Clip(id=str(path), path=path) for path in copies(video, folder, 2)]
    together = Pipeline(folder, three, "float32")
    alone = [Pipeline(folder, [each], "float32") for each in three]
    together.run(clips)
    return in_turns(
        {
            "one pass": lambda: cost_of(lambda: together.run(clips)),
            "three passes": lambda: cost_of(lambda: [each.run(clips) for each in alone]),
        },
        rounds,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--video", type=Path, help="a real clip of at least ten seconds")
    parser.add_argument("--only", help="one of the networks, or passes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="a small network, one round: shows that it runs")
    parser.add_argument("--device", default="cpu", help="cuda: rows a second, how busy the GPU is, and what limits")
    options = parser.parse_args(arguments)
    import torch
    from throughput import throughput

    from egotools.machine import has_fast_bf16

    video = options.video or real_clip("videos/v_ZNVhz7ctTq0.mp4")
    if options.device != "cpu":
        ratios, figures = throughput(options.device, video, is_quick=options.quick)
        report(f"Extraction of {video.name} on {figures['device']}", ratios, options.json, figures=figures)
        return
    precisions: list[Precision] = (
        ["float32", "bf16"] if has_fast_bf16(torch.device("cpu")) and not options.quick else ["float32"]
    )
    rounds = 1 if options.quick else options.rounds
    ratios, figures = list[Ratio](), dict[str, Any]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = copies(video, folder, 8)
        for case, precision in itertools.product(QUICK if options.quick else CASES, precisions):
            if options.only not in (None, case.name):
                continue
            measured = against_limit(case, precision, folder, files, rounds)
            ratios += _limit_ratios(case, precision, measured)
            figures[f"{case.name} {precision}"] = median_costs(measured)
        if options.only in (None, "passes"):
            three = QUICK_THREE if options.quick else THREE
            source = large(video, folder, (320, 180) if options.quick else (1920, 1080), 1.0 if options.quick else 6.0)
            measured = one_pass(three, source, folder, rounds)
            ratios += _pass_ratios(three, measured)
            figures["passes"] = median_costs(measured)
    report(f"Extraction of {video.name}", ratios, options.json, figures=figures)


def _limit_ratios(case: Case, precision: str, rounds: list[dict[str, Cost]]) -> list[Ratio]:
    import torch

    alone = [sum((costs[stage].cpu for stage in STAGES), 0.0) for costs in rounds]
    with_limit = [
        {**costs, "limit": Cost(cpu, cpu / torch.get_num_threads())} for costs, cpu in zip(rounds, alone, strict=True)
    ]
    costs = median_costs(rounds)
    note = ", ".join(f"{stage} {1000 * cost['cpu']:.1f}" for stage, cost in costs.items())
    target = case.target if precision == "float32" else None
    name = f"(a) {case.name} {precision}"
    return [
        Ratio(f"{name}, of its limit", median_ratio(with_limit, "limit", "pipeline"), target, f"CPU ms a row: {note}"),
        Ratio(
            f"{name}, by the clock", median_ratio(with_limit, "limit", "pipeline", "wall"), None, "if nothing else runs"
        ),
    ]


def _pass_ratios(three: Sequence[tuple[str, dict[str, Any]]], rounds: list[dict[str, Cost]]) -> list[Ratio]:
    names = ", ".join(name for name, _ in three)
    return [
        Ratio(
            "(b) three passes / one pass, CPU seconds", median_ratio(rounds, "three passes", "one pass"), None, names
        ),
        Ratio("(b) three passes / one pass, wall", median_ratio(rounds, "three passes", "one pass", "wall")),
    ]


if __name__ == "__main__":
    main()
