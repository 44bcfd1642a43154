"""Rows a second of an extraction by the clock, how busy the device is, and what limits: for a machine with a GPU.

    python benchmarks/extraction.py --device cuda [--json FILE] [--quick]

ResNet-50 at 2 Hz (in bf16 where the device computes it) from files of 1920x1080 and of 480x360 pixels, with the reading
workers that `egotools extract` starts. Rates are the slope between a short and a long run, so that starting costs
nothing. A stage's share is the time that it was busy by the time that it had: with both well below one, they wait for
each other.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import Ratio, cost_of

SIZES = ((1920, 1080), (480, 360))
FPS = 2.0
SECONDS = 10.0  # of a file
SHORT, LONG = 2, 8  # files of each reading worker


class Busy:
    """How much of the time the GPU computes, in percent, as its driver says ten times a second. A context manager."""

    def __enter__(self) -> Busy:
        self.percent: float | None = None
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100", "-i", "0"]
        self._process: subprocess.Popen[str] | None = None
        if (program := shutil.which("nvidia-smi")) is not None:
            self._process = subprocess.Popen([program, *query], stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.terminate()
            said = [line.strip() for line in self._process.communicate()[0].splitlines()]
            numbers = [float(line) for line in said if line.replace(".", "", 1).isdigit()]
            self.percent = sum(numbers) / len(numbers) if numbers else None


def card(device: str) -> str:
    """The name of a device."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"


def throughput(device: str, video: Path, *, is_quick: bool) -> tuple[list[Ratio], dict[str, Any]]:
    """Lines of the table, and all figures."""
    import torch
    from extraction import copies, large

    from egotools.extraction.request import Resources
    from egotools.machine import has_fast_bf16

    workers = Resources(device=device).chosen()[2]
    precision = "bf16" if has_fast_bf16(torch.device(device)) else "float32"
    ratios: list[Ratio] = []
    figures: dict[str, Any] = {"device": card(device), "workers": workers, "precision": precision}
    for size in SIZES[1:] if is_quick else SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            file = large(video, folder, size, 2.0 if is_quick else SECONDS)
            short, long = (1, 2) if is_quick else (SHORT * workers, LONG * workers)
            files = copies(file, folder, long)
            found = _measured(device, precision, folder, files, short, is_small=is_quick)
        label = f"{size[0]}x{size[1]}"
        figures[label] = found
        note = ", ".join(f"{stage} {share:.2f}" for stage, share in found["shares"].items())
        busy = "unknown" if found["busy"] is None else f"{found['busy']:.0f} %"
        ratios.append(
            Ratio(
                f"rows a second, {label}",
                found["rate"],
                None,
                f"GPU busy {busy}; shares: {note}; limit: {found['limit']}",
            )
        )
    return ratios, figures


def _measured(
    device: str, precision: str, folder: Path, files: Sequence[Path], short: int, *, is_small: bool
) -> dict[str, Any]:
    from egotools.extraction.engine import extract
    from egotools.extraction.request import CacheRequest, Extraction, Resources
    from egotools.extractors.lookup import find_extractor
    from egotools.types import Clip

    found = find_extractor("resnet18" if is_small else "resnet50")
    extractor = found.kind(**found.fixed, weights="random:0", fps=FPS)
    clips, resources = [Clip(id=path.name, path=path) for path in files], Resources(device=device)

    def run(clips: Sequence[Clip]) -> Extraction:
        cache = Path(tempfile.mkdtemp(dir=folder)) / "rows.lmdb"
        result = extract(clips, [CacheRequest(cache, extractor, found, precision)], resources=resources)  # type: ignore[arg-type]
        assert not any(result.failed.values()), result.failed
        return result

    results: list[Extraction] = []
    run(clips[:1])  # warms up
    few = cost_of(lambda: results.append(run(clips[:short])))
    with Busy() as busy:
        many = cost_of(lambda: results.append(run(clips)))
    wall, rows = (many - few).wall, results[1].rows - results[0].rows
    stages = {stage: results[1].seconds[stage] - results[0].seconds[stage] for stage in results[1].seconds}
    reading = (stages["decoding"] + stages["preparing"]) / resources.chosen()[2]  # processor seconds of all readers
    busy_seconds = {"reading": reading, "computing": stages["computing"], "writing": stages["writing"]}
    shares = {stage: seconds / wall for stage, seconds in busy_seconds.items()}
    return {
        "rate": rows / wall,
        "busy": busy.percent,
        "shares": shares,
        "limit": max(shares, key=shares.__getitem__),
        "costs": {"cpu": (many - few).cpu / rows, "wall": wall / rows},
    }
