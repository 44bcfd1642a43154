"""What is told of long work: a line a minute, a log that a kill does not harm, and nothing with --quiet."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import write_video
from egotools.cli import progress
from egotools.cli.log import Log, Output
from egotools.cli.main import root
from egotools.cli.progress import Progress, Standing
from tabled import write_cache
from typing_commands import typed

from egotools.errors import OutputError
from egotools.manifests.table import write_manifest
from egotools.types import Clip

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d "


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two clips, one of which cannot be read."""
    write_video(tmp_path / "a.mp4", 10)
    (tmp_path / "bad[1].mp4").write_bytes(bytes(500))
    write_manifest(tmp_path / "m.csv", [Clip("a", tmp_path / "a.mp4"), Clip("bad", tmp_path / "bad[1].mp4")])
    return tmp_path / "m.csv"


def lines_of(log: Path) -> list[str]:
    """What a log says, without the times."""
    lines = log.read_text().splitlines()
    assert all(re.match(STAMP, line) for line in lines)
    return [re.sub(STAMP, "", line) for line in lines]


def test_a_line_says_what_is_done_how_fast_and_how_long_it_will_take():
    standing = Standing("extracting", "clips", 0, 120, 340, 1000, 5000, done_before=100, rows_before=200)
    assert standing.counts() == ["340 of 1000 clips", "5000 rows"]
    assert standing.pace(now=120) == ["40 rows/s", "6 min left"]  # 4800 rows and 240 clips in 2 minutes
    assert Standing("merging", "clips", 0, 60, 30, 60).pace(now=60) == ["0.5 clips/s", "60 s left"]
    assert Standing("merging", "clips", 0, 30, 60, 60).pace(now=600) == ["2 clips/s"]  # it was over after 30 s
    assert Standing("fitting", "clips", 0, 0).pace(now=90) == ["2 min"]
    assert Standing("extracting", "clips", 0, 60, 5, 10, 7, 5, 7).pace(now=60) == []  # nothing yet of this run


@pytest.fixture
def hurried(monkeypatch):
    """Lines come at once."""
    monkeypatch.setattr(progress, "FIRST", 0.02)
    monkeypatch.setattr(progress, "EVERY", 0.02)


def test_without_a_terminal_lines_come_though_nothing_is_finished(hurried, capsys):
    with Progress() as shown:
        shown("extracting [x]\x1b", 3, 10, 40)
        deadline = time.monotonic() + 10
        while not (seen := capsys.readouterr().err) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert seen.splitlines()[0] == "extracting [x]\\x1b: 3 of 10 clips, 40 rows"
    assert "extracting [x]\\x1b: 3 of 10 clips, 40 rows in 0 s" in capsys.readouterr().err


def test_short_work_tells_nothing(capsys):
    with Progress("files") as shown:
        shown("checking", 1, 2)
        shown("checking", 2, 2)
    assert capsys.readouterr().err == ""


def everything_on(leader: int) -> str:
    """What was written to a terminal whose other end is closed; it comes in parts."""
    seen = b""
    with os.fdopen(leader, "rb", buffering=0) as file:
        while True:
            try:
                part = file.read(1 << 16)
            except OSError:  # nothing is left
                return seen.decode()
            seen += part or b""


def test_a_bar_is_shown_on_a_terminal(monkeypatch):
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(progress, "PATIENCE", 0)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        with Progress() as shown:
            shown("reading [red]x[/y]", 3, 10, 40)
            assert select.select([leader], [], [], 20)[0]  # the bar is there
            shown("reading [red]x[/y]", 6, 10, 80)
    seen = everything_on(leader)
    assert "reading [red]x[/y]" in seen
    assert "6 of 10 clips, 80 rows" in seen
    assert "rows/s" in seen


def test_a_log_has_the_command_what_was_told_failures_and_how_it_ended(tmp_path, manifest, monkeypatch, capsys):
    line = ["extract", "--log", tmp_path / "x.log", "--manifest", manifest, "--out", tmp_path / "c"]
    line += ["--workers", 1, "color"]
    assert typed(monkeypatch, *line) == 1
    first = lines_of(tmp_path / "x.log")
    assert first[0] == f"started: egotools {' '.join(map(str, line))}"
    assert first[1].startswith("egotools ")
    assert any(each.startswith("extracting: 2 of 2 clips, 1 row in ") for each in first)
    assert any(each.startswith("failed: bad: ") and "bad[1].mp4" in each for each in first)
    assert re.fullmatch(r"ended: exit status 1 after \d+\.\d s", first[-1])
    shown = capsys.readouterr()
    assert "failed: bad" in shown.err
    assert "rows; seconds by stage" in shown.err
    (tmp_path / "bad[1].mp4").unlink()
    assert typed(monkeypatch, *line[:3], "--quiet", *line[3:]) == 1
    again = lines_of(tmp_path / "x.log")
    assert again[: len(first)] == first  # appended
    assert again[len(first)].startswith("started: ")
    quiet = capsys.readouterr()
    assert "clips done" in quiet.out  # the result stays
    assert "failed: bad" in quiet.err  # so do failures
    assert "seconds by stage" not in quiet.err


def test_usage_errors_and_mistakes_in_files_are_in_the_log(tmp_path, monkeypatch, capsys):
    log = tmp_path / "x.log"
    assert typed(monkeypatch, "cache", "verify", "--log", log, "--jsn", "x") == 2
    assert typed(monkeypatch, "cache", "verify", "--log", log, tmp_path / "none.lmdb") == 1
    lines = lines_of(log)
    assert "none.lmdb: no such cache or folder" in lines[-2]
    assert lines[-1].startswith("ended: exit status 1")
    assert capsys.readouterr().err.endswith("no such cache or folder\n")


@pytest.mark.parametrize("name", ["", "none/x.log", "a.csv/x.log", "pipe"])
def test_a_log_that_cannot_be_written_is_one_line_before_the_work_starts(tmp_path, monkeypatch, capsys, name):
    write_cache(tmp_path / "x.lmdb", ["a"], np.ones((1, 3)))
    (tmp_path / "a.csv").touch()
    os.mkfifo(tmp_path / "pipe")
    log = tmp_path / name
    assert typed(monkeypatch, "cache", "convert", tmp_path / "x.lmdb", tmp_path / "y.lmdb", "--log", log) == 1
    assert not (tmp_path / "y.lmdb").exists()
    shown = capsys.readouterr().err
    assert shown.startswith(f"egotools: --log {log}: cannot be written (")
    assert shown.count("\n") == 1


def test_a_log_on_a_full_disk_does_not_end_the_work(capsys):
    log = Log(Path("/dev/full"))
    log.line("more")
    assert capsys.readouterr().err == "--log /dev/full: No space left on device; continuing without it\n"


def test_a_killed_command_leaves_what_it_has_told(tmp_path):
    log = tmp_path / "x.log"
    code = f"""
import os
from pathlib import Path
from egotools.cli.log import Log
log = Log(Path({str(log)!r}))
log.line("half\\x1b\\nway")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert lines_of(log)[-1] == "half\\x1b\\nway"


def test_an_error_that_nobody_expected_is_in_the_log_too(tmp_path, monkeypatch):
    output = Output(log=Log(tmp_path / "x.log"))

    def fail():
        try:
            raise ZeroDivisionError("of ours")
        finally:
            output.end(1)

    with pytest.raises(ZeroDivisionError):
        fail()
    lines = lines_of(tmp_path / "x.log")
    assert "ZeroDivisionError: of ours" in lines
    assert lines[-1].startswith("ended: exit status 1")


LONG = {
    "extract": "",
    "rebuild": "",
    "demo": "",
    "manifest": "check windows",
    "derive": "pool similarity",
    "train": "probe pca memorability",
    "eval": "knn probe memorability",
    "predict": "memorability",
    "cache": "verify merge convert export import",
}


def test_every_command_that_works_long_takes_log_and_quiet():
    import click

    context = click.Context(root)
    for name, below in LONG.items():
        found = root.get_command(context, name)
        commands = [found] if not below else [found.get_command(context, each) for each in below.split()]
        for command in commands:
            flags = {flag for option in command.params for flag in option.opts}
            assert {"--log", "--quiet"} <= flags, (name, command.name)


def test_a_log_that_is_no_text_of_a_path_is_named(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        Log(tmp_path)
