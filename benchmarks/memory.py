"""Peak memory of `egotools extract` at 1, 5 and 10 minutes of one video: it does not grow with the length.

    python benchmarks/memory.py [--video FILE] [--json FILE] [--quick]

The installed command, ResNet-18 at 2 Hz and color statistics of every frame, in a process of its own; memory is what
the process and its workers allocate together, without the files that are mapped (libraries, caches).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from measuring import PeakMemory, Ratio, real_clip, report

LIMIT = 1.1  # of the shortest video's peak


def long_video(source: Path, folder: Path, seconds: float) -> Path:
    """The video, or, if it is too short, one of many copies of it, one after the other."""
    import av

    from egotools.media.video import open_frames

    video = open_frames(source)
    length = video.info.end
    video.close()
    if length >= seconds - 1:
        return source
    path = folder / "long.mp4"
    with av.open(str(path), "w") as target:
        stream, shift = None, 0
        for _ in range(int(-(-seconds // length))):
            with av.open(str(source)) as part:
                stream = stream or target.add_stream_from_template(part.streams.video[0])
                ends = shift
                for packet in part.demux(part.streams.video[0]):
                    if packet.dts is not None and packet.pts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        ends = max(ends, packet.pts + (packet.duration or 1))
                        target.mux(packet)
                shift = ends
    return path


def peak(video: Path, seconds: float, folder: Path, network: list[str]) -> int:
    """Bytes, at most, of an extraction of the first `seconds`."""
    manifest = folder / "m.csv"
    manifest.write_text(f"id,path,start,end\nclip,{video.resolve()},0,{seconds}\n")
    out = folder / "caches"
    command = [Path(sys.executable).with_name("egotools"), "extract", "--manifest", manifest, "--out", out]
    process = subprocess.Popen(
        [*map(str, command), "--device", "cpu", *network, "color", "--stride", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with PeakMemory(process.pid) as memory:
        said, _ = process.communicate()
    shutil.rmtree(out, ignore_errors=True)
    if process.returncode:
        raise SystemExit(said)
    return memory.bytes


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: shows that it runs")
    options = parser.parse_args(arguments)
    lengths = (2.0, 6.0) if options.quick else (60.0, 300.0, 600.0)
    network = ["resnet18", "--weights", "random:0", "--fps", "2"]
    if options.quick:
        network += ["--resize", "64x64"]
    with tempfile.TemporaryDirectory() as name:
        source = options.video or real_clip("streams/rc_track1.mp4")
        video = long_video(source, Path(name), lengths[-1])
        peaks = {seconds: peak(video, seconds, Path(name), network) for seconds in lengths}
    first = peaks[lengths[0]]
    ratios = [
        Ratio(
            f"(g) peak memory, {seconds:g} s / {lengths[0]:g} s",
            value / first,
            None if options.quick or value is first else LIMIT,
            f"{value / 2**20:.0f} MiB",
            is_limit=True,
        )
        for seconds, value in peaks.items()
    ]
    report(f"Memory: {source.name}", ratios, options.json, bytes={f"{key:g}": value for key, value in peaks.items()})


if __name__ == "__main__":
    main()
