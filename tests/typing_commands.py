"""Commands as somebody types them, run in this process."""

from __future__ import annotations

import sys

import pytest
from egotools.cli.main import main


def typed(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """The exit status of the installed command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["egotools", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code
