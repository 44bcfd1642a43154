"""Clips for training from video against the habit: PyAV as torchvision reads, Pillow transforms, the same workers.

    python benchmarks/loader.py [--clips 12] [--rounds 3] [--workers 1] [--side 128] [--video FILE] [--json FILE]
        [--quick]

Both sides read the same spans of the same files (40 frames, every third), draw the same boxes and colors for them,
and give the same float32 tensors, normalized (96 to 100 % within one level; two files the habit reads wrongly after
seeking, at the same cost: cockatoo.mp4 and apply_eye_makeup.avi). The habit opens the file, seeks, decodes and
converts all frames of the span, transforms the wanted ones by Pillow in the worker and sends float32; ours is the
loader with `recolored` and normalization in the main process. The processes are started before, and a figure is
processor seconds of all of them.

Then each stage alone, in this process on one thread, in turns; the least of all rounds, which neighbours change least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from measuring import SHARED, Cost, Ratio, cost_of, median_costs, median_ratio, real_clip, report
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.loading.items import random_of
from egotools.loading.kept_files import files_of
from egotools.loading.loader import loader
from egotools.loading.order import Order
from egotools.loading.spans import SpanExamples, Spans, Stretch, read_frames, stretches
from egotools.machine import keep_freed_memory
from egotools.pixels.augmentation import Augmentation, Draw, Jitter, cropped, recolored
from egotools.pixels.crops import NO_BOX, center_box, shorter_side
from egotools.pixels.preprocessing import Normalize
from egotools.processes import forkserver
from egotools.types import Clip, IntArray

SUFFIXES = {".mp4", ".mkv", ".avi", ".webm"}
DAMAGED = "corrupted.mp4"
SPANS = Spans(40, 3)
AUGMENTATION = Augmentation(gray_p=0.25, jitter=Jitter(0.5, 0.5, 0.5, 0.25, consistent=False))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH, QUIET = 2, 0.4  # clips; seconds without work after which the workers are done
ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


@dataclass(frozen=True, eq=False)
class Habit(torch.utils.data.Dataset[Tensor]):
    """The data set that users write; draws are taken from the examples, so that both sides do the same."""

    examples: SpanExamples

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        epoch, number = key
        stretch, random = self.examples.stretches[number], random_of(0, epoch, number)
        start = int(self.examples.spans.drawn(stretch.count, random)[0])
        frames = decoded_span(stretch, start, self.examples.spans)
        draw = self.examples.augmentation.draw(*frames.shape[1:3], len(frames), random)
        return transformed(frames, draw, self.examples.side)


def decoded_span(stretch: Stretch, start: int, spans: Spans) -> np.ndarray:
    """All frames of a span as RGB, as torchvision's `read_video` does; every so many of them [T, H, W, 3]."""
    times = stretch.source.info.times[stretch.first + start :]
    begin, end = times[0], times[min(spans.width, len(times) - 1)]
    frames = []
    with av.open(str(stretch.source.path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        container.seek(int(begin / (stream.time_base or 1)), stream=stream)
        for frame in container.decode(stream):
            if frame.time is not None and frame.time >= end - 1e-4:
                break
            if frame.time is not None and frame.time >= begin - 1e-4:
                frames.append(frame.to_ndarray(format="rgb24"))
    wanted = np.minimum(np.arange(spans.frames) * spans.stride, len(frames) - 1)
    return np.stack(frames)[wanted]


def transformed(frames: np.ndarray, draw: Draw, side: int) -> Tensor:
    """Frames [T, H, W, 3] by Pillow, one at a time: float32 [T, 3, S, S]."""
    found = []
    for number, picture in enumerate(resized_by_pillow(frames, draw, side)):
        found.append(as_tensor(colored_by_pillow(picture, draw, number)))
    return torch.stack(found)


def resized_by_pillow(frames: np.ndarray, draw: Draw, side: int) -> list[Image.Image]:
    """Boxes of frames, mirrored or not."""
    found = []
    for frame, (x, y, w, h), flip in zip(frames, draw.boxes.tolist(), draw.flips, strict=True):
        image = Image.fromarray(frame)
        if w == NO_BOX:
            height, width = shorter_side(image.height, image.width, AUGMENTATION.crop)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
            x, y, w, h = center_box(height, width, AUGMENTATION.crop)
        image = image.crop((x, y, x + w, y + h)).resize((AUGMENTATION.crop,) * 2, Image.Resampling.BILINEAR)
        image = image.resize((side, side), Image.Resampling.NEAREST)
        found.append(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image)
    return found


def colored_by_pillow(image: Image.Image, draw: Draw, number: int) -> Image.Image:
    """One channel or all, and the four changes in their order."""
    if (channel := int(draw.channels[number])) >= 0:
        image = Image.merge("RGB", [image.split()[channel]] * 3)
    for operation in draw.order[number].tolist():
        factor = float(draw.factors[number, operation])
        if 0 <= operation < len(ENHANCERS):
            image = ENHANCERS[operation](image).enhance(factor)
        elif operation == len(ENHANCERS):
            hue, saturation, value = image.convert("HSV").split()
            turned = np.asarray(hue) + np.array(int(factor * 255)).astype(np.uint8)
            image = Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")
    return image


def as_tensor(image: Image.Image) -> Tensor:
    """torchvision's ToTensor and Normalize."""
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).contiguous().float().div(255)
    return pixels.sub_(torch.tensor(MEAN)[:, None, None]).div_(torch.tensor(STD)[:, None, None])


def finished(batch: Mapping[str, Tensor]) -> Tensor:
    """Ours, on the device: [B, T, 3, S, S]."""
    return Normalize(MEAN, STD)(recolored(batch["frames"], Draw.of(batch)))


class Turns:
    """Batches of one side, taken a few at a time; the workers are waited for."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches
        next(batches)
        settle()

    def __call__(self, count: int) -> Cost:
        """What so many batches cost: as many are prepared for later at the end as at the beginning."""

        def take() -> None:
            for _ in range(count):
                next(self._batches)
            settle()

        return cost_of(take)


def settle() -> None:
    """Waits until no process works."""
    while cost_of(lambda: time.sleep(QUIET)).cpu > 0.03:
        pass


def sides(examples: SpanExamples, workers: int) -> dict[str, Turns]:
    """Both loaders, started."""
    order = Order(len(examples), BATCH, seed=0)
    ours = loader(examples, order, seed=0, workers=workers, device=torch.device("cpu"), finish=finished)
    habit = torch.utils.data.DataLoader(
        Habit(examples),
        batch_sampler=Keys(order),
        num_workers=workers,
        multiprocessing_context=forkserver() if workers else None,
    )
    return {"ours": Turns(ours(0)), "habit": Turns(iter(habit))}


@dataclass(frozen=True)
class Keys:
    """The order as PyTorch asks for it."""

    order: Order

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.order.batches()


Stages = dict[str, Callable[[], object]]


def stages(examples: SpanExamples, number: int) -> dict[str, Stages]:
    """Each stage of one clip alone, on both sides, and what limits ours."""
    stretch, random = examples.stretches[number], random_of(0, 0, number)
    span = examples.spans.drawn(stretch.count, random)
    start = int(span[0])
    frames = decoded_span(stretch, start, examples.spans)
    draw = examples.augmentation.draw(*frames.shape[1:3], len(frames), random)
    pixels = torch.from_numpy(cropped(frames, draw, examples.side))
    pictures = resized_by_pillow(frames, draw, examples.side)
    opened = examples._open
    return {
        "decoding": {
            "habit": lambda: decoded_span(stretch, start, examples.spans),
            "ours": lambda: read_frames(stretch, span, opened),
            "limit": lambda: only_decoded(stretch, span),
        },
        "resampling": {
            "habit": lambda: resized_by_pillow(frames, draw, examples.side),
            "ours": lambda: cropped(frames, draw, examples.side),
            "limit": lambda: only_resized(frames, draw),
        },
        "color": {
            "habit": lambda: [colored_by_pillow(picture, draw, k) for k, picture in enumerate(pictures)],
            "ours": lambda: recolored(pixels, draw),
            "limit": lambda: copied_to_float(pixels, 4),
        },
        "normalizing": {
            "habit": lambda: torch.stack([as_tensor(picture) for picture in pictures]),
            "ours": lambda: Normalize(MEAN, STD)(pixels),
            "limit": lambda: copied_to_float(pixels, 1),
        },
    }


def only_decoded(stretch: Stretch, span: IntArray) -> None:
    """Decodes what lies between the key frame before the span and its last frame; no picture becomes RGB."""
    times = stretch.source.info.times
    with av.open(str(stretch.source.path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.skip_frame = "NONREF"
        container.seek(int(times[stretch.first + span[0]] / (stream.time_base or 1)), stream=stream)
        last = times[stretch.first + span[-1]] - 1e-4
        next((frame for frame in container.decode(stream) if frame.time is not None and frame.time >= last), None)


def only_resized(frames: np.ndarray, draw: Draw) -> None:
    """Resizes boxes that lie together in memory, all frames at once."""
    x, y, w, h = draw.boxes[0].tolist()
    box = frames[:, y : y + h, x : x + w] if w != NO_BOX else frames
    F.interpolate(
        torch.from_numpy(box).permute(0, 3, 1, 2), size=(AUGMENTATION.crop,) * 2, mode="bilinear", antialias=True
    )


def copied_to_float(pixels: Tensor, times: int) -> None:
    """Bytes to planes of float32, as often as there are changes: no arithmetic."""
    for frame in pixels.numpy():
        for _ in range(times):
            frame.reshape(-1, 3).T.astype(np.float32, order="C")


def least(examples: SpanExamples, rounds: int) -> dict[str, dict[str, float]]:
    """Processor seconds of each stage, summed over the clips: the least of the rounds."""
    found: dict[str, dict[str, float]] = {}
    for number in range(len(examples)):
        for stage, tasks in stages(examples, number).items():
            times: dict[str, float] = {}
            for _ in range(rounds + 1):  # the first fills caches
                for side, task in tasks.items():
                    began = time.process_time()
                    task()
                    times[side] = min(times.get(side, np.inf), time.process_time() - began)
            sums = found.setdefault(stage, {})
            for side, seconds in times.items():
                sums[side] = sums.get(side, 0.0) + seconds
    return found


LIMITS = {
    "decoding": "FFmpeg's decoder on one thread, frames nobody refers to left out, none made RGB",
    "resampling": "torch's interpolation to 224 px, all frames in one call",
    "color": "bytes to float32 planes once a change",
    "normalizing": "bytes to float32 planes once",
}


def examples_of(videos: Sequence[Path], side: int, count: int | None, spans: Spans) -> SpanExamples:
    """One example a file that is long enough."""
    clips = [Clip(path.name, path) for path in videos]
    found, _, _ = stretches(clips, files_of(clips), spans)
    return SpanExamples(found[:count], spans, side, AUGMENTATION)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--video", type=Path, help="this file alone")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one round, short spans: shows that it runs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    videos = SHARED / "videos"
    folder = sorted(path for path in videos.glob("*") if path.suffix in SUFFIXES and path.name != DAMAGED)
    paths = [options.video] * 2 if options.video else folder or [real_clip()] * 2
    spans, rounds = (Spans(4, 3), 1) if options.quick else (SPANS, options.rounds)
    examples = examples_of(paths, options.side, 2 if options.quick else None, spans)
    ways = sides(examples, 0 if options.quick else options.workers)
    batches = 1 if options.quick else -(-options.clips // BATCH)
    costs = [{name: way(batches) for name, way in ways.items()} for _ in range(rounds)]
    del ways
    times = least(examples, min(rounds, 2))
    report_all(examples, costs, times, batches, options)


def report_all(
    examples: SpanExamples,
    costs: list[dict[str, Cost]],
    times: dict[str, dict[str, float]],
    batches: int,
    options: argparse.Namespace,
) -> None:
    """Prints throughput, and each stage's share, gain and limit."""
    targets = {"loader": 1.4, "resampling": 4.0, "chain": 1.4} if not options.quick and options.side == 128 else {}
    clips = batches * BATCH
    rate = {name: clips / each["cpu"] for name, each in median_costs(costs).items()}
    note = f"{rate['ours']:.2f} and {rate['habit']:.2f} clips a processor second, {options.workers} worker(s) each"
    ratios = [
        Ratio("(o) habit / ours, whole loader", median_ratio(costs, "habit", "ours"), targets.get("loader"), note)
    ]
    whole = sum(sides["ours"] for sides in times.values())
    for stage, sides_ in times.items():
        share = f"{sides_['ours'] / whole:.0%} of ours, {1000 * sides_['ours'] / len(examples):.1f} ms a clip"
        ratios.append(Ratio(f"(o) {stage}, habit / ours", sides_["habit"] / sides_["ours"], targets.get(stage), share))
        ratios.append(Ratio(f"(o) {stage}, of its limit", sides_["limit"] / sides_["ours"], None, LIMITS[stage]))
    chain = [sum(times[stage][side] for stage in list(times)[1:]) for side in ("habit", "ours")]
    ratios.append(Ratio("(o) whole chain after decoding, habit / ours", chain[0] / chain[1], targets.get("chain")))
    title = f"Clips of {examples.spans.frames} frames at {examples.side} px from {len(examples)} files, CPU seconds"
    report(title, ratios, options.json, figures=median_costs(costs), stages=times)


if __name__ == "__main__":
    main()
