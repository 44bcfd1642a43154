"""Encoders of Transformers through egotools against the snippet of their cards: the processor, then one frame a call.

    python benchmarks/encoders.py [--rounds 3] [--only clip | videomae] [--video FILE] [--json FILE] [--quick]

Both sides get the same decoded frames, prepare them and compute rows, on one thread, with random weights of the full
config; decoding is left out on both sides. Ours prepares frame by frame as a reading worker does, and fills batches.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Cost, Ratio, cost_of, in_turns, machine, median_costs, median_ratio, real_clip, report

BATCH = {"clip": 16, "videomae": 2}
FRAMES = {"clip": 32, "videomae": 32}
TARGETS = {("clip", "float32"): 1.3, ("clip", "bf16"): 2.0}
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


def make_folder(folder: Path, name: str, *, small: bool) -> Path:
    """The config and the processor of a published model; `--weights random:0` needs no more."""
    import transformers as hf

    few = SMALL if small else {}
    if name == "clip":
        config = hf.CLIPConfig(vision_config={"patch_size": 32, **few}, text_config=few)
        config.save_pretrained(folder)
        hf.CLIPImageProcessor().save_pretrained(folder)
    else:
        config = hf.VideoMAEConfig(**few, **({"num_frames": 4} if small else {}))
        config.save_pretrained(folder)
        hf.VideoMAEImageProcessor(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]).save_pretrained(
            folder
        )
    return folder


def card(folder: Path, name: str, windows: Sequence[Sequence[Any]]) -> Callable[[], list[Any]]:
    """What the cards show: one image, or one video, a call."""
    import torch
    import transformers as hf
    from PIL import Image

    from egotools.training.seeding import seeded

    processor: Any = (hf.AutoImageProcessor if name == "clip" else hf.AutoVideoProcessor).from_pretrained(folder)
    with seeded(0):
        model: Any = hf.AutoModel.from_config(hf.AutoConfig.from_pretrained(folder)).eval()

    def run() -> list[Any]:
        rows = []
        for frames in windows:
            with torch.no_grad():
                if name == "clip":
                    inputs = processor(images=Image.fromarray(frames[0]), return_tensors="pt")
                    rows.append(model.get_image_features(**inputs).pooler_output[0].numpy())
                else:
                    inputs = processor(list(frames), return_tensors="pt")
                    rows.append(model(**inputs).last_hidden_state.mean(1)[0].numpy())
        return rows

    return run


def ours(folder: Path, name: str, windows: Sequence[Sequence[Any]], precision: str) -> dict[str, Callable[[], Any]]:
    """Preparing frames, computing prepared ones, and both."""
    import torch

    from egotools.extraction.forward import runnable
    from egotools.extractors.lookup import find_extractor

    extractor: Any = find_extractor(f"hf:{folder}").built(weights="random:0")
    network = runnable(extractor.network(), torch.device("cpu"), precision)  # type: ignore[arg-type]

    def prepare() -> Any:
        return np.stack([np.stack([extractor.prepare(frame) for frame in frames]) for frames in windows])

    def compute(prepared: Any) -> list[Any]:
        size = BATCH[name]
        batches = [torch.from_numpy(prepared[at : at + size]) for at in range(0, len(prepared), size)]
        return [row for batch in batches for row in network(batch).numpy()]

    shown = prepare()
    return {"": lambda: compute(prepare()), " prepare": prepare, " compute": lambda: compute(shown)}


def decoded(video: Path, count: int, length: int) -> list[list[Any]]:
    """Windows of the first frames of a video."""
    from egotools.media.video import open_frames

    opened = open_frames(video)
    frames = list(opened.frames(np.arange(min(count, len(opened.info)))))
    opened.close()
    return [frames[at : at + length] for at in range(0, len(frames) - length + 1, length)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=tuple(BATCH))
    parser.add_argument("--video", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small networks, one round: shows that it runs")
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    video = options.video or real_clip("videos/v_ZNVhz7ctTq0.mp4")
    sides = ["float32"] if machine()["bf16"] == "none" else ["float32", "bf16"]
    ratios, figures = [], {}
    with tempfile.TemporaryDirectory() as place:
        for name in [options.only] if options.only else BATCH:
            folder = make_folder(Path(place) / name, name, small=options.quick)
            length = {"clip": 1, "videomae": 4 if options.quick else 16}[name]
            windows = decoded(video, 4 * length if options.quick else FRAMES[name], length)
            found, more = compared(folder, name, windows, sides, 1 if options.quick else options.rounds)
            figures[name] = more
            ratios += [
                Ratio(each.name, each.value, None if options.quick else each.target, each.note) for each in found
            ]
    report(f"{video.name}, decoded; one thread", ratios, options.json, figures=figures)


def compared(
    folder: Path, name: str, windows: Sequence[Sequence[Any]], sides: Sequence[str], rounds: int
) -> tuple[list[Ratio], dict[str, Any]]:
    """The ratios of one model, and the seconds of each task."""
    work: dict[str, Callable[[], Any]] = {"card": card(folder, name, windows)}
    for side in sides:
        work |= {f"{side}{part}": run for part, run in ours(folder, name, windows, side).items()}
    agreement = min(
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in zip(work["card"](), work["float32"](), strict=True)
    )
    assert agreement > 0.9999, agreement
    tasks: dict[str, Callable[[], Cost]] = {key: (lambda run=run: cost_of(run)) for key, run in work.items()}  # type: ignore[misc]
    in_turns(tasks, 1)  # warms up
    measured = in_turns(tasks, rounds)
    frames = sum(map(len, windows))
    seconds = {task: costs["cpu"] / frames for task, costs in median_costs(measured).items()}
    ratios = [
        Ratio(
            f"(x) {name}, card / egotools {side}", median_ratio(measured, "card", side), TARGETS.get((name, side)),
            f"{1 / seconds['card']:.1f}, {1 / seconds[side]:.1f} frames a processor second; "
            f"{seconds[f'{side} prepare'] / seconds[side]:.0%} of ours prepares frames",
        )
        for side in sides
    ]  # fmt: skip
    return ratios, {"seconds a frame": seconds, "cosine": agreement}


if __name__ == "__main__":
    main()
