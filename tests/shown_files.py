"""The files that a page shows: a line that ends in "`name.py`:", then the file's text in a code block."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import egotools.cli.methods
import pytest

import egotools.methods

TABLE = "cli/methods/__init__.py"


def shown_files(page: Path) -> dict[str, str]:
    """Their texts by path, in the order of the page."""
    blocks = re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return dict(blocks)


def build_in(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the method that a page shows a part of egotools: its files in `folder`, its line in the table."""
    for path, code in shown_files(page).items():
        if path == TABLE:
            for name, line in ast.literal_eval("{" + code + "}").items():
                monkeypatch.setitem(egotools.cli.methods.TRAIN, name, line)
                for package in (egotools.methods, egotools.cli.methods):
                    monkeypatch.delitem(sys.modules, f"{package.__name__}.{name}", raising=False)
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(code)
    for package, path in ((egotools.methods, "egotools/methods"), (egotools.cli.methods, "cli/methods")):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder / path)])
