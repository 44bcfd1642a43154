"""Normalizes text that people typed: invisible white space, case, and Unicode normal forms; and words for messages."""

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

SPLITS = ("train", "val", "test")  # splits with a meaning here; case is ignored
INVISIBLE = "\u200b\u2060\ufeff\u00ad"  # zero-width space, word joiner, byte order mark, soft hyphen
AT_ENDS = INVISIBLE + "\u200c\u200d\u200e\u200f"  # meaningful inside a word, so stripped only at its ends

# Controls (C0 and C1), formats (bidirectional overrides, zero widths), half surrogates, line and paragraph separators.
STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
JOINERS = "\u200c\u200d"  # formats that several scripts and many emoji are written with

_invisible = re.compile(f"[{INVISIBLE}]")
NAMED = 3  # groups of names that a remark shows


def composed(text: str) -> str:
    """A text in Unicode normal form NFC: macOS writes file names in NFD, which looks the same."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def uncomposed(texts: Iterable[str]) -> dict[str, str]:
    """Texts that are not in NFC -> their NFC form, except where that is among the texts as well."""
    there = {text for text in texts if not text.isascii()}
    return {composed(text): text for text in sorted(there) if composed(text) not in there}


def tidy(text: str) -> str:
    """A label in comparable form: no surrounding white space, single spaces, no invisible characters, in NFC.

    >>> tidy(" open\\u00a0 door ")
    'open door'
    """
    if text.isascii():
        return " ".join(text.split())
    text = " ".join(_invisible.sub("", text).split())
    return " ".join(composed(text).strip(AT_ENDS).split())


def without_steering(text: str) -> str:
    r"""A text in one line, with `\x1b` for what would steer a terminal or a page instead of being shown.

    >>> without_steering("a\x1b[2Jb\nc")
    'a\\x1b[2Jb\\nc'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(repr(char)[1:-1] if steers(char) else char for char in text)


def steers(char: str) -> bool:
    """Whether a terminal would do something at this character, or show it as nothing, instead of showing it."""
    return unicodedata.category(char) in STEERING and char not in JOINERS


def shortened(text: str, most: int) -> str:
    """A text cut to `most` bytes of UTF-8: its beginning and, if it was longer, a digest that keeps it unique."""
    whole = text.encode()
    if len(whole) <= most:
        return text
    digest = "~" + hashlib.sha256(whole).hexdigest()[:16]
    return whole[: most - len(digest)].decode(errors="ignore") + digest


def split_name(text: str) -> str:
    """The comparable name of a split: tidy, and train, val and test in lower case.

    >>> split_name("Train ")
    'train'
    """
    name = tidy(text)
    return name.lower() if name.lower() in SPLITS else name


def is_whole(text: str) -> bool:
    """Whether a text is a whole number from 0 on, of at most 18 digits, as arrays hold them."""
    return len(text) <= 18 and text.isdecimal()


def counted(number: int, what: str) -> str:
    """`1 clip`, `2 clips`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def named(names: Sequence[str], most: int, *, between: str = ", ") -> str:
    """The first names, and how many more there are.

    >>> named(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def alike(texts: Iterable[str], what: str) -> list[str]:
    """A remark on texts that differ only in case, spaces or Unicode form: "2 labels differ by ...".

    Args:
        texts: tidy and unique.
        what: what the remark calls them, in the plural.
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
    """A text without case, spaces and invisible characters."""
    return re.sub(rf"[\s{AT_ENDS}]+", "", unicodedata.normalize("NFKC", text).casefold())


def similar_names(name: str, names: Iterable[str], *, most: int = 3) -> list[str]:
    """Names that contain `name`, ignoring case and punctuation, shortest first; otherwise names spelled alike."""
    names = list(names)
    bare = _bare(name)
    containing = sorted((each for each in names if bare and bare in _bare(each)), key=lambda each: (len(each), each))
    return containing[:most] or difflib.get_close_matches(name, names, most)


def _bare(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
