"""Moments for RepLAI read from video files: the published way, and egotools'.

    python benchmarks/replai_loading.py [--clips 8] [--rounds 5] [--json FILE] [--quick]

The published way is written out here as specified: a sample reads the whole file into memory, decodes all of its sound
to find the moments again, seeks to the window before one, to that after it and to the sound around it, resizes each
frame by Pillow, gathers frames in an array of float64, and resamples the sound and makes it log-mel by itself. Ours has
looked moments and frames up before: an example of `MomentExamples`, and `finish`. Both end in the same float32 tensors,
which are compared first, with nothing drawn; what is timed draws squares. The sound is cut as egotools cuts it, not as
published, late and short: that costs the same.

Then both windows of moments by our reader in one pass, and by two seeks. Clips are made here: ten seconds of 456x256
pixels at 16 frames a second, H.264 with a key frame every 16 (or 160) frames, and AAC at 44.1 kHz in stereo. One
thread; processor seconds.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from measuring import Cost, Ratio, cost_of, in_turns, median_costs, median_ratio, report
from PIL import Image
from scipy.signal import find_peaks, spectrogram
from torch import Tensor
from torch.utils.data import default_collate

from egotools.loading.files import Source
from egotools.loading.items import SECONDS, random_of
from egotools.loading.kept_files import files_of
from egotools.lowlevel.moments import moments
from egotools.machine import keep_freed_memory
from egotools.methods.replai.examples import Audible, MomentBatch, MomentExamples, finish, frames_around
from egotools.methods.replai.options import Sampling
from egotools.nn.log_mel import ReplaiLogMel
from egotools.nn.resampled import resampled
from egotools.types import Clip, FloatArray

SAMPLING = Sampling()
FPS, RATE, PACKET = 16, 44_100, 1024
SECONDS_LONG, QUICK_SECONDS = 10.0, 3.0
SIZE, QUICK_SIZE = (256, 456), (144, 256)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
APART = 1.35  # seconds between the moments whose windows are decoded alone
CPU = torch.device("cpu")
Pictures = list[Image.Image]
Shown = tuple[Tensor, Tensor, Tensor]  # before, after, sound


def make_clip(path: Path, seed: int, *, gop: int, seconds: float, size: tuple[int, int]) -> Path:
    """A texture that drifts, with grain; a tone with a bang every 0.7 seconds."""
    rng, (height, width) = np.random.default_rng(seed), size
    cells = torch.from_numpy(rng.integers(0, 256, (1, 3, height // 8 + 8, width // 8 + 44), np.uint8))
    texture = torch.nn.functional.interpolate(cells, scale_factor=8, mode="bicubic")[0].permute(1, 2, 0).numpy()
    at = np.arange(round(seconds * RATE)) / RATE
    sound = 0.1 * np.sin(2 * np.pi * (220 + 30 * at) * at) + 0.01 * rng.standard_normal(len(at))
    sound += np.exp(-(at % 0.7) / 0.02) * 0.4 * rng.standard_normal(len(at))
    samples = np.stack([sound, 0.8 * sound]).astype(np.float32).clip(-1, 1)
    with av.open(str(path), "w") as container:
        options = {"crf": "28", "preset": "veryfast", "g": str(gop), "keyint_min": str(gop), "sc_threshold": "0"}
        picture = container.add_stream("libx264", rate=FPS, options=options)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        # Noise that is kept as its loudness alone is drawn anew by each decoding: the two sides could not be compared.
        heard = container.add_stream("aac", rate=RATE, layout="stereo", options={"aac_pns": "0"})
        for number in range(round(seconds * FPS)):
            shown = texture[number % 32 :, 2 * number :][:height, :width].astype(np.int16)
            grainy = (shown + rng.integers(-6, 7, shown.shape)).clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(grainy, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        for first in range(0, samples.shape[1], 4096):
            piece = np.ascontiguousarray(samples[:, first : first + 4096])
            part = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
            part.sample_rate, part.pts, part.time_base = RATE, first, Fraction(1, RATE)
            container.mux(heard.encode(part))
        container.mux(heard.encode())
    return path


@dataclass(frozen=True, eq=False)
class Published:
    """A sample as the published data set makes it; `moment` None: it is chosen from those found again."""

    path: Path
    augment: bool = True

    def __call__(self, chance: random.Random, moment: float | None = None) -> Shown:
        with av.open(io.BytesIO(self.path.read_bytes())) as container:
            for stream in container.streams:
                if stream.codec_context is not None:
                    stream.codec_context.thread_count = 1
            found = found_again(container)
            moment = chance.choice(found) if moment is None else moment
            delta, length = SAMPLING.delta, SAMPLING.video_duration
            before = window(container, moment - delta - length, moment - delta)
            after = window(container, moment + delta, moment + delta + length)
            sound = heard(container, moment - 1, moment + 1)
        clips = [transformed(each, chance if self.augment else None) for each in (before, after)]
        return clips[0], clips[1], log_mel(sound)


def found_again(container: av.container.InputContainer) -> list[float]:
    """The moments of a file, from all of its sound."""
    pieces = [frame.to_ndarray() for frame in container.decode(audio=0)]
    samples = np.concatenate(pieces, axis=1).astype(np.float32).mean(0)
    _, times, power = spectrogram(samples, RATE)
    logs = np.log10(power + 1e-5)
    activity = ((logs - logs.mean(1, keepdims=True)) / (logs.std(1, keepdims=True) + 1e-5)).mean(0)
    peaks, _ = find_peaks(activity, distance=10, prominence=SAMPLING.prominence)
    stream = container.streams.video[0]
    end = float((stream.duration or 0) * (stream.time_base or 0)) - SAMPLING.margin
    return [float(each) for each in times[peaks] if SAMPLING.margin <= each <= end]


def window(container: av.container.InputContainer, start: float, end: float) -> Pictures:
    """The frames of a window as pictures, after a seek."""
    stream = container.streams.video[0]
    base = float(stream.time_base or 1)
    low, high = int(start / base), int(end / base)
    container.seek(max(low - 1024, 0), stream=stream)
    found: list[tuple[int, Image.Image]] = []
    for frame in container.decode(stream):
        if frame.pts is not None and low <= frame.pts <= high:
            found.append((frame.pts, frame.to_image()))
        if frame.pts is not None and frame.pts > high:
            break
    pictures = [picture for _, picture in sorted(found, key=lambda each: each[0])]
    return pictures[: SAMPLING.frames] + pictures[: max(SAMPLING.frames - len(pictures), 0)]


def heard(container: av.container.InputContainer, start: float, end: float) -> FloatArray:
    """The sound of a window, after a seek, as the mean of the channels."""
    stream = container.streams.audio[0]
    low, high = round(start * RATE), round(end * RATE)
    found = np.zeros((2, high - low), np.float32)
    container.seek(max(low - 2 * PACKET, -PACKET), stream=stream)  # the first packet is the encoder's delay
    for frame in container.decode(stream):
        at = (frame.pts or 0) - low
        if at >= high - low:
            break
        piece = frame.to_ndarray().astype(np.float32)[:, max(-at, 0) :][:, : high - low - max(at, 0)]
        found[:, max(at, 0) :][:, : piece.shape[1]] = piece
    samples: FloatArray = found.mean(axis=0)
    return samples


def transformed(pictures: Pictures, chance: random.Random | None) -> Tensor:
    """Pictures resized, cut and mirrored one at a time, through an array of float64: [3, L, S, S]."""
    width, height = pictures[0].size
    side, short = SAMPLING.size, min(width, height)
    if chance is None:
        scale, how = float(SAMPLING.min_size), Image.Resampling.NEAREST
    else:
        scale, how = chance.uniform(SAMPLING.min_size, SAMPLING.max_size), Image.Resampling.BILINEAR
    size = int(width / short * scale), int(height / short * scale)
    x, y = (round((each - side) / 2) if chance is None else chance.randint(0, each - side) for each in size)
    flip = chance is not None and chance.random() < 0.5
    gathered = np.zeros((len(pictures), side, side, 3))
    for number, picture in enumerate(pictures):
        part = picture.resize(size, how).crop((x, y, x + side, y + side))
        gathered[number] = np.asarray(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else part)
    frames = torch.from_numpy(gathered / 255).float().permute(3, 0, 1, 2)
    return (frames - torch.tensor(MEAN)[:, None, None, None]) / torch.tensor(STD)[:, None, None, None]


def log_mel(samples: FloatArray) -> Tensor:
    """[1, 125, 80]."""
    return ReplaiLogMel()(resampled(torch.from_numpy(samples), RATE, 16_000)[None])[0]


def ours(examples: MomentExamples, epoch: int = 0) -> MomentBatch:
    """A sample of each clip, as the loader and `finish` make a batch."""
    made = [examples.example(number, random_of(0, epoch, number)) for number in range(len(examples))]
    batch = [{name: each for name, each in example.items() if not name.startswith(SECONDS)} for example in made]
    return finish(default_collate(batch), sampling=examples.sampling, device=CPU)


def sources_of(folder: Path, count: int, gop: int, *, seconds: float, size: tuple[int, int]) -> list[Source]:
    """Made clips, looked up."""
    paths = [make_clip(folder / f"{gop}-{k}.mp4", k, gop=gop, seconds=seconds, size=size) for k in range(count)]
    files = files_of([Clip(path.stem, path) for path in paths], sound=True)
    return [files.sources[path] for path in paths]


def with_moments(source: Source) -> Audible:
    """A clip with its moments, as a cache has them."""
    with closing(source.open_sound()) as sound:
        found = moments(sound.alone(0.0, sound.info.end), sound.info.rate, SAMPLING.prominence).times
    end = source.info.end
    inside = found[(SAMPLING.margin <= found) & (found <= end - SAMPLING.margin)]
    return Audible(Clip(source.path.stem, source.path, 0.0, end), source, inside)


def check_same(clips: Sequence[Audible]) -> None:
    """Both ways find the same moments, and show the same of each, with nothing drawn."""
    for clip in clips:
        assert clip.moments is not None
        with av.open(str(clip.source.path)) as container:
            np.testing.assert_allclose(found_again(container), clip.moments, atol=1e-6)
        # At the end the published way hears the encoder's padding.
        heard_whole = clip.moments[clip.moments <= clip.source.info.end - SAMPLING.audio_duration / 2]
        for moment in heard_whole[:: max(len(heard_whole) // 3, 1)].tolist():
            published = Published(clip.source.path, augment=False)(random.Random(0), moment)
            alone = MomentExamples([replace(clip, moments=np.array([moment]))], SAMPLING, augment=False)
            found = ours(alone)
            for one, other, tolerance in zip(found[:3], published, (1e-5, 1e-5, 1e-3), strict=True):
                torch.testing.assert_close(one[0], other, rtol=0, atol=tolerance)


def sample_costs(clips: Sequence[Audible], rounds: int) -> list[dict[str, Cost]]:
    """A sample of each clip, both ways, in turns."""
    examples, chance = MomentExamples(clips, SAMPLING), random.Random(0)
    epochs = iter(range(rounds + 1))

    def read() -> None:
        ours(examples, next(epochs))

    def published() -> None:
        for clip in clips:
            Published(clip.source.path)(chance)

    read()  # fills what is kept between samples
    return in_turns({"ours": lambda: cost_of(read), "published": lambda: cost_of(published)}, rounds)


def window_costs(source: Source, rounds: int) -> list[dict[str, Cost]]:
    """The windows of moments, from the last to the first: each in one pass, and after a seek each."""
    last = source.info.end - SAMPLING.margin
    times = [last - APART * k for k in range(int((last - SAMPLING.margin) / APART) + 1)]
    windows = [frames_around(source, time, SAMPLING, random_of(0, 0, 0)) for time in times]

    def one_pass() -> None:
        for before, after in windows:
            list(together.frames(np.unique(np.concatenate([before, after]))))

    def two_seeks() -> None:
        for before, after in windows:  # the reader would go on from the first to the second
            list(apart.frames(np.unique(after)))
            list(apart.frames(np.unique(before)))

    tasks: dict[str, Callable[[], Cost]] = {"one": lambda: cost_of(one_pass), "two": lambda: cost_of(two_seeks)}
    with closing(source.open()) as together, closing(source.open()) as apart:
        one_pass()
        two_seeks()
        return in_turns(tasks, rounds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="two short, small clips: shows that it runs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    how = {"seconds": QUICK_SECONDS, "size": QUICK_SIZE} if options.quick else {"seconds": SECONDS_LONG, "size": SIZE}
    count, rounds = (2, 1) if options.quick else (options.clips, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        sources = sources_of(Path(folder), count, 16, **how)  # type: ignore[arg-type]  # numbers, and pairs of them
        distant = sources_of(Path(folder), 1, 160, **how)[0]  # type: ignore[arg-type]
        clips = [with_moments(source) for source in sources]
        check_same(clips)
        samples = sample_costs(clips, rounds)
        passes = {16: window_costs(sources[0], rounds), 160: window_costs(distant, rounds)}
    report_all(samples, passes, count, is_quick=options.quick, json=options.json)


def report_all(
    samples: list[dict[str, Cost]],
    passes: dict[int, list[dict[str, Cost]]],
    count: int,
    *,
    is_quick: bool,
    json: Path | None,
) -> None:
    """Prints the ratios."""
    costs = median_costs(samples)
    note = " / ".join(f"{1000 * costs[name]['cpu'] / count:.1f}" for name in ("published", "ours"))
    ratios = [
        Ratio(
            "(u) a sample, published / ours",
            median_ratio(samples, "published", "ours"),
            None if is_quick else 2.5,
            f"{note} ms, frames, sound and moments the same",
        )
    ]
    for gop, target in ((160, 1.3), (16, 0.9)):
        name = f"(u) both windows, two seeks / one pass, a key frame every {gop}"
        ratios.append(Ratio(name, median_ratio(passes[gop], "two", "one"), None if is_quick else target))
    figures = {"sample": costs, **{f"windows, {gop}": median_costs(each) for gop, each in passes.items()}}
    report("Moments of RepLAI from files of ten seconds, one thread, CPU seconds", ratios, json, figures=figures)


if __name__ == "__main__":
    main()
