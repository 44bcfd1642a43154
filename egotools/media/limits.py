"""Limits of what is read of a file, and whatever goes wrong with it as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from egotools.errors import ClipError, EgotoolsError

MOST_PIXELS = 178_956_970  # of a frame, 537 MB as RGB; Pillow refuses larger images, too
MOST_FRAMES = 10_000_000  # of a stack, whose header can declare any number; 92 hours at 30 a second

# A file's times are numbers that a damaged header or a clock set amid the recording can make anything. What is shown
# or heard of a file is believed unless it leaves out more than a day at once, or most of the time.
LONGEST_STEP = 86400.0  # seconds from a frame, or packet of sound, to the next
ALWAYS_FINE = 86400.0  # seconds that any file may last
SECONDS_A_FRAME = 3600.0  # mean of files that last longer
SECONDS_A_PACKET = 60.0  # the same for sound


@contextmanager
def reading(path: Path, what: str = "cannot be read") -> Iterator[None]:
    """Whatever is raised while a decoder or a reader of files is at work is that file's own failure, in one line.

    Put it around calls of PyAV, Pillow and NumPy alone: errors of extractors are not to pass through it.

    Raises:
        ClipError: `path`, `what`, and what was raised.
    """
    try:
        yield
    except EgotoolsError:
        raise
    except FileNotFoundError:
        raise ClipError(f"{path}: no such file") from None
    except Exception as error:  # damaged files bring out the mistakes of decoders: any exception at all
        raise ClipError(f"{path}: {what}: {_in_words(error)}") from error


def check_size(path: Path, width: int, height: int) -> None:
    """Refuses frames that are too large to be read.

    Raises:
        ClipError: more than 179 megapixels.
    """
    if width * height > MOST_PIXELS:
        raise ClipError(f"{path}: {width}x{height} pixels, at most {MOST_PIXELS / 1e6:.0f} million can be read")


def check_times(path: Path, seconds: float, longest: float, count: int, unit: str) -> None:
    """Refuses times that cannot be: a few frames, or packets of sound, over months.

    Args:
        path: for the message.
        seconds: from the first to the end of the last.
        longest: seconds from one to the next at most.
        count: how many there are.
        unit: "frame" or "packet".

    Raises:
        ClipError: says how long the file is to last and how much of it there is.
    """
    each = SECONDS_A_FRAME if unit == "frame" else SECONDS_A_PACKET
    if longest <= LONGEST_STEP and seconds <= ALWAYS_FINE + each * count:
        return
    there = f"{count} {unit}{'' if count == 1 else 's'}{'' if unit == 'frame' else ' of sound'}"
    gap = f", with a gap of {longest:.0f} s" if longest > LONGEST_STEP else ""
    raise ClipError(f"{path}: its times are wrong: it says that it lasts {seconds:.0f} s, but it holds {there}{gap}")


def _in_words(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if said := getattr(error, "strerror", None):  # of the system, and of FFmpeg
        return str(said).rstrip(".").lower()
    text = " ".join(str(error).split())[:200].rstrip(".")
    return f"{text} ({type(error).__name__})" if text else type(error).__name__
