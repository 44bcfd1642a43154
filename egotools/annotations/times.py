"""Times as people and programs write them: seconds, clock times, time codes with frames, numbers of frames."""

import re

from egotools.annotations.events import Unit
from egotools.errors import ManifestError

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")
CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,6}):(\d{1,2}(?:\.\d+)?)")
CODE = re.compile(r"(\d{1,6}):(\d{1,2}):(\d{1,2})([:;])(\d{1,4})")
MOST = 1e9  # seconds or frames; nothing that is annotated lasts longer


def time_of(text: str, unit: Unit, *, fps: float | None, decimal_comma: bool = False) -> tuple[float, bool]:
    """A time in seconds, or a number of frames and True.

    >>> time_of("1:02:03.5", "seconds", fps=None)
    (3723.5, False)
    >>> time_of("00:00:01:05", "seconds", fps=25)
    (1.2, False)

    Args:
        text: `12.5`, `MM:SS`, `HH:MM:SS.mmm`, or `HH:MM:SS:FF` (with `;` before FF: drop-frame).
        unit: of plain numbers; clock times need none.
        fps: of time codes and frames; frames without it stay frames.
        decimal_comma: whether a comma may stand for the point of decimals.

    Raises:
        ValueError: it is no time; says why.
        ManifestError: time codes without a frame rate.
    """
    text = text.strip()
    plain = text.replace(",", ".") if decimal_comma and text.count(",") == 1 and "." not in text else text
    if unit == "milliseconds" and THOUSANDS.fullmatch(text):
        raise ValueError(f"{text!r} may be thousands or a decimal; write milliseconds without commas")
    if NUMBER.fullmatch(plain):
        return _number(float(plain), text, unit, fps)
    if code := CODE.fullmatch(text):
        return _of_code(code, fps), False
    if clock := CLOCK.fullmatch(plain):
        hours, minutes, seconds = int(clock[1] or 0), int(clock[2]), float(clock[3])
        if seconds >= 60 or (clock[1] is not None and minutes >= 60):
            raise ValueError(f"{text!r} has 60 or more {'seconds' if seconds >= 60 else 'minutes'}")
        return hours * 3600 + minutes * 60 + seconds, False
    raise ValueError(f"{text!r} is not a time" if text else "a time is missing")


def _number(value: float, text: str, unit: Unit, fps: float | None) -> tuple[float, bool]:
    if not 0 <= value <= MOST * (1000 if unit == "milliseconds" else 1):
        raise ValueError(f"{text!r} is not a time from 0 on")
    if unit == "milliseconds":
        return value / 1000, False
    if unit == "seconds":
        return value, False
    if value != int(value):
        raise ValueError(f"{text!r} is not the number of a frame")
    return (value, True) if fps is None else (value / fps, False)


def _of_code(code: re.Match[str], fps: float | None) -> float:
    """Seconds of a time code. It counts whole frames: at 29.97 frames per second 30 a second."""
    if fps is None:
        raise ManifestError(f"{code[0]!r} counts frames in its last part: give their rate with --fps")
    hours, minutes, seconds, frame = (int(code[part]) for part in (1, 2, 3, 5))
    nominal = round(fps)
    if minutes >= 60 or seconds >= 60 or frame >= nominal:
        raise ValueError(f"{code[0]!r} is not a time code at {fps:g} frames per second")
    total = hours * 60 + minutes
    dropped = nominal // 15 * (total - total // 10) if code[4] == ";" else 0  # SMPTE: of each minute but the tenth
    return ((total * 60 + seconds) * nominal + frame - dropped) / fps
