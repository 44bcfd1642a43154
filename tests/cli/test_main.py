"""How the installed command ends when it is told to."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import click
import pytest
from egotools.cli.main import main, terminable

LINE = ["egotools", "manifest", "folder", "videos", "--out", "m.csv"]


def status_of_main(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> object:
    """The exit status of a command that gets a signal while it works, and once more while it ends."""

    def work(*_: object, **__: object) -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            if number == signal.SIGTERM:
                os.kill(os.getpid(), number)
            click.echo("what is finished is committed")

    monkeypatch.setattr(sys, "argv", LINE)
    monkeypatch.setattr("egotools.cli.manifest.folder.folder.callback", work)
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_command_in_one_line_after_what_it_has_to_finish(
    number: signal.Signals,
    status: int,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    try:
        assert status_of_main(monkeypatch, number) == status
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr()
    assert said.out == "what is finished is committed\n"
    assert said.err.strip() == f"egotools: {word}"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # as it was before


def test_a_sigterm_that_was_ignored_from_the_start_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_program_may_call_commands_from_a_thread() -> None:
    entered = []

    def call() -> None:
        with terminable():
            entered.append(True)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert entered == [True]
