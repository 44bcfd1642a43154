"""Opening a media file: a local file only, of a known container format, every failure one clear line."""

from __future__ import annotations

import os
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Discard, Stream

from egotools.errors import ClipError

# Demuxers that read one file and nothing else. FFmpeg also knows playlists (hls, concat), devices and text art (tty),
# by which a file could name other files or addresses, or a text file pass for a video.
FORMATS = (
    "mov mp4 m4a 3gp 3g2 mj2 matroska webm avi mpegts mpeg mpegvideo flv asf ogg ivf gif nut mxf dv rm h264 hevc m4v "
    "mjpeg yuv4mpegpipe wtv wav w64 flac mp3 aac ac3 eac3 aiff au caf amr ape tta wv mp2"
)


def open_container(path: Path) -> InputContainer:
    """A media file, open for reading.

    Raises:
        ClipError: no such file, an empty one, or nothing that FFmpeg takes for a video or sound file.
    """
    if path.is_dir():
        raise ClipError(f"{path}: a folder, not a video or sound file")
    try:
        if not path.stat().st_size:
            raise ClipError(f"{path}: the file is empty")
        options = {"protocol_whitelist": "file", "format_whitelist": FORMATS.replace(" ", ",")}
        # "file:" keeps FFmpeg from reading a protocol into a name such as "concat:a|b".
        return av.open(f"file:{os.path.abspath(path)}", metadata_errors="replace", container_options=options)
    except FileNotFoundError:
        raise ClipError(f"{path}: no such file") from None
    except (av.FFmpegError, OSError) as error:
        raise ClipError(f"{path}: {_why_not(path, error)}") from error


def only(stream: Stream) -> None:
    """Makes its container read the packets of this stream alone, where the format can skip the others."""
    for other in stream.container.streams:
        other.discard = Discard.default if other.index == stream.index else Discard.all


def reason(error: Exception) -> str:
    """FFmpeg's own words, without its numbers."""
    return str(getattr(error, "strerror", None) or error).rstrip(".").lower()


def _why_not(path: Path, error: Exception) -> str:
    if not isinstance(error, av.error.InvalidDataError):
        return f"cannot be opened: {reason(error)}"
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "cannot be opened: its index (moov) is missing or damaged; the file is probably cut short"
    return "not a video or sound file, or damaged from its first bytes on"
