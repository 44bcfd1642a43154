"""TextGrids of Praat, in the long and the short text format.

Source:
    Praat's manual, "TextGrid file formats": the values in both are the same sequence of free-standing numbers, texts in
    quotes, and flags in angle brackets; everything else is comment.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from egotools.annotations.events import Annotations, Reading
from egotools.annotations.tiers import Note, add_tiers
from egotools.errors import ManifestError

TOKEN = re.compile(
    r'"((?:[^"]|"")*)"|(?<!\S)(<\w+>)(?!\S)|(?<!\S)([+-]?\d[\d.]*(?:[eE][+-]?\d+)?)(?!\S)|(?<!\S)![^\n]*'
)


def is_textgrid(text: str) -> bool:
    """Whether a text begins as objects of Praat do."""
    return bool(re.match(r'\s*(File type\s*=\s*)?"ooTextFile', text))


def read_textgrid(path: Path, text: str, options: Reading, where: str) -> Annotations:
    """Intervals with a text as segments, and points as moments.

    Raises:
        ManifestError: it is no TextGrid, is cut short, or has no such tier.
    """
    values = _values(text)
    try:
        kind, name = next(values), next(values)
        if not str(kind).startswith("ooTextFile") or name != "TextGrid":
            raise ManifestError(f"{path}: an object of Praat, but no TextGrid: {name!r}")
        notes = _notes(values, where)
    except StopIteration as error:
        raise ManifestError(f"{path}: a TextGrid that is cut short") from error
    except (ValueError, OverflowError) as error:
        raise ManifestError(f"{path}: a damaged TextGrid: {error}") from error
    if not notes:
        raise ManifestError(f"{path}: a TextGrid without any text in its tiers")
    found = Annotations(remarks=[f"{path}: a TextGrid of Praat; intervals without a text are no segments"])
    add_tiers(path, path.stem if options.video is None else options.video, notes, options.tier, found)
    return found


def _values(text: str) -> Iterator[str | float]:
    """The free-standing values, texts as `str`; flags become text as well."""
    for match in TOKEN.finditer(text):
        if match[1] is not None:
            yield match[1].replace('""', '"')
        elif match[2] is not None:
            yield match[2]
        elif match[3] is not None:
            yield float(match[3])


def _notes(values: Iterator[str | float], where: str) -> list[Note]:
    """The intervals and points.

    Raises:
        StopIteration: values are missing.
        ValueError: a value is of another kind.
    """
    _number(values), _number(values)
    if next(values) != "<exists>":
        return []
    found: list[Note] = []
    for _ in range(int(_number(values))):
        kind, tier = _text(values), _text(values)
        _number(values), _number(values)
        if kind not in ("IntervalTier", "TextTier"):
            raise ValueError(f"a tier of the kind {kind!r}")
        for number in range(1, int(_number(values)) + 1):
            start = _number(values)
            end = _number(values) if kind == "IntervalTier" else None
            text = _text(values).strip()
            place = f"{where}tier {tier!r}, {'point' if end is None else 'interval'} {number}"
            if text:
                found.append(Note(tier, start, end, {tier: text}, place))
    return found


def _number(values: Iterator[str | float]) -> float:
    value = next(values)
    if not isinstance(value, float):
        raise ValueError(f"{value!r} where a number should be")
    return value


def _text(values: Iterator[str | float]) -> str:
    value = next(values)
    if not isinstance(value, str):
        raise ValueError(f"{value:g} where a text should be")
    return value
