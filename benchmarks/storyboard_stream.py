"""Frames of a stream for Memory Storyboard against the habit: one JPEG per image and step, Pillow's transforms.

    python benchmarks/storyboard_stream.py [--steps 2] [--rounds 3] [--height PIXELS] [--side 112] [--video FILE]
        [--json FILE] [--quick]

A step of the paper goes on by 64 frames and trains on 512, those of two memories. The habit opens 512 JPEG files, and
makes two views of each with torchvision's transforms of Pillow images. Ours decodes each frame once, when a memory
takes it, from the video; views are made of the frames in memory, here of an eighth of them on both sides. Once each
frame of the stream is decoded (the most there can be), once those that enter the memories of the paper's row for
KrishnaCam: every fourth, and of the others as many as a reservoir of 45,000 takes on average over 2.5 million.

The same is measured for a folder of frames, as `egotools frames` writes it. All is read through `Reader` without a
process, so that what it would do beside the training is counted, but for handing frames over. Views are made on the
CPU; on a GPU, that is left to it, and the last ratio compares what the processor still does. One thread; figures are
processor seconds, the median ratio of rounds in turns.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measuring import Cost, Ratio, cost_of, in_turns, median_costs, median_ratio, real_clip, report
from PIL import Image, ImageFilter
from torchvision import transforms

from egotools.machine import keep_freed_memory
from egotools.methods.storyboard.reading import Reader
from egotools.methods.storyboard.stream import Stream, stream_of
from egotools.methods.storyboard.views import Viewing, random_of
from egotools.pixels import view_augmentation
from egotools.types import Clip, Frame, IntArray

NEW, BATCH = 64, 512  # of the paper: frames by which a step goes on, and those it trains on
VIEWED = 64  # frames of which views are made
EVERY, RESERVOIR = 4, 0.09  # KrishnaCam: frames of the short-term memory, and how many of all enter the other
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CPU = torch.device("cpu")


class Blur:
    """The published blur."""

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(0.1, 2.0)))


def published(side: int) -> transforms.Compose:
    """The published transforms."""
    jitter = transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)
    return transforms.Compose([
        transforms.RandomResizedCrop(side),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([jitter], p=0.8),
        transforms.RandomGrayscale(p=0.2),
        transforms.RandomApply([Blur()], p=0.5),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])  # fmt: skip


@dataclass(frozen=True)
class Needed:
    """The ids that each step needs anew."""

    total: int
    sampled: bool  # as memories take them, else all

    def __call__(self, first: int) -> Iterator[IntArray]:
        for begin in range(first * NEW, self.total - NEW + 1, NEW):
            ids = np.arange(begin, begin + NEW)
            if self.sampled:
                is_kept = np.random.default_rng(begin).random(NEW) < RESERVOIR
                ids = ids[(ids % EVERY == 0) | is_kept]
            yield ids


class Sides:
    """What both sides do in a step, and its parts."""

    def __init__(self, stream: Stream, folder: Path, side: int, steps: int) -> None:
        self.steps, self.views, self.transforms = steps, Viewing(crop_size=side), published(side)
        self.frames = [frame for _, frame in zip(range(VIEWED), stream.frames(np.arange(VIEWED)), strict=False)]
        self.images = [Image.fromarray(frame) for frame in self.frames]
        self.files = []
        for number, image in enumerate(self.images):
            self.files.append(folder / f"{number:06d}.jpg")
            image.save(self.files[-1], quality=90)
        stills = stream_of([Clip(f"{number}", folder, fps=30.0) for number in range(120)])
        self.readers = {
            name: Reader(source, Needed(len(source), sampled), workers=0)(0)
            for name, source, sampled in (
                ("every", stream, False), ("sampled", stream, True), ("stills", stills, True)
            )
        }  # fmt: skip

    def read(self, name: str) -> None:
        """The frames that a step needs anew."""
        next(self.readers[name])

    def opened(self) -> list[Image.Image]:
        """The habit's images of a step."""
        found = []
        for number in range(BATCH):
            with Image.open(self.files[number % VIEWED]) as image:
                found.append(image.convert("RGB"))
        return found

    def transformed(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """The habit's views."""
        return torch.stack([torch.stack([self.transforms(image), self.transforms(image)]) for image in images])

    def viewed(self, frames: Sequence[Frame]) -> torch.Tensor:
        """Our views."""
        return self.views.training(frames, random_of(0, 0), CPU)

    def tasks(self) -> dict[str, Callable[[], Cost]]:
        """Each part, for each image of a batch."""

        def repeated(work: Callable[[], object], images: int = BATCH) -> Callable[[], Cost]:
            return lambda: cost_of(lambda: [work() for _ in range(self.steps)]) / (self.steps * images)

        return {
            "habit: JPEG": repeated(self.opened),
            "habit: views": repeated(lambda: self.transformed(self.images), VIEWED),
            "ours: every frame": repeated(partial(self.read, "every")),
            "ours: memories' frames": repeated(partial(self.read, "sampled")),
            "ours: memories' frames of a folder": repeated(partial(self.read, "stills")),
            "ours: views": repeated(lambda: self.viewed(self.frames), VIEWED),
        }


def parts_of_views(sides: Sides, rounds: int) -> dict[str, float]:
    """Microseconds of each part of one of our views, the least of the rounds."""
    frames, draws = sides.frames, sides.views.draw(sides.frames, random_of(0, 0))
    side, places = sides.views.crop_size, np.tile(np.arange(len(frames)), 2)

    def cut() -> None:
        for view, place in enumerate(places.tolist()):
            view_augmentation._cut(frames[place], draws, view, side)

    planes = [view_augmentation._cut(frames[place], draws, view, side) for view, place in enumerate(places.tolist())]
    still = np.zeros_like(draws.sigmas)
    plain = {**vars(draws), "sigmas": still}
    blurred_only = {**vars(draws), "order": np.full_like(draws.order, -1), "gray": np.zeros_like(draws.gray)}

    def recolored(fields: dict[str, np.ndarray]) -> None:
        chosen = view_augmentation.ViewDraws(**fields)
        for view, each in enumerate(planes):
            view_augmentation._recolored(each.copy(), chosen.part(slice(view, view + 1)))

    works = {
        "drawing": lambda: sides.views.draw(frames, random_of(0, 0)),
        "crop": cut,
        "colors": lambda: recolored(plain),
        "blur": lambda: recolored(blurred_only),
        "whole": lambda: sides.viewed(frames),
    }
    found: dict[str, float] = {}
    for _ in range(rounds + 1):
        for name, work in works.items():
            began = time.process_time()
            work()
            found[name] = min(found.get(name, np.inf), (time.process_time() - began) / len(places) * 1e6)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--height", type=int, help="reduce frames to this height")
    parser.add_argument("--side", type=int, default=112, help="of a view")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one round of one step: shows that it runs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    path = options.video or real_clip("videos/bikes.mp4")
    steps, rounds = (1, 1) if options.quick else (options.steps, options.rounds)
    stream = stream_of([Clip(f"{number}", path) for number in range(40)], height=options.height)
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(stream, Path(folder), options.side, steps)
        costs = in_turns(sides.tasks(), rounds)
        parts = parts_of_views(sides, rounds)
    each = {name: 1000 * cost["cpu"] for name, cost in median_costs(costs).items()}
    print(f"{path.name}, frames of {'x'.join(map(str, sides.frames[0].shape[1::-1]))}; ms for each image of a batch:")
    print(", ".join(f"{name} {milliseconds:.3f}" for name, milliseconds in each.items()))
    print("microseconds of a view: " + ", ".join(f"{name} {value:.0f}" for name, value in parts.items()))
    whole = [
        {
            "habit": one["habit: JPEG"] + one["habit: views"],
            "ours": one["ours: memories' frames"] + one["ours: views"],
            "ours, views elsewhere": one["ours: memories' frames"],
        }
        for one in costs
    ]
    ratios = [
        Ratio(
            "(s) frames of video, JPEG / ours", median_ratio(costs, "habit: JPEG", "ours: memories' frames"), 10,
            "bound by decoding each frame of H.264 once",
        ),
        Ratio("(s) of a video, every one kept", median_ratio(costs, "habit: JPEG", "ours: every frame")),
        Ratio(
            "(s) frames of a folder, JPEG / ours",
            median_ratio(costs, "habit: JPEG", "ours: memories' frames of a folder"), 10,
            "bound by decoding JPEG",
        ),
        Ratio(
            "(s) views on the CPU, habit / ours", median_ratio(costs, "habit: views", "ours: views"), None,
            "bound by colors",
        ),
        Ratio("(s) frames and views, habit / ours, both on the CPU", median_ratio(whole, "habit", "ours")),
        Ratio(
            "(s) the same, ours without views, left to a GPU", median_ratio(whole, "habit", "ours, views elsewhere"), 10
        ),
    ]  # fmt: skip
    report("a stream's frames against one JPEG per image and step", ratios, options.json, costs=each, parts=parts)


if __name__ == "__main__":
    main()
