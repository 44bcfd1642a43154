"""Limits on what is read of a file; turns every problem with a file into a one-line error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from egotools.errors import ClipError, EgotoolsError

MOST_PIXELS = 178_956_970  # per frame, 537 MB as RGB; Pillow has the same limit
MOST_FRAMES = 10_000_000  # of a stack, whose header can declare any number; 92 hours at 30 fps

# A damaged header, or a clock set while recording, can make a file's times arbitrary. Times are
# believed unless they skip more than a day at once, or most of the duration.
LONGEST_STEP = 86400.0  # seconds from a frame, or packet of sound, to the next
ALWAYS_FINE = 86400.0  # seconds that any file may last, however few frames it has
SECONDS_A_FRAME = 3600.0  # maximum mean for longer files
SECONDS_A_PACKET = 60.0  # likewise for sound


@contextmanager
def reading(path: Path, what: str = "cannot be read") -> Iterator[None]:
    """Turns whatever a decoder or reader raises into a one-line failure of that file.

    Use it around calls of PyAV, Pillow and NumPy only: errors of extractors must not pass through it.

    Raises:
        ClipError: with `path`, `what`, and the original message.
    """
    try:
        yield
    except EgotoolsError:
        raise
    except FileNotFoundError:
        raise ClipError(f"{path}: no such file") from None
    except Exception as error:  # damaged files trigger bugs in decoders, with any exception
        raise ClipError(f"{path}: {what}: {_in_words(error)}") from error


def check_size(path: Path, width: int, height: int) -> None:
    """Refuses frames that are too large to be read.

    Raises:
        ClipError: more than 179 megapixels.
    """
    if width * height > MOST_PIXELS:
        raise ClipError(f"{path}: {width}x{height} pixels; at most {MOST_PIXELS / 1e6:.0f} million can be read")


def check_times(path: Path, seconds: float, longest: float, count: int, unit: str) -> None:
    """Refuses impossible times: a few frames, or packets of sound, spread over months.

    Args:
        path: for the message.
        seconds: from the first to the end of the last.
        longest: the largest step in seconds.
        count: the number of frames or packets.
        unit: "frame" or "packet".

    Raises:
        ClipError: says how long the file claims to be and how much it contains.
    """
    each = SECONDS_A_FRAME if unit == "frame" else SECONDS_A_PACKET
    if longest <= LONGEST_STEP and seconds <= ALWAYS_FINE + each * count:
        return
    there = f"{count} {unit}{'' if count == 1 else 's'}{'' if unit == 'frame' else ' of sound'}"
    gap = f", with a gap of {longest:.0f} s" if longest > LONGEST_STEP else ""
    raise ClipError(f"{path}: its times are wrong: it claims to last {seconds:.0f} s, but contains {there}{gap}")


def _in_words(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than is available"
    if said := getattr(error, "strerror", None):  # from the system, or FFmpeg
        return str(said).rstrip(".").lower()
    text = " ".join(str(error).split())[:200].rstrip(".")
    return f"{text} ({type(error).__name__})" if text else type(error).__name__
