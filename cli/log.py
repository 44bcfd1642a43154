"""How a command talks: `--quiet`, and the file of `--log` that keeps what was said, and when."""

import os
import shlex
import sys
import time
import traceback
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import click

from egotools import __version__
from egotools.errors import OutputError

from .text import visible


class Log:
    """A file to which time-stamped lines are appended; each is with the system as soon as it is written.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:  # not to wait for the reader of a pipe
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        except OSError as error:
            raise OutputError(f"--log {path}: cannot be written ({error.strerror})") from error
        self.line(f"started: {shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}")
        self.line(f"egotools {__version__}, process {os.getpid()}, in {Path.cwd()}")

    def line(self, text: str) -> None:
        """One line; a log that can no longer be written does not end the work."""
        line = f"{datetime.now().astimezone().isoformat(timespec='seconds')} {visible(text)}\n"
        try:
            os.write(self._file, line.encode())
        except OSError as error:
            click.echo(f"--log {visible(self.path)}: {error.strerror}; continuing without it", err=True)
            self._file = os.open(os.devnull, os.O_WRONLY)


@dataclass
class Output:
    """What the options of a command say of its output."""

    quiet: bool = False
    log: Log | None = None
    began: float = field(default_factory=time.monotonic)

    def keep(self, text: str) -> None:
        """A line of the log, if one is kept."""
        if self.log is not None:
            self.log.line(text)

    def end(self, status: int) -> None:
        """The log's last line, after the traceback of an error that nobody expected."""
        if self.log is None:
            return
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, SystemExit):
            for line in traceback.format_exception(error):
                for each in line.rstrip("\n").split("\n"):
                    self.keep(each)
        self.keep(f"ended: exit status {status} after {time.monotonic() - self.began:.1f} s")


def output() -> Output:
    """That of the command that is running."""
    context = click.get_current_context(silent=True)
    return Output() if context is None else context.find_root().ensure_object(Output)
