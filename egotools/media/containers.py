"""Opening, demuxing and decoding of local media files by FFmpeg; every failure is one clear line."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.frame import VideoFrame

from egotools.errors import ClipError
from egotools.files.disk import open_file
from egotools.media.limits import MOST_PIXELS, reading

# Demuxers that read one file and nothing else. With FFmpeg's playlists (hls, concat), devices and text art (tty), a
# file could refer to other files or addresses, or a text file could pass for a video.
FORMATS = (
    "mov mp4 m4a 3gp 3g2 mj2 matroska webm avi mpegts mpeg mpegvideo flv asf ogg ivf gif nut mxf dv rm h264 hevc m4v "
    "mjpeg yuv4mpegpipe obu wtv wav w64 flac mp3 aac ac3 eac3 aiff au caf amr ape tta wv mp2"
)

# Options of every decoder. FFmpeg refuses larger frames before it allocates memory for them.
LIMITS = {"max_pixels": str(MOST_PIXELS), "max_samples": str(1 << 22)}

# By decoder, what it treats as an error instead of concealing it, where that refuses no good file: damaged codes of
# Motion JPEG, and checksums of formats that have any. H.264, MPEG-1, 2 and 4 and similar codecs mark concealed pictures
# anyway; "explode" stops them at gradually refreshed frames.
STRICT = {"mjpeg": "explode"} | dict.fromkeys(("hevc", "flac", "ac3", "eac3", "tta", "wavpack"), "crccheck+explode")

# Opening reads and decodes pictures of every stream to find out about it, which takes most of its time; with these the
# headers must do.
HEADERS_ONLY = {"skip_frame": "all"}, {"analyzeduration": "1", "fpsprobesize": "0"}

NO_INDEX = "cannot be opened: its index (moov) is missing or damaged; the file is probably truncated"

F = TypeVar("F")
S = TypeVar("S", bound=Stream)


class Decoder(Protocol[F]):
    """A video or audio stream."""

    def decode(self, packet: Packet[Stream] | None = None) -> list[F]:
        """The frames that a packet completes; for None, those still held back."""


def open_container(path: Path, part: tuple[int, int] | None = None, *, headers_only: bool = False) -> InputContainer:
    """A media file, open for reading; frames larger than the limits are not decoded.

    Args:
        path: a file.
        part: the first byte and the last + 1 that are read, of several files that were joined; None: all.
        headers_only: no packet is read, which is faster: for a file that is known, whose headers suffice.

    Raises:
        ClipError: a missing, irregular or empty file, or not a video or sound file.
    """
    if os.path.isdir(path):
        raise ClipError(f"{path}: a folder, not a video or sound file")
    with reading(path, "cannot be opened"):
        with open_file(path) as file:
            head = file.read(12)
        if not head:
            raise ClipError(f"{path}: the file is empty")
        # Clocks that wrap are unrolled by egotools.media.clock: FFmpeg would make earlier timestamps negative.
        options = {
            "protocol_whitelist": "file",
            "format_whitelist": FORMATS.replace(" ", ","),
            "correct_ts_overflow": "0",
        }
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            # As from a pipe, from chunk to chunk: a crashed recorder leaves the index unfinished, and it is of no use
            # here, since frames are counted from the first.
            options["seekable"] = "0"
        try:
            # "file:" keeps FFmpeg from seeing a protocol in a name such as "concat:a|b".
            address = f"file:{os.path.abspath(path)}"
            if part is not None:
                address = f"subfile,,start,{part[0]},end,{part[1]},,:{address}"
                options["protocol_whitelist"] = "file,subfile"
            container = _opened(address, options, headers_only=headers_only)
        except (av.error.InvalidDataError, av.error.ArgumentError, av.error.PermissionError) as error:
            # ArgumentError: not in FORMATS. PermissionError: FFmpeg's "-1", since the file could be opened above.
            raise ClipError(f"{path}: {_why_not(head)}") from error
        if not len(container.streams):
            container.close()
            raise ClipError(f"{path}: {NO_INDEX}")
        for stream in container.streams:
            if stream.codec_context is not None:
                errors = STRICT.get(stream.codec_context.name)
                stream.codec_context.options = LIMITS | ({"err_detect": errors} if errors else {})
                stream.codec_context.thread_count = 1
    return container


def stated_seconds(path: Path) -> float | None:
    """The duration that a media file's header states or implies; None if it does not. Decodes nothing.

    Raises:
        ClipError: it cannot be opened.
    """
    with open_container(path) as container:
        return None if container.duration is None else container.duration / av.time_base


def open_stream(
    path: Path,
    choose: Callable[[InputContainer, Path], S],
    part: tuple[int, int] | None = None,
    *,
    headers_only: bool = False,
) -> tuple[InputContainer, S]:
    """As `open_container`, with the chosen stream; closed again if that raises a `ClipError`."""
    container = open_container(path, part, headers_only=headers_only)
    try:
        return container, choose(container, path)
    except ClipError:
        container.close()
        raise


class Ratio(Protocol):
    """A fraction of the standard library, or of PyAV 19, whose products are rounded to 32 bits."""

    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


def exact(ratio: Ratio) -> Fraction:
    """The same number, with exact arithmetic."""
    return Fraction(ratio.numerator, ratio.denominator)


def default_stream(streams: Sequence[S]) -> S:
    """The stream that players choose: the first that is marked as default, else the first."""
    return next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])


def only(stream: Stream) -> None:
    """Makes the container read only the packets of this stream, if the format can skip the others."""
    for other in stream.container.streams:
        other.discard = Discard.default if other.index == stream.index else Discard.all


def decoded(
    packets: Iterator[Packet[Stream]],
    stream: Decoder[F],
    path: Path,
    *,
    leading: int | None = None,
    parts: bool = False,
    alone: bool = False,
) -> Generator[F, None, None]:
    """The frames of one stream's packets, of video in display order, including those that the decoder holds back.

    Args:
        packets: of the stream, from the container's beginning or from a key frame on.
        stream: the stream.
        path: of the container, for messages.
        leading: a timestamp: packets shown earlier may fail, such as pictures that follow a key frame in the file but
            precede it on screen. None: whatever precedes the first frame may fail.
        parts: whether incomplete packets are decoded, to incomplete pictures.
        alone: whether no picture refers to another: then those that cannot be decoded are left out, and damaged ones
            are returned.

    Raises:
        ClipError: with its time, a packet that cannot be decoded, or a damaged picture, to which later ones
            might refer; or no packet can be decoded.
    """
    begun, lost, why = False, False, ""
    latest: Packet[Stream] | None = None
    packets = (packet for packet in packets if parts or not packet.is_corrupt)
    for packet in chain(packets, [None]):  # None: the frames that the decoder still holds
        latest = packet or latest
        try:
            frames = stream.decode(packet)
        except av.FFmpegError as error:
            early = not begun if leading is None else packet is not None and (packet.pts or 0) < leading
            why = _why(error)
            if early or alone:
                continue
            raise ClipError(f"{path}: decoding fails {_moment(packet, latest)}: {why}") from error
        for frame in frames:
            if isinstance(frame, VideoFrame) and not alone:
                if frame.is_corrupt:
                    early = not begun if leading is None else (frame.pts or 0) < leading
                    if not early:
                        raise ClipError(f"{path}: the frame {_moment(frame, latest)} is damaged")
                    lost = leading is None
                    continue
                if lost and not frame.key_frame:  # may refer to the damaged one
                    continue
            begun, lost = True, False
            yield frame
    if why and not begun and leading is None:
        raise ClipError(f"{path}: none of it can be decoded: {why}")


def packets_of(container: InputContainer, *streams: Stream) -> Iterator[Packet[Stream]]:
    """The packets in the file's order, up to its end or to where it is truncated; of all streams if none is given.

    Streams that begin in the middle of the file, such as captions in FLV, are skipped.
    """
    before, count = -1, 0
    while count > before:
        before = count
        try:
            for packet in container.demux(*streams):
                if packet.size:  # PyAV ends with an empty one per stream
                    count += 1
                    yield packet
            return
        except IndexError:  # at such a stream, which PyAV does not know; the packets after it can still be read
            continue
        except av.FFmpegError:
            return  # the container's own index reveals what is missing


def reason(error: Exception) -> str:
    """FFmpeg's error message without its number."""
    return str(getattr(error, "strerror", None) or error).rstrip(".").lower()


def _opened(address: str, options: dict[str, str], *, headers_only: bool) -> InputContainer:
    """Open for reading, whatever the encoding of the file's metadata, which is ignored."""
    lenient: dict[str, Any] = {"metadata_errors": "replace"}  # Any: an argument that PyAV has up to version 18 only
    probing, more = HEADERS_ONLY if headers_only else ({}, {})
    of_streams, of_file = LIMITS | probing, options | more
    try:
        container: InputContainer = av.open(address, options=of_streams, container_options=of_file, **lenient)
        return container
    except TypeError:  # PyAV 19 has no such argument, and is lenient
        return av.open(address, options=of_streams, container_options=of_file)


def _why_not(head: bytes) -> str:
    if head[:4] in (b"RF64", b"FORM", b".snd"):
        return "its header is damaged, or leaves the length open in a way that FFmpeg does not read: convert it again"
    return NO_INDEX if head[4:8] == b"ftyp" else "not a video or sound file, or damaged from its first bytes on"


def _why(error: av.FFmpegError) -> str:
    """Why decoding fails; FFmpeg reports frames beyond its limits like other invalid arguments."""
    too_large = f", or a frame of more than {MOST_PIXELS / 1e6:.0f} million pixels"
    return reason(error) + (too_large if isinstance(error, av.error.ArgumentError) else "")


def _moment(part: Packet[Stream] | VideoFrame | None, latest: Packet[Stream] | None) -> str:
    """When a packet or frame is shown, in words, in the ticks of the latest packet."""
    if part is None:
        return "at the end of the file"
    stamp = part.dts if part.pts is None else part.pts
    if stamp is None or latest is None:
        return "at an unknown time"
    return f"at {float(stamp * exact(latest.time_base)):.3f} s"
