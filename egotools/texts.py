"""Texts that people typed, in one form: white space nobody sees, case, and Unicode's two ways to write a letter."""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

SPLITS = ("train", "val", "test")  # splits that have a meaning here, however they are capitalized
INVISIBLE = "\u200b\u2060\ufeff\u00ad"  # zero-width space, word joiner, byte order mark, soft hyphen
AT_ENDS = INVISIBLE + "\u200c\u200d\u200e\u200f"  # inside a word these may belong to it

_invisible = re.compile(f"[{INVISIBLE}]")
NAMED = 3  # pairs that a remark names


def composed(text: str) -> str:
    """A text in Unicode's form NFC: macOS writes file names in another (NFD), which looks the same."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def uncomposed(texts: Iterable[str]) -> dict[str, str]:
    """The texts that are not composed, by what they would be, unless that is among the texts as well."""
    there = {text for text in texts if not text.isascii()}
    return {composed(text): text for text in sorted(there) if composed(text) not in there}


def tidy(text: str) -> str:
    """A label as it is compared: without white space around it, single spaces inside, nothing invisible, in NFC.

    >>> tidy(" open\\u00a0 door ")
    'open door'
    """
    if text.isascii():
        return " ".join(text.split())
    text = " ".join(_invisible.sub("", text).split())
    return " ".join(composed(text).strip(AT_ENDS).split())


def shortened(text: str, most: int) -> str:
    """A text of `most` bytes of UTF-8: its beginning and, if there is more, a digest that tells it from others."""
    whole = text.encode()
    if len(whole) <= most:
        return text
    digest = "~" + hashlib.sha256(whole).hexdigest()[:16]
    return whole[: most - len(digest)].decode(errors="ignore") + digest


def split_name(text: str) -> str:
    """The name of a split as it is compared: tidy, and train, val and test in lower case.

    >>> split_name("Train ")
    'train'
    """
    name = tidy(text)
    return name.lower() if name.lower() in SPLITS else name


def named(names: Sequence[str], most: int, *, between: str = ", ") -> str:
    """The first names, and how many more there are.

    >>> named(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def alike(texts: Iterable[str], what: str) -> list[str]:
    """A remark on different texts that only case, spaces or Unicode form tell apart: "2 labels differ by ...".

    Args:
        texts: tidy ones, each once.
        what: they are called in the remark, in the plural.
    """
    sets: dict[str, list[str]] = {}
    for text in sorted(texts):
        sets.setdefault(_folded(text) or text, []).append(text)
    sets = {folded: found for folded, found in sets.items() if len(found) > 1}
    if not sets:
        return []
    count = sum(map(len, sets.values()))
    is_case = all(len({text.casefold() for text in found}) == 1 for found in sets.values())
    shown = named([", ".join(map(repr, found)) for found in sets.values()], NAMED, between="; ")
    differ = "case only" if is_case else "case, spaces or Unicode form only"
    return [f"{count} {what} differ by {differ}: {shown}"]


def _folded(text: str) -> str:
    """What is left of a text once case, spaces and what nobody sees do not count."""
    return re.sub(rf"[\s{AT_ENDS}]+", "", unicodedata.normalize("NFKC", text).casefold())


def similar_names(name: str, names: Iterable[str], *, most: int = 3) -> list[str]:
    """Names that contain `name` whatever its case and signs, the shortest first; else those that are spelled alike."""
    names = list(names)
    bare = _bare(name)
    containing = sorted((each for each in names if bare and bare in _bare(each)), key=lambda each: (len(each), each))
    return containing[:most] or difflib.get_close_matches(name, names, most)


def _bare(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
