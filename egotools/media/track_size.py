"""How many bytes the pictures of a clip take in its file."""

from pathlib import Path

from egotools.errors import ClipError
from egotools.media.animation import is_animated
from egotools.media.containers import only, open_stream, packets_of
from egotools.media.stills import IMAGE_SUFFIXES
from egotools.media.video import main_stream


def has_track(path: Path) -> bool:
    """Whether a path is a video or an image, not a frame folder or stack."""
    return not path.is_dir() and path.suffix.lower() != ".npy"


def track_bytes(path: Path, start: float = 0.0, end: float | None = None) -> int:
    """Bytes of the packets of a video's picture track, without sound and container; for an image, those of its file.

    Args:
        path: a video or an image.
        start: seconds of the file from which packets count.
        end: seconds of the file up to which packets count; None: to its end.

    Raises:
        ClipError: neither a video nor an image, or a part of a file whose packets have no timestamps.
    """
    if not has_track(path):
        raise ClipError(f"{path}: a frame folder or stack has no video track to measure")
    is_whole = start == 0 and end is None
    if path.suffix.lower() in IMAGE_SUFFIXES:
        if not is_whole and is_animated(path):
            raise ClipError(f"{path}: an animated image; the size of a part of it is unknown")
        return path.stat().st_size
    total = 0
    container, stream = open_stream(path, main_stream)
    with container:
        only(stream)
        for packet in packets_of(container, stream):
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is None and not is_whole:
                raise ClipError(f"{path}: its packets have no timestamps; the size of a part of it is unknown")
            moment = 0.0 if stamp is None else float(stamp * packet.time_base)
            if is_whole or (moment >= start and (end is None or moment < end)):
                total += packet.size
    return total
