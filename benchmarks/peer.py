"""`egotools extract` against video_features of Iashin et al., the extraction toolkit that most people use.

    python benchmarks/peer.py [--only resnet50 | r2plus1d_18] [--rounds 3] [--video FILE] [--json FILE] [--quick]

The peer's steps are those that its documentation and source state (github.com/v-iashin/video_features), in its
defaults: ResNet reads every frame with OpenCV, prepares it with Pillow, and takes one at a time through the network;
R(2+1)D decodes a whole video to memory, prepares all of it in float32, and takes one stack of 16 frames at a time.
Both in float32 with the weights' own preprocessing. Ours takes the same frames of the same files and writes a cache
as well, with PyTorch and with OpenVINO (extra: openvino), in float32, bf16 and int8. Figures are frames a processor
second, from the slope between few and many files: starting costs neither side.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extraction import Pipeline, copies
from measuring import Apart, Cost, Ratio, cost_of, in_turns, machine, median_costs, median_ratio, real_clip, report

if TYPE_CHECKING:
    from egotools.extraction.request import Precision, Runtime

STACK = 16  # frames of a window of R(2+1)D, which follow each other without a gap
MORE = 10  # files more in the long run of the faster sides, of which each costs little
JUDGED = 8  # clips that a run in another precision than float32 is judged on first
TARGETS = {"float32": 1.4, "bf16": 3.0, "int8": 5.0}  # bf16 with AVX512-BF16 or AMX
SIDES: tuple[tuple[Precision, Runtime], ...] = (
    ("float32", "torch"),
    ("float32", "openvino"),
    ("bf16", "torch"),
    ("bf16", "openvino"),
    ("int8", "openvino"),
)


@dataclass(frozen=True)
class Case:
    """A network, the files of the short and of the long run, and the peer's recipe for it."""

    name: str
    short: int
    long: int
    recipe: Callable[[], Callable[[Sequence[str]], int]]


def resnet50() -> Callable[[Sequence[str]], int]:
    """The peer's ResNet-50: gives a function from files to the number of frames."""
    import cv2
    import numpy as np
    import torch
    from torchvision import models, transforms

    torch.manual_seed(0)
    network = models.resnet50(weights=None)
    network.fc = torch.nn.Identity()
    network.eval()
    prepare = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )

    def run(files: Sequence[str]) -> int:
        frames = 0
        for file in files:
            video, rows = cv2.VideoCapture(file), []
            while True:
                is_there, frame = video.read()
                if not is_there:
                    break
                with torch.no_grad():
                    rows += network(prepare(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))[None]).tolist()
            video.release()
            frames += len(np.array(rows))
        return frames

    return run


def r2plus1d_18() -> Callable[[Sequence[str]], int]:
    """The peer's R(2+1)D-18: gives a function from files to the number of frames."""
    import av
    import numpy as np
    import torch
    from torchvision.models.video import r2plus1d_18 as build

    torch.manual_seed(0)
    network = build(weights=None)
    network.fc = torch.nn.Identity()
    network.eval()
    mean = torch.tensor([0.43216, 0.394666, 0.37645]).view(3, 1, 1, 1)
    deviation = torch.tensor([0.22803, 0.22145, 0.216989]).view(3, 1, 1, 1)

    def prepared(file: str) -> torch.Tensor:
        """All frames as torchvision's `read_video` gave them, which has gone from it: [3, T, 112, 112]."""
        with av.open(file) as container:
            decoded = [frame.to_rgb().to_ndarray() for frame in container.decode(video=0)]
        video = torch.as_tensor(np.stack(decoded)).permute(3, 0, 1, 2).to(torch.float32) / 255
        video = torch.nn.functional.interpolate(video, size=(128, 171), mode="bilinear", align_corners=False)
        video = (video - mean) / deviation
        return video[..., 8:120, 30:142]

    def run(files: Sequence[str]) -> int:
        frames = 0
        for file in files:
            video, rows = prepared(file)[None], []
            for start in range(0, video.shape[2] - STACK + 1, STACK):
                with torch.no_grad():
                    rows += network(video[:, :, start : start + STACK]).tolist()
            frames += STACK * len(np.array(rows))
        return frames

    return run


CASES = (Case("resnet50", 1, 3, resnet50), Case("r2plus1d_18", 1, 5, r2plus1d_18))


def options_of(name: str, video: Path) -> tuple[dict[str, Any], float]:
    """Our extractor's options, and the seconds of a clip that holds whole stacks: about two or four seconds."""
    from egotools.media.video import open_frames

    frames = open_frames(video)
    rate = (len(frames.info.times) - 1) / float(frames.info.times[-1] - frames.info.times[0])
    frames.close()
    if name == "resnet50":
        return {"stride": 1, "fps": None}, 2.0
    return {"frames": STACK, "fps": rate, "hop": STACK / rate}, 8 * STACK / rate


def shortened(video: Path, folder: Path, seconds: float) -> Path:
    """The beginning of a video, without its sound: what both sides read whole."""
    import av

    path = folder / f"short-{seconds:.2f}.mp4"
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream("libx264", rate=stream.average_rate, options={"crf": "20"})
        copied.width, copied.height, copied.pix_fmt = stream.width, stream.height, "yuv420p"
        for frame in source.decode(stream):
            if frame.time is None or frame.time >= seconds:
                break
            frame.pts = None
            target.mux(copied.encode(frame))
        target.mux(copied.encode())
    return path


def measure(case: Case, video: Path, folder: Path, rounds: int, is_quick: bool) -> tuple[list[Ratio], dict[str, Any]]:
    """The ratios of a network and its figures."""
    from egotools.extraction import precision as gate
    from egotools.types import Clip

    gate.ENOUGH = -1.0  # random weights are refused in lower precisions, and are as fast
    options, seconds = options_of(case.name, video)
    file = shortened(video, folder, 0.6 * seconds if is_quick else seconds)
    files = copies(file, folder, case.long + JUDGED + MORE)
    clips = [Clip(id=path.name, path=path) for path in files]
    names = [str(path) for path in files]
    sides = [side for side in SIDES[: 1 if is_quick else None] if side[0] != "bf16" or machine()["bf16"] != "none"]
    extractors = [(case.name, {"weights": "random:0", **options})]
    pipelines = {side: Pipeline(folder, extractors, *side) for side in sides}
    with Apart(case.recipe) as peer:
        frames = peer(names[:1])
        tasks = {"peer": _slope(peer, names, case.short, case.long)}
        for side, pipeline in pipelines.items():
            judged, more = (0, 0) if side == SIDES[0] else (JUDGED, MORE)
            rows = pipeline.run(clips[:1])
            assert rows * (STACK if case.name == "r2plus1d_18" else 1) == frames, (rows, frames)
            tasks[" ".join(side)] = _slope(pipeline.run, clips, case.short + judged, case.long + judged + more)
        measured = in_turns(tasks, rounds)
    costs = median_costs(measured)
    rates = {side: frames / cost["cpu"] for side, cost in costs.items()}
    ratios = []
    for precision in dict.fromkeys(precision for precision, _ in sides):
        found = {way: median_ratio(measured, "peer", way) for way in map(" ".join, sides) if precision in way}
        for way, ratio in found.items():
            is_best = ratio == max(found.values())
            note = f"{rates['peer']:.1f} / {rates[way]:.1f} frames a processor second"
            note += f"; by the clock {median_ratio(measured, 'peer', way, 'wall'):.2f}"
            target = TARGETS[precision] if is_best and not is_quick else None
            ratios.append(Ratio(f"(aa) {case.name}, {way}", ratio, target, note))
    return ratios, {"costs a file": costs, "frames a file": frames}


def _slope(run: Callable[[Sequence[Any]], object], files: Sequence[Any], short: int, long: int) -> Callable[[], Cost]:
    """The cost of a file, without that of starting."""

    def slope() -> Cost:
        few = cost_of(lambda: run(files[:short]))
        return (cost_of(lambda: run(files[:long])) - few) / (long - short)

    return slope


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--only", choices=[case.name for case in CASES])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="short files, one round: shows that it runs")
    options = parser.parse_args(arguments)
    video = options.video or real_clip("videos/v_ZNVhz7ctTq0.mp4")
    ratios: list[Ratio] = []
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for case, number in zip(CASES, itertools.count()):
            if options.only in (None, case.name):
                folder = Path(name) / str(number)
                folder.mkdir()
                found, figures[case.name] = measure(
                    case, video, folder, 1 if options.quick else options.rounds, options.quick
                )
                ratios += found
    report(f"video_features / egotools, every frame of {video.name}", ratios, options.json, figures=figures)


if __name__ == "__main__":
    main()
