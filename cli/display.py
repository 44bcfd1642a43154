"""What people see (tables, remarks, failures) and what programs read (JSON on stdout).

Everything that a command prints passes here, where text of users is kept from steering the terminal.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import click

from egotools.config import plain, to_json
from egotools.errors import OutputError
from egotools.texts import named

from .log import output
from .text import exact_json, visible

if TYPE_CHECKING:
    from egotools.manifests.folders import Listing


def note(text: str) -> None:
    """A remark for the person, on stderr; not with `--quiet`."""
    output().keep(text)
    if not output().quiet:
        write(visible(text, sys.stderr), err=True)


def say_done(run: Path, is_new: bool) -> None:
    """That a run was complete before, if it was."""
    if not is_new:
        note(f"{run} is done with these options: nothing to do")


def failure(text: str, *, is_kept: bool = False) -> None:
    """What went wrong, on stderr; `is_kept`: the log has it already."""
    if not is_kept:
        output().keep(text)
    write(visible(text, sys.stderr), err=True)


def name_some(what: str, names: Sequence[str], most: int = 5, tell: Callable[[str], None] = note) -> None:
    """A remark, or with `tell` a failure, that counts and names things, if there are any."""
    if names:
        tell(f"  {what}: {len(names)} ({named(names, most)})")


def say_left_out(listing: Listing, most: int = 20) -> None:
    """What of a folder was left out, a line each, and files whose ids are not their names."""
    from egotools.manifests.folders import is_long

    name_some("refused, links that lead out of the folder", listing.refused, tell=failure)
    for line in listing.left_out[:most]:
        failure(f"  left out: {line}")
    if len(listing.left_out) > most:
        failure(f"  left out: {len(listing.left_out) - most} more")
    long = [str(item.path) for item in listing.found if is_long(item.stem)]
    name_some("paths too long for ids (400 bytes), which are shortened and end in a digest", long)


def say(text: str, **style: Any) -> None:
    """A line of a story, on stdout; Any: how click styles it."""
    output().keep(text)
    write(click.style(visible(text, sys.stdout), **style))


def show_json(value: Any) -> None:
    """A result for a program, on stdout."""
    write(exact_json(to_json(value), sys.stdout))


def show_report(content: Mapping[str, Any], kept: str = "", *, as_json: bool) -> bool:
    """A report's remarks, and what is kept of it; as JSON the report itself. Whether tables are still to be shown."""
    for remark in content["remarks"]:
        note(f"note: {remark}")
    if kept:
        note(kept)
    if as_json:
        show_json(content)
    return not as_json


def show_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str | None = None,
    first_to_go: Sequence[str] = (),
) -> None:
    """A table on stdout; numbers are aligned to the right, floats shown with four digits.

    Args:
        columns: their names.
        rows: their cells; a list or tuple is several lines of one cell.
        title: a line above.
        first_to_go: columns that are left out first where the terminal is too narrow.
    """
    from .table import render  # here, for rich is slow to load

    text, left_out = render(columns, rows, title=title, first_to_go=first_to_go)
    write(text.removesuffix("\n"))
    if left_out:
        note(f"left out, as the terminal is too narrow: {', '.join(left_out)}")


def show_mapping(values: Mapping[str, object], *, title: str | None = None) -> None:
    """Names and values, one a line, on stdout."""
    show_table(["", ""], [[name, value] for name, value in values.items()], title=title)


class Predicted(Protocol):
    """What a prediction of any method says beside its results."""

    @property
    def failed(self) -> Sequence[tuple[Path, str]]: ...  # videos, and why
    @property
    def remarks(self) -> Sequence[str]: ...


def show_predictions(
    found: Predicted, results: Sequence[Any], columns: Sequence[str], *, title: str, as_json: bool
) -> NoReturn:
    """The results of videos, dataclasses, as JSON or as a table; ends the command, with status 1 if a video failed."""
    for remark in found.remarks:
        note(f"note: {remark}")
    if as_json:
        show_json(plain(results))
    elif results:
        show_table(columns, [[str(each.path), *list(vars(each).values())[1:]] for each in results], title=title)
    for path, reason in found.failed:
        failure(f"failed: {path}: {reason}")
    click.get_current_context().exit(1 if found.failed else 0)


def write(text: str, *, err: bool = False) -> None:
    """Text as it is, and a new line. A reader who has gone away does not end the work.

    Raises:
        OutputError: stdout cannot be written, such as to a full disk.
    """
    try:
        click.echo(text, err=err)
    except OSError as error:
        stream = sys.stderr if err else sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # so that the rest goes nowhere, without errors
        if not err and error.errno != errno.EPIPE:
            raise OutputError(f"the result cannot be written to standard output: {error.strerror}") from error


def size(count: float) -> str:
    """Bytes for people."""
    amount, units = max(count, 1000 if count else 0) / 1e6, ["MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.3g} {units[0]}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
