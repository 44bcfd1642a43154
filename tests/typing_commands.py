"""Commands as somebody types them, run in this process."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import main, root

from egotools.errors import EgotoolsError

Installed = Callable[..., subprocess.CompletedProcess[str]]  # what the fixture `installed` is


def typed(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """The exit status of the installed command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["egotools", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def parse(line: str) -> None:
    """Follows a line through the commands; every option must exist."""
    words = shlex.split(line)[1:]
    command, context = root, click.Context(root, info_name="egotools")
    while words:
        if words[0] in ("--help", "--version"):
            return
        if command.name == "extract":
            return parse_chain(command, words)
        if not isinstance(command, click.Group):
            break
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, parent=context, info_name=name)
    command.make_parser(context).parse_args(list(words))


def parse_chain(group: click.Group, words: list[str]) -> None:
    """The common options, then extractors with theirs."""
    context = click.Context(group, info_name="extract")
    _, words, _ = group.make_parser(context).parse_args(list(words))
    while words:
        command = group.get_command(context, words[0])
        if "--help" in words[1:2]:
            return
        parser = command.make_parser(click.Context(command, info_name=words[0]))
        parser.allow_interspersed_args = False
        _, words, _ = parser.parse_args(words[1:])


def complaint(done: Result) -> str:
    """The one line with which a command that was invoked here has ended."""
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, EgotoolsError)
    assert "\n" not in str(done.exception)
    return str(done.exception)


def manifest_command(*arguments: object, status: int = 0) -> Result:
    """`egotools manifest`, invoked here."""
    done = CliRunner().invoke(root, ["manifest", *map(str, arguments)])
    assert done.exit_code == status, (done.output, done.exception)
    return done
