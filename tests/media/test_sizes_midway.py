"""Frames whose size changes midway, as in recorded calls."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from media_files import noisy, number_of, numbered, numbers, write_video

from egotools.manifests.check import measure
from egotools.media.video import Video
from egotools.stores import open_store


def joined(path: Path, parts: Sequence[Path]) -> Path:
    """The packets of videos at 30 frames a second, one after the other in one stream, set up as the first one is."""
    with av.open(str(path), "w") as target:
        stream, count = None, 0
        for part in parts:
            with av.open(str(part)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                for packet in source.demux(video):
                    if packet.size:
                        packet.pts, packet.dts, packet.duration = count, count, 1
                        packet.time_base, packet.stream = Fraction(1, 30), stream
                        target.mux(packet)
                        count += 1
    return path


def in_sizes(tmp_path: Path, sizes: Sequence[tuple[int, int]], suffix: str, codec: str, **options: str) -> Path:
    """Ten numbered frames of each size (height, width)."""
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    parts = []
    for part, (height, width) in enumerate(sizes):
        scale = (height // 64, width // 96)
        images = [numbered(10 * part + i).repeat(scale[0], 0).repeat(scale[1], 1) for i in range(10)]
        file = tmp_path / f"part{part}{suffix}"
        parts.append(write_video(file, images, codec=codec, pixels=pixels, options=options))
    return joined(tmp_path / f"clip{suffix}", parts)


SIZES = {"growing": [(64, 96), (128, 192)], "and back": [(128, 192), (64, 96), (192, 96), (128, 192)]}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "libvpx"), (".avi", "mjpeg"), (".mkv", "mjpeg")])
def test_frames_of_other_sizes_are_scaled_to_the_first_one(
    sizes: list[tuple[int, int]], suffix: str, codec: str, tmp_path: Path
) -> None:
    video = Video(in_sizes(tmp_path, sizes, suffix, codec, bf="0"))
    height, width = sizes[0]
    frames = list(video.frames(range(len(video.info))))
    assert {frame.shape for frame in frames} == {(height, width, 3)}
    scale = height // 64
    assert [number_of(frame[::scale, ::scale]) for frame in frames] == list(range(10 * len(sizes)))
    other = "{1}x{0}".format(*sizes[1])
    assert video.remarks == [
        f"the frame at 0.333 s has {other} pixels, the first one {width}x{height}; frames of other sizes are scaled to "
        "the first one's"
    ]
    assert video.damage == ""


def test_frames_of_the_first_size_are_not_touched(tmp_path: Path) -> None:
    mixed = Video(in_sizes(tmp_path, [(64, 96), (128, 192), (64, 96)], ".avi", "mjpeg"))
    first, last = Video(tmp_path / "part0.avi"), Video(tmp_path / "part2.avi")
    for part, indices in ((first, range(10)), (last, range(20, 30))):
        for frame, same in zip(mixed.frames(indices), part.frames(range(10)), strict=True):
            np.testing.assert_array_equal(frame, same)


def test_pixel_formats_may_change_midway(tmp_path: Path) -> None:
    images = noisy(4)
    kinds = ["yuvj420p", "yuvj444p", "yuvj422p", "yuvj420p"]
    parts = [write_video(tmp_path / f"{i}.avi", images, codec="mjpeg", pixels=pixels) for i, pixels in enumerate(kinds)]
    video = Video(joined(tmp_path / "clip.avi", parts))
    expected = itertools.chain.from_iterable(Video(part).frames(range(4)) for part in parts)
    for frame, same in zip(video.frames(range(16)), expected, strict=True):
        np.testing.assert_array_equal(frame, same)
    assert video.remarks == []


def test_a_recorded_call_has_all_rows_and_is_refused_if_strict(tmp_path: Path) -> None:
    parts = []
    for part, scale in enumerate((1, 2)):
        images = [numbered(30 * part + i).repeat(scale, 0).repeat(scale, 1) for i in range(30)]
        parts.append(write_video(tmp_path / f"{part}.webm", images, codec="libvpx"))
    folder = tmp_path / "calls"
    folder.mkdir()
    call = joined(folder / "call.webm", parts)
    assert numbers(Video(call), [0, 29, 30, 59]) == [0, 29, 30, 59]
    assert measure(call, decode="everything").remarks
    shutil.copy(parts[0], folder / "good.webm")
    manifest = tmp_path / "m.csv"
    assert typed("manifest", "folder", folder, "--out", manifest).exit_code == 0
    checked = typed("manifest", "check", manifest, "--json")
    assert checked.exit_code == 0
    assert checked.output.count("192x128") == 1
    extract = ("extract", "--manifest", manifest, "--workers", 1)
    result = typed(*extract, "--out", tmp_path / "c", "color", "--fps", 2)
    assert result.exit_code == 0
    assert result.stderr.count("192x128") == 1
    store = open_store(tmp_path / "c" / "color.lmdb")
    assert (len(store["call"].values), len(store["good"].values)) == (4, 2)
    result = typed(*extract, "--strict", "--out", tmp_path / "d", "color", "--fps", 2)
    assert result.exit_code == 1
    assert "failed: call: " in result.stderr
    assert list(open_store(tmp_path / "d" / "color.lmdb")) == ["good"]


def typed(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])
