"""The raw features of M3-S of a clip of 45 frames, against the recipe of the reference: a frame after the other.

    python benchmarks/raw_features.py [--rounds 5] [--video FILE] [--json FILE] [--quick]

The reference takes HOG from scikit-image, resizes, converts and finds flow by OpenCV, transforms by NumPy in float64,
and asks Pillow for the contrast. Both sides get the same prepared frames and give the same figures, which is checked;
both have one thread. Each feature runs in a process of its own, as the reference makes a pass over the videos for each;
the reference's allocates memory as usual, ours as a reading process does.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from measuring import Apart, Cost, Ratio, cost_of, median_costs, median_ratio, real_clip, report

FRAMES = 45
PIXELS = ("hog", "brightness", "contrast", "blurriness")
TARGETS = {"hog": 8.0, "blurriness": 4.0, "four pixel features": 5.5, "with flow": 3.0}
SIDES = ("reference", "egotools")
SUMS = {"four pixel features": PIXELS, "with flow": (*PIXELS, "meanOF")}
NO_OPENCV = "blurriness without OpenCV"


def reference(name: str) -> Callable[[Any], tuple[Any, Cost]]:
    """The reference's recipe of a feature; gives a function from frames [T, 256, 256, 3] to figures and their cost."""
    import cv2
    import numpy as np
    from PIL import Image, ImageStat

    cv2.setNumThreads(1)

    def blurriness(frame: Any) -> Any:
        image = cv2.resize(frame, (500, int(frame.shape[0] * 500 / frame.shape[1])), interpolation=cv2.INTER_AREA)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        row, column = gray.shape[0] // 2, gray.shape[1] // 2
        transformed = np.fft.fft2(gray)
        shifted = np.fft.fftshift(transformed)
        shifted[row - 60 : row + 60, column - 60 : column + 60] = 0
        left = np.fft.ifft2(np.fft.ifftshift(shifted))
        magnitude = 20 * np.log(np.abs(left))
        return np.mean(magnitude)

    def flow(frames: Any) -> float:
        images = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        return float(
            np.mean([np.linalg.norm(method.calc(*pair, None), axis=-1).sum() for pair in itertools.pairwise(images)])
        )

    def of_frames(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda frames: np.array([function(frame) for frame in frames])

    def hog(frame: Any) -> Any:
        from skimage.feature import hog

        return hog(frame, 9, (8, 8), (2, 2), block_norm="L2-Hys", channel_axis=-1)

    functions: dict[str, Callable[[Any], Any]] = {
        "hog": of_frames(hog),
        "brightness": of_frames(lambda frame: np.mean(cv2.cvtColor(frame, cv2.COLOR_RGB2HSV_FULL)[0])),
        "contrast": of_frames(
            lambda frame: ImageStat.Stat(Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))).stddev[0]
        ),
        "blurriness": of_frames(blurriness),
        "meanOF": flow,
    }
    return partial(_measured, functions[name])


def ours(name: str) -> Callable[[Any], tuple[Any, Cost]]:
    """The same by egotools, in a process as the engine sets it up."""
    import torch

    from egotools.extractors.optical_flow import fastest_enlarging, mean_flow
    from egotools.lowlevel.blurriness import blurriness
    from egotools.lowlevel.color import brightness, contrast
    from egotools.lowlevel.hog import hog
    from egotools.machine import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    functions: dict[str, Callable[[Any], Any]] = {
        "hog": hog,
        "brightness": brightness,
        "contrast": contrast,
        "blurriness": partial(blurriness, enlarge=fastest_enlarging()),
        NO_OPENCV: blurriness,
        "meanOF": mean_flow,
    }
    return partial(_measured, functions[name])


def _measured(function: Callable[[Any], Any], frames: Any) -> tuple[Any, Cost]:
    found: list[Any] = []
    cost = cost_of(lambda: found.append(function(frames)))
    return found[0], cost


def frames_of(video: Path, count: int) -> Any:
    """Frames of the first seconds of a video, as `m3s` prepares them."""
    import numpy as np

    from egotools.extractors.hog import squashed
    from egotools.media.video import open_frames

    opened = open_frames(video)
    chosen = np.unique(np.linspace(0, min(len(opened.info), 90) - 1, count).astype(int))
    frames = np.stack([squashed(frame) for frame in opened.frames(chosen)])
    opened.close()
    return frames


def check(name: str, wanted: Any, found: Any) -> None:
    """Refuses to compare the times of different results."""
    import numpy as np

    # Transforms in float32, then logarithms; the reference's flow begins each pair with what it found for the last.
    allowed = {"hog": (0.0, 1e-6), "blurriness": (1e-4, 1e-3)}.get(name, (1e-5, 0.0))
    np.testing.assert_allclose(found, wanted, rtol=allowed[0], atol=allowed[1], err_msg=name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="HOG of three frames, one round: shows that it runs")
    options = parser.parse_args(arguments)
    video = options.video or real_clip("videos/v_ZNVhz7ctTq0.mp4")
    frames = frames_of(video, 3 if options.quick else FRAMES)
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[threads] = "1"  # of the processes that are started now
    names = PIXELS[:1] if options.quick else (*PIXELS, "meanOF")
    rounds: list[dict[str, Cost]] = []
    for _ in range(1 if options.quick else options.rounds):
        rounds.append({})
        for name in names:
            rounds[-1] |= costs_of(name, frames)
    if not options.quick:
        names = (*PIXELS, NO_OPENCV, "meanOF", *SUMS)
        for costs in rounds:
            costs |= {f"{side} {name}": _sum(costs, side, SUMS[name]) for side in SIDES for name in SUMS}
            costs[f"reference {NO_OPENCV}"] = costs["reference blurriness"]
    ratios = [
        Ratio(
            f"(i) {name}, reference / egotools",
            median_ratio(rounds, f"reference {name}", f"egotools {name}"),
            None if options.quick else TARGETS.get(name),
        )
        for name in names
    ]
    report(f"{len(frames)} frames of {video.name}, 256x256", ratios, options.json, figures=median_costs(rounds))


def costs_of(name: str, frames: Any) -> dict[str, Cost]:
    """What a feature costs both sides, each in processes of its own that have computed it once before."""
    costs = {}
    with Apart(reference, name) as peer, Apart(ours, name) as egotools:
        check(name, peer(frames)[0], egotools(frames)[0])
        costs[f"reference {name}"], costs[f"egotools {name}"] = peer(frames)[1], egotools(frames)[1]
    if name == "blurriness":
        with Apart(ours, NO_OPENCV) as alone:
            alone(frames)
            costs[f"egotools {NO_OPENCV}"] = alone(frames)[1]
    return costs


def _sum(costs: dict[str, Cost], side: str, names: Sequence[str]) -> Cost:
    parts = [costs[f"{side} {name}"] for name in names]
    return Cost(sum(part.cpu for part in parts), sum(part.wall for part in parts))


if __name__ == "__main__":
    main()
