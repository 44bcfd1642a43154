"""Limits on size and duration of media, and a context manager that turns decoder errors into one clear line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from egotools.errors import ClipError, EgotoolsError

MOST_PIXELS = 178_956_970  # of a frame, 537 MB as RGB; Pillow also refuses larger images
MOST_FRAMES = 10_000_000  # of a stack, whose header can declare any number; 92 hours at 30 a second

# A damaged header, or a clock set during the recording, can make a file's times anything. They are accepted unless more
# than a day is left out at once, or most of the time.
LONGEST_STEP = 86400.0  # seconds from a frame, or audio packet, to the next
ALWAYS_FINE = 86400.0  # seconds that any file may last
SECONDS_EACH = {"frame": 3600.0, "packet": 60.0}  # mean per frame or audio packet in files that last longer


@contextmanager
def reading(path: Path, what: str = "cannot be read") -> Iterator[None]:
    """Turns whatever a decoder or file reader raises into a `ClipError` of one line.

    Put it only around calls of PyAV, Pillow and NumPy, not around extractors.

    Raises:
        ClipError: `path`, `what`, and the reason.
    """
    try:
        yield
    except EgotoolsError:
        raise
    except FileNotFoundError:
        raise ClipError(f"{path}: no such file") from None
    except Exception as error:  # damaged files trigger bugs of decoders, so any exception
        raise ClipError(f"{path}: {what}: {_in_words(error)}") from error


def check_size(path: Path, width: int, height: int) -> None:
    """Refuses frames that are too large.

    Raises:
        ClipError: more than 179 megapixels.
    """
    if width * height > MOST_PIXELS:
        raise ClipError(f"{path}: {width}x{height} pixels; at most {MOST_PIXELS / 1e6:.0f} million can be read")


def check_times(path: Path, seconds: float, longest: float, count: int, unit: Literal["frame", "packet"]) -> None:
    """Refuses impossible times: a few frames, or audio packets, over months.

    Args:
        path: for the message.
        seconds: from the first to the end of the last.
        longest: seconds from one to the next at most.
        count: number of frames or packets.
        unit: which of them.

    Raises:
        ClipError: states the duration and the number of frames or packets.
    """
    if longest <= LONGEST_STEP and seconds <= ALWAYS_FINE + SECONDS_EACH[unit] * count:
        return
    content = f"{count} {'audio packet' if unit == 'packet' else unit}{'' if count == 1 else 's'}"
    gap = f", with a gap of {longest:.0f} s" if longest > LONGEST_STEP else ""
    raise ClipError(f"{path}: its times are wrong: it claims to last {seconds:.0f} s, but it holds {content}{gap}")


def _in_words(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory"
    if said := getattr(error, "strerror", None):  # of the system, and of FFmpeg
        return str(said).rstrip(".").lower()
    text = " ".join(str(error).split())[:200].rstrip(".")
    return f"{text} ({type(error).__name__})" if text else type(error).__name__
