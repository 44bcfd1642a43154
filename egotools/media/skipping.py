"""Skipping of frames that no window needs and no other frame refers to; the needed ones decode to the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from egotools.media.frame_index import FrameIndex
from egotools.types import IntArray

# Decoders that check `skip_frame` before each picture, in formats where a picture states that no other refers to it.
# Those of AV1 and VP9 skip nothing; a picture that VP8 skips may still change how later ones are read.
EXACT = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"}

# Decoders that ignore damage which another library detects: their frames keep the data.
CARELESS = {"mjpeg"}

HEVC_VPS, HEVC_SPS = 32, 33  # types of the parameter sets that state the number of temporal layers


@dataclass(frozen=True)
class NeededFrames:
    """Labels of the frames that a caller needs, in ascending order."""

    labels: frozenset[int] = frozenset()
    last: float = float("-inf")

    @classmethod
    def of(cls, labels: IntArray) -> NeededFrames:
        """Those labels; if there are none, every frame is decoded."""
        return cls(frozenset(labels.tolist()), int(labels[-1])) if len(labels) else cls()

    def needs(self, label: int | None) -> bool:
        """Whether a frame must be decoded. Frames after the last one must: a later call may well ask for them."""
        return label is not None and (label >= self.last or label in self.labels)


class Skipping:
    """Labels the packets and frames of one video, and lets its decoder skip packets that are not needed.

    Labels ascend in display order: timestamps, or indices where timestamps do not identify frames.
    """

    def __init__(self, index: FrameIndex) -> None:
        self.needed = NeededFrames()
        self.has_skipped = False  # since decoding began, at the file's beginning or at a key frame
        self._is_off = False
        self.is_stamped = index.pts is not None
        self._whole = index.whole
        packets = index.packets  # of frames that are identified by the packets that they came from
        self._shown = None if packets is None else {packet: label for label, packet in enumerate(packets.tolist())}

    def stop(self) -> None:
        """Decodes every frame from now on."""
        self._is_off = True

    def fed(self, packets: Iterator[Packet[Stream]], stream: VideoStream) -> Iterator[Packet[Stream]]:
        """The packets that are not broken, each after the decoder is set to skip or decode it.

        Where timestamps do not identify frames, they start at the file's beginning.
        """
        self.has_skipped = False
        decoder, may_skip, is_needed = stream.codec_context, is_exact(stream.codec_context), True
        stands_alone = self.is_stamped and decoder.codec.intra_only
        # Where B frames are packed with others (DivX, Xvid) the second of two is lost if the first is skipped.
        is_mpeg4, keeps_data = decoder.name == "mpeg4", decoder.name in CARELESS
        is_skipping, decoder.skip_frame = False, "DEFAULT"
        for number, packet in enumerate(packets):
            label = None
            if self.is_stamped:
                is_needed = packet.pts is None or self.needed.needs(packet.pts)
            elif self._shown is not None:
                label, following = self._shown.get(number), self._shown.get(number + 1)
                packet.opaque = [label]  # its own object: PyAV distinguishes them by address
                if label is not None:  # else it may be the second field of the one before it
                    is_needed = self.needed.needs(label) or (is_mpeg4 and self.needed.needs(following))
            if keeps_data and is_needed:
                packet.opaque = [label, bytes(packet)]
            if packet.is_corrupt and number not in self._whole:
                continue
            skipped = (may_skip or stands_alone) and not is_needed and not self._is_off
            if skipped and stands_alone:
                self.has_skipped = True
                continue
            if skipped != is_skipping:
                decoder.skip_frame = "NONREF" if skipped else "DEFAULT"
                is_skipping = skipped
            self.has_skipped = self.has_skipped or skipped
            yield packet
        decoder.skip_frame = "DEFAULT"

    def labelled(self, frames: Iterator[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        """The frames that have a label, with it."""
        for number, frame in enumerate(frames):
            source = frame.opaque if self._shown is not None else [number]
            label = frame.pts if self.is_stamped else source[0] if isinstance(source, list) else None
            if isinstance(label, int):
                yield label, frame

    def is_doubtful(self, frame: VideoFrame) -> bool:
        """Whether a frame may lack a part that was skipped: a field with its own packet and timestamp."""
        return self.is_stamped and self.has_skipped and bool(frame.interlaced_frame)


def keep_labels(stream: VideoStream) -> None:
    """Makes a decoder pass what is attached to a packet on to its frame; call it before decoding."""
    stream.codec_context.copy_opaque = stream.codec_context.name in EXACT | CARELESS


def data_of(frame: VideoFrame) -> bytes:
    """The packet that a frame came from, if its decoder is careless; else nothing."""
    source = frame.opaque
    return source[1] if isinstance(source, list) and len(source) > 1 else b""


def is_exact(decoder: VideoCodecContext) -> bool:
    """Whether a decoder skips only pictures that no other refers to."""
    # HEVC pictures state that none of their own layer refers to them; those of a higher layer may.
    return decoder.name in EXACT and (decoder.name != "hevc" or _layers(decoder.extradata or b"") == 1)


def _layers(extradata: bytes) -> int:
    """How many temporal layers an HEVC stream has, by its parameter sets; 0 if they do not say."""
    units = _units_of_record(extradata) if extradata[:1] == b"\1" else extradata.split(b"\0\0\1")
    found = 0
    for unit in units:
        if len(unit) > 3 and (unit[0] >> 1 & 63) in (HEVC_VPS, HEVC_SPS) and not (unit[0] & 1 or unit[1] >> 3):
            found = max(found, (unit[3 if unit[0] >> 1 & 63 == HEVC_VPS else 2] >> 1 & 7) + 1)
    return found


def _units_of_record(record: bytes) -> Iterator[bytes]:
    """The parameter sets of an `hvcC` box: arrays of units, each preceded by its length in two bytes."""
    at = 23
    for _ in range(record[22] if len(record) > 22 else 0):
        units, at = int.from_bytes(record[at + 1 : at + 3], "big"), at + 3
        for _ in range(units):
            size = int.from_bytes(record[at : at + 2], "big")
            yield record[at + 2 : at + 2 + size]
            at += 2 + size
