"""`egotools extract` against the habit: OpenCV reads, Pillow transforms, the network takes one frame at a time.

    python benchmarks/habit.py [--rounds 3] [--video FILE] [--json FILE] [--quick]

Both sides take the same frames of the same clips to ResNet-50 features in float32; ours writes a cache as well, and
does it in bf16 too. Figures are slopes between a short and a long run, so that starting costs neither side anything.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from extraction import Pipeline, clips_of, copies
from measuring import Apart, Cost, Ratio, cost_of, in_turns, machine, median_costs, median_ratio, real_clip, report

FPS = 4.0
SECONDS = 2.0  # of a clip: eight rows
JUDGED = 8  # clips that a run in bf16 is judged on first, in both precisions
Reading = tuple[str, set[int]]  # a file, and the frames wanted of it
TARGETS = {"float32": 1.3, "AVX512-BF16": 2.8, "AMX": 3.5}


def habit(name: str, resize: int | None) -> Callable[[Sequence[Reading]], int]:
    """The loop that users write; gives a function from what to read to the number of rows."""
    import cv2
    import torch
    from PIL import Image
    from torchvision import models

    torch.manual_seed(0)
    network = models.get_model(name, weights=None)
    network.fc = torch.nn.Identity()
    network.eval()
    size = {"resize_size": resize, "crop_size": resize} if resize else {}
    preset = models.get_model_weights(name).DEFAULT.transforms(**size)

    def run(readings: Sequence[Reading]) -> int:
        rows = []
        for path, wanted in readings:
            video = cv2.VideoCapture(path)
            for index in range(max(wanted) + 1):
                is_there, frame = video.read()
                if is_there and index in wanted:
                    image = Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
                    with torch.no_grad():
                        rows.append(network(preset(image)[None])[0].numpy())
            video.release()
        return len(rows)

    return run


def reading(extractor: Any, clip: Any) -> Reading:
    """The file of a clip, and the frames that the extractor wants of it."""
    from egotools.media.video import open_frames

    video = open_frames(clip.path)
    indices = set(extractor.windows(video.info, clip).frames.ravel().tolist())
    video.close()
    return str(clip.path), indices


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="a small network, one round: shows that it runs")
    options = parser.parse_args(arguments)
    name, short, long = ("resnet18", 1, 3) if options.quick else ("resnet50", 1, 7)
    video = options.video or real_clip("videos/v_ZNVhz7ctTq0.mp4")
    bf16 = machine()["bf16"]
    sides = ["float32"] if bf16 == "none" else ["float32", "bf16"]
    with tempfile.TemporaryDirectory() as folder:
        # Every clip is the beginning of a file of its own, so that the habit's loop has nothing to skip.
        files = copies(video, Path(folder), long + JUDGED)
        clips = list(itertools.chain.from_iterable(clips_of([file], SECONDS, 1) for file in files))
        resize = 64 if options.quick else None
        settings = {"weights": "random:0", "fps": FPS} | ({"resize": "64x64"} if options.quick else {})
        pipelines = {side: Pipeline(Path(folder), [(name, settings)], side) for side in sides}
        readings = [reading(pipelines["float32"].built[0], clip) for clip in clips]
        with Apart(habit, name, resize) as peer:
            tasks: dict[str, Callable[[], Cost]] = {"habit": _slope(peer, readings, short, long)}
            for side, pipeline in pipelines.items():
                more = JUDGED if side == "bf16" else 0
                tasks[side] = _slope(pipeline.run, clips, short + more, long + more)
            in_turns(tasks, 1)  # warms up
            rounds = in_turns(tasks, 1 if options.quick else options.rounds)
    ratios = []
    for side in sides:
        target = None if options.quick else TARGETS["float32" if side == "float32" else bf16]
        for kind, wanted in (("cpu", target), ("wall", None)):
            label = f"(d) {name}, habit / egotools {side}, {'CPU seconds' if kind == 'cpu' else 'wall'}"
            ratios.append(Ratio(label, median_ratio(rounds, "habit", side, kind), wanted))
    report(f"{video.name} at {FPS:g} Hz, seconds a clip", ratios, options.json, figures=median_costs(rounds))


def _slope(run: Callable[[Sequence[Any]], object], clips: Sequence[Any], short: int, long: int) -> Callable[[], Cost]:
    """The cost of a clip, without that of starting."""

    def slope() -> Cost:
        few = cost_of(lambda: run(clips[:short]))
        return (cost_of(lambda: run(clips[:long])) - few) / (long - short)

    return slope


if __name__ == "__main__":
    main()
