"""Measures how many bytes a clip's pictures take in its file."""

from __future__ import annotations

from pathlib import Path

from egotools.errors import ClipError
from egotools.media.animation import is_animated
from egotools.media.containers import only, open_container, packets_of
from egotools.media.stills import IMAGE_SUFFIXES
from egotools.media.video import main_stream


def has_track(path: Path) -> bool:
    """Whether a file can have a video track, or is an image; frame folders and stacks are neither."""
    return not path.is_dir() and path.suffix.lower() != ".npy"


def track_bytes(path: Path, start: float = 0.0, end: float | None = None) -> int:
    """Bytes of the packets of a file's video track, without sound and container; for an image, the file's size.

    Args:
        path: a video or an image.
        start: seconds of the file from which packets count.
        end: seconds of the file up to which they count; None: to its end.

    Raises:
        ClipError: neither a video nor an image, or part of a file whose packets have no times.
    """
    if not has_track(path):
        raise ClipError(f"{path}: a frame folder or stack has no video track whose size could be measured")
    is_whole = start == 0 and end is None
    if path.suffix.lower() in IMAGE_SUFFIXES:
        if not is_whole and is_animated(path):
            raise ClipError(f"{path}: the size of a part of an animated image cannot be measured")
        return path.stat().st_size
    total = 0
    with open_container(path) as container:
        stream = main_stream(container.streams.video, path)
        only(stream)
        for packet in packets_of(container, stream):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None and not is_whole:
                raise ClipError(f"{path}: its packets have no times, so the size of a part cannot be measured")
            moment = 0.0 if stamp is None else float(stamp * packet.time_base)
            if is_whole or (moment >= start and (end is None or moment < end)):
                total += packet.size
    return total
