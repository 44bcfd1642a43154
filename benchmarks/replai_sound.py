"""Moments of interaction from a cache and anew, and RepLAI's log-mel input in batches and one by one.

    python benchmarks/replai_sound.py [--rounds 5] [--json FILE] [--quick]

Made sound-only files of ten seconds, stereo AAC at 44.1 kHz. Anew: opened, decoded and searched, as the published code
does for each example. Log-mel: two seconds resampled from 44.1 to 16 kHz, spectra, frames and normalization, on the CPU
with one thread. What both sides give is compared too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import torch
from av.audio.stream import AudioStream
from measuring import Cost, Ratio, cost_of, in_turns, median_costs, median_ratio, report

from egotools.extractors.moments import Moments
from egotools.methods.replai.moments import read_moments
from egotools.nn.log_mel import RATE, ReplaiLogMel
from egotools.nn.resampled import resampled
from egotools.stores import Recipe, open_writer
from egotools.stores.source import Source
from egotools.types import Clip

OWN = 44100  # Hz, of the files
Found = dict[str, npt.NDArray[np.float64]]


def made(folder: Path, count: int, seconds: float) -> list[Clip]:
    """Clips of noise with a knock a second."""
    generator, clips = np.random.default_rng(0), []
    times = np.arange(int(OWN * seconds)) / OWN
    for number in range(count):
        samples = (0.005 + 0.3 * np.exp(-(times % 1) / 0.02)) * generator.normal(size=(2, len(times)))
        path = folder / f"{number}.m4a"
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("aac", rate=OWN, layout="stereo")
            assert isinstance(stream, AudioStream)
            for first in range(0, len(times), 1024):
                piece = np.ascontiguousarray(samples[:, first : first + 1024], np.float32)
                frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = OWN, first, Fraction(1, OWN)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        clips.append(Clip(str(number), path, 0.0, seconds))
    return clips


def kept(cache: Path, clips: Sequence[Clip]) -> None:
    """The cache that `egotools extract ... moments` makes of them."""
    with open_writer(cache, Recipe({"extractor": "moments", "options": {"prominence": 0.5}})) as writer:
        for clip in clips:
            writer.append(clip.id, Moments().rows(clip))
            writer.finish(clip.id, Source.of(clip))
        writer.commit()


def anew(clips: Sequence[Clip]) -> Found:
    """The moments of each clip, from its file."""
    found = {}
    for clip in clips:
        rows = Moments(prominence=1.0).rows(clip)
        times, shown = rows.times[:, 0], float(rows.values[0, 2]) if len(rows.values) else 0.0
        found[clip.id] = times[(times >= 0.6) & (times <= shown - 0.6)]
    return found


def moments_ratio(clips: Sequence[Clip], cache: Path, rounds: int) -> tuple[Ratio, dict[str, dict[str, float]]]:
    """Of an epoch's moments."""
    cached = read_moments(cache, clips).times
    for id, times in anew(clips).items():
        np.testing.assert_allclose(times, cached.get(id, np.zeros(0)))
    tasks: dict[str, Callable[[], Cost]] = {
        "anew": partial(cost_of, partial(anew, clips)),
        "cached": partial(cost_of, partial(read_moments, cache, clips)),
    }
    costs = in_turns(tasks, rounds)
    figures = median_costs(costs)
    each = {name: 1000 * figure["cpu"] / len(clips) for name, figure in figures.items()}
    note = (
        f"{each['anew']:.1f} / {each['cached']:.2f} ms a clip, {np.mean([len(at) for at in cached.values()]):.0f} each"
    )
    return Ratio("(w) moments, anew / from the cache", median_ratio(costs, "anew", "cached"), None, note), figures


def spectra_ratio(count: int, rounds: int) -> tuple[Ratio, dict[str, dict[str, float]]]:
    """Of the log-mel input of a batch."""
    samples = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (count, 2 * OWN)).astype(np.float32))
    network = ReplaiLogMel(2.0)

    def together() -> torch.Tensor:
        found: torch.Tensor = network(resampled(samples, OWN, RATE))
        return found

    def alone() -> torch.Tensor:
        return torch.cat([network(resampled(one[None], OWN, RATE)) for one in samples])

    torch.testing.assert_close(together(), alone(), rtol=1e-3, atol=2e-3)
    costs = in_turns({"alone": partial(cost_of, alone), "together": partial(cost_of, together)}, rounds)
    figures = median_costs(costs)
    each = {name: 1000 * figure["cpu"] / count for name, figure in figures.items()}
    note = f"{each['alone']:.2f} / {each['together']:.2f} ms each, {count} together"
    return Ratio("(w) log-mel, one by one / a batch", median_ratio(costs, "alone", "together"), None, note), figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="few short files: shows that it runs")
    options = parser.parse_args(arguments)
    count, seconds, batch, rounds = (2, 3.0, 4, 1) if options.quick else (16, 10.0, 64, options.rounds)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        clips = made(Path(folder), count, seconds)
        kept(Path(folder) / "moments.lmdb", clips)
        found, figures = moments_ratio(clips, Path(folder) / "moments.lmdb", rounds)
    spectra, more = spectra_ratio(batch, rounds)
    title = f"Sound of {count} clips of {seconds:g} s, and {batch} windows of 2 s"
    report(title, [found, spectra], options.json, figures={"moments": figures, "log-mel": more})


if __name__ == "__main__":
    main()
