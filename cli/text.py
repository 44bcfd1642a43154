"""Text of users as a terminal may be sent it: nothing that steers it, nothing that its encoding lacks."""

from typing import TextIO

from egotools.texts import steers, without_steering


def visible(text: object, file: TextIO | None = None) -> str:
    r"""`text` in one line, with `\x1b` for what would steer a terminal or what the encoding of `file` lacks.

    >>> visible("a\x1b[2Jb\nc")
    'a\\x1b[2Jb\\nc'
    """
    shown = without_steering(str(text))
    encoding = getattr(file, "encoding", None) or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def is_terminal(file: TextIO | None) -> bool:
    """Whether people look at `file`; None: a stream that the shell closed."""
    return file is not None and file.isatty()


def exact_json(text: str, file: TextIO | None = None) -> str:
    r"""JSON that reads back as the same, with `\u009b` for what would steer a terminal or what the encoding lacks."""
    if text.isascii() and "\x7f" not in text:
        return text
    encoding = getattr(file, "encoding", None) or "utf-8"
    return "".join(char if char == "\n" or _is_plain(char, encoding) else _json_escape(char) for char in text)


def _is_plain(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return not steers(char)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
