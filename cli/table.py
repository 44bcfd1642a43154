"""Tables that fit the terminal: long text is folded, numbers are not, and columns that do not fit are named."""

import math
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .text import is_terminal, visible

PIPED = 200  # columns where there is no terminal
LEAST = 20  # columns that long text is folded to, at the least
NOTHING = {"", "-", "0"}  # cells that say little


@dataclass(frozen=True, eq=False)
class Column:
    """A column as it is shown; a cell may have several lines."""

    name: str
    cells: Sequence[str]
    is_number: bool

    @property
    def widest(self) -> int:
        """The width at which nothing is folded."""
        return max(cell_len(line) for text in (self.name, *self.cells) for line in text.split("\n"))

    @property
    def narrowest(self) -> int:
        """The width below which it would rather be left out."""
        words = max((cell_len(word) for word in self.name.split()), default=0)
        if self.is_number:
            return max(words, *(cell_len(text) for text in self.cells))
        return min(self.widest, max(words, LEAST))

    @property
    def is_blank(self) -> bool:
        return NOTHING.issuperset(self.cells)


def render(
    names: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None, first_to_go: Sequence[str]
) -> tuple[str, list[str]]:
    """A table as text for stdout, and the columns that it has no room for.

    Args:
        names: of the columns.
        rows: their cells; a list or tuple is several lines of one cell.
        title: a line above.
        first_to_go: columns that are left out before others where there is no room; then the last ones go.
    """
    encoding, paper = getattr(sys.stdout, "encoding", None) or "utf-8", BytesIO()  # not stdout, which may fail
    file = TextIOWrapper(paper, encoding, errors="backslashreplace", write_through=True)
    console = Console(file=file, width=_width(), force_terminal=is_terminal(sys.stdout))
    columns = [_column(name, [row[index] for row in rows]) for index, name in enumerate(names)]
    widths, left_out = fit(columns, console.width, first_to_go)
    table = Table(header_style="bold", show_header=any(names))
    for column, width in widths:
        table.add_column(Text(column.name), justify="right" if column.is_number else "left", width=width)
    for index in range(len(rows)):
        table.add_row(*(Text(fold(column.cells[index], width)) for column, width in widths))
    if title:
        console.print(Text(visible(title, sys.stdout), style="italic"), soft_wrap=True)
    console.print(table)
    return paper.getvalue().decode(encoding), left_out


def fit(
    columns: Sequence[Column], width: int, first_to_go: Sequence[str] = ()
) -> tuple[list[tuple[Column, int]], list[str]]:
    """The columns that `width` has room for, each with its own width, and the names of the others.

    Two columns always stay.
    """
    kept, gone = list(columns), list[Column]()
    while len(kept) > 2 and sum(column.narrowest for column in kept) > _room(kept, width):
        ranked = [column for name in first_to_go for column in kept if column.name == name]
        ranked += [column for column in reversed(kept[2:]) if column not in ranked]
        blank = (column for column in ranked if column.is_blank)
        gone.append(next(blank, ranked[0]))
        kept.remove(gone[-1])
    for column in reversed(gone):  # there may be room for one that went before a wider one
        wider = [each for each in columns if each in (*kept, column)]
        if sum(each.narrowest for each in wider) <= _room(wider, width):
            kept = wider
    widths = _shared_out(kept, _room(kept, width))
    return list(zip(kept, widths, strict=True)), [column.name for column in columns if column not in kept]


def fold(text: str, width: int) -> str:
    """`text` in lines of at most `width` columns, broken at spaces, and long words after `/`, `_`, `-` or a comma.

    >>> fold("caches/mine/efficientnet-lite0.lmdb", 20)
    'caches/mine/\\nefficientnet-\\nlite0.lmdb'
    """
    return "\n".join(folded for line in text.split("\n") for folded in _folded(line, width))


def _folded(line: str, width: int) -> list[str]:
    lines = [""]
    words = re.split(r"(?<=\s)", line)
    for piece in (part for word in words for part in (_parts(word) if cell_len(word.rstrip()) > width else [word])):
        if cell_len(lines[-1] + piece.rstrip()) <= width:
            lines[-1] += piece
        else:
            lines += chop_cells(piece, width)
    return [line.rstrip() for line in lines if line] or [""]


def _parts(word: str) -> list[str]:
    return re.split(r"(?<=[/_,-])", word)


def _room(columns: Sequence[Column], width: int) -> int:
    """What the lines between the columns leave."""
    return width - 3 * len(columns) - 1


def _shared_out(columns: Sequence[Column], room: int) -> list[int]:
    """Widths that sum to at most `room`; numbers, which need none for more than their names, are served last."""
    if sum(column.narrowest for column in columns) > room:  # two columns that are too wide even so
        return [max(min(column.widest, room // len(columns)), 1) for column in columns]
    widths = {index: column.narrowest for index, column in enumerate(columns)}
    spare = room - sum(widths.values())
    wants = {index: column.widest - column.narrowest for index, column in enumerate(columns)}
    for is_number in (False, True):
        group = sorted((index for index in wants if columns[index].is_number == is_number), key=wants.__getitem__)
        for served, index in enumerate(group):
            more = min(wants[index], spare // (len(group) - served))
            widths[index] += more
            spare -= more
    return list(widths.values())


def _column(name: str, values: Sequence[object]) -> Column:
    is_number = bool(values) and all(isinstance(value, (int, float, type(None))) for value in values)
    return Column(visible(name, sys.stdout), [cell(value) for value in values], is_number)


def cell(value: object) -> str:
    """A value as a table shows it: floats with four digits, the texts of a list or tuple in lines of their own."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "-"
    if isinstance(value, (list, tuple)) and not any(isinstance(item, (int, float)) for item in value):
        return "\n".join(visible(item, sys.stdout) for item in value)
    return visible(value, sys.stdout)


def _width() -> int:
    """What the terminal has; not what COLUMNS says, which libraries set behind our back, unless nothing is known."""
    if not is_terminal(sys.stdout):
        return PIPED
    return os.get_terminal_size(sys.stdout.fileno()).columns or shutil.get_terminal_size().columns
