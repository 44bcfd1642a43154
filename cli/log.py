"""How a command talks: `--quiet`, and the files that keep what was said, and when: of `--log`, and `RUN.log`."""

import errno
import os
import platform
import shlex
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import click

from egotools import __version__
from egotools.errors import OutputError

from .text import visible

RUN_LOG = "RUN.log"  # beside what a command makes
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # not to wait for the reader of a pipe


class Log:
    """A file to which time-stamped lines are appended; each is with the system as soon as it is written.

    Of a log that several commands may write at once, `is_shared`, each line names the process. Such a file has a name
    of ours, so that a link in its place is refused; and it begins when its folder does, which a command that is refused
    does not make.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, *, is_shared: bool = False) -> None:
        self._path, self._is_shared = path, is_shared
        self._name = str(path) if is_shared else f"--log {path}"
        self._process = f"{platform.node()}:{os.getpid()} " if is_shared else ""
        self._file: int | None = None
        self._waiting: list[bytes] = []  # lines until there is a file
        if not is_shared or path.parent.is_dir():
            self._open()
        self.line(f"started: {shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}")
        self.line(f"egotools {__version__}, process {os.getpid()} on {platform.node()}, in {Path.cwd()}")

    def _open(self) -> None:
        try:
            self._file = os.open(self._path, _FLAGS | (os.O_NOFOLLOW if self._is_shared else 0), 0o666)
        except OSError as error:
            why = "a link" if self._is_shared and error.errno == errno.ELOOP else error.strerror
            raise OutputError(f"{self._name}: cannot be written ({why})") from error

    def is_at(self, path: Path) -> bool:
        """Whether it is this file."""
        return self._file is not None and path.exists() and os.path.samestat(os.fstat(self._file), path.stat())

    def line(self, text: str) -> None:
        """One line; a log that can no longer be written does not end the work."""
        line = f"{datetime.now().astimezone().isoformat(timespec='seconds')} {self._process}{visible(text)}\n"
        self._waiting.append(line.encode())
        try:
            if self._file is None and self._path.parent.is_dir():
                self._open()
            if self._file is not None:
                os.write(self._file, b"".join(self._waiting))
                self._waiting.clear()
        except (OSError, OutputError) as error:
            said = f"{self._name}: {error.strerror}" if isinstance(error, OSError) else str(error)
            click.echo(f"{visible(said)}; continuing without it", err=True)
            self._file = os.open(os.devnull, os.O_WRONLY)


@dataclass
class Output:
    """What the options of a command say of its output."""

    quiet: bool = False
    log: Log | None = None
    run_logs: list[Log] = field(default_factory=list)  # beside what the command makes
    began: float = field(default_factory=time.monotonic)

    @property
    def logs(self) -> list[Log]:
        """All that are kept."""
        return [*self.run_logs, *([] if self.log is None else [self.log])]

    def keep(self, text: str) -> None:
        """A line of the logs, if any is kept."""
        for log in self.logs:
            log.line(text)

    def log_into(self, folders: Iterable[Path]) -> None:
        """From now on keeps `RUN.log` in these folders. One that cannot be written does not end the work."""
        for folder in dict.fromkeys(folders):
            if self.log is not None and self.log.is_at(folder / RUN_LOG):  # --log names it: no line twice
                continue
            try:
                self.run_logs.append(Log(folder / RUN_LOG, is_shared=True))
            except OutputError as error:
                click.echo(f"{visible(error)}; continuing without it", err=True)

    def end(self, status: int) -> None:
        """The last line of the logs, after the traceback of an error that nobody expected."""
        if not self.logs:
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
