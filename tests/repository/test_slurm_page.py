"""The job array that the page on SLURM shows, with a stand-in for `srun` and for `egotools`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from typing_commands import parse

PAGE = (Path(__file__).parents[2] / "docs/slurm.md").read_text()
SCRIPT = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]
EGOTOOLS = """#!/bin/sh
while [ "$1" != --out ]; do shift; done
echo rows >> "$2/resnet50.lmdb"
echo id > "$2/resnet50.lmdb.failed.csv"
touch "$2/resnet50.lmdb-lock" begun
[ "$1" = "$SLOW" ] && { trap 'kill $!; exit 143' TERM; sleep 60 & wait; }
exit 1
"""


@pytest.fixture
def task(tmp_path: Path) -> list[str]:
    """The script of the page, where its commands are stand-ins: the one of egotools adds a line to its cache."""
    for name, text in (("srun", '#!/bin/sh\nexec "$@"\n'), ("egotools", EGOTOOLS)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "extract.sh").write_text(SCRIPT)
    (tmp_path / "local").mkdir()
    return ["bash", str(tmp_path / "extract.sh")]


def surroundings(folder: Path, **more: str) -> dict[str, str]:
    own = {"SLURM_ARRAY_TASK_ID": "3", "TMPDIR": str(folder / "local"), "PATH": f"{folder}:{os.environ['PATH']}"}
    return {**os.environ, **own, **more}


def kept(folder: Path) -> dict[str, int]:
    """The lines of each file of the shard."""
    return {path.name: len(path.read_text().splitlines()) for path in (folder / "shards/3").iterdir()}


def test_the_commands_of_the_page_can_be_typed():
    code = PAGE.replace("\\\n", " ").replace("$SLURM_ARRAY_TASK_ID/$shards", "3/64")
    lines = re.findall(r"(?:srun |-- +|--wrap ')(egotools [^\n']*)", code)
    assert len(lines) == 3
    for line in lines:
        parse(line)


def test_a_task_resumes_from_what_is_kept_and_keeps_its_files_and_its_status(tmp_path, task):
    for times in (1, 2):
        done = subprocess.run(
            task, cwd=tmp_path, env=surroundings(tmp_path), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (1, "")
        assert kept(tmp_path) == {"resnet50.lmdb": times, "resnet50.lmdb.failed.csv": 1}
        assert not list((tmp_path / "local").iterdir())


def test_a_task_that_is_ended_keeps_what_is_finished(tmp_path, task):
    running = subprocess.Popen(task, cwd=tmp_path, env=surroundings(tmp_path, SLOW="--out"), start_new_session=True)
    end = time.monotonic() + 20
    while not (tmp_path / "begun").exists() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.2)  # until the stand-in waits
    os.killpg(running.pid, signal.SIGTERM)  # to the shell as well
    assert running.wait(20) == 143
    assert kept(tmp_path) == {"resnet50.lmdb": 1, "resnet50.lmdb.failed.csv": 1}
    assert not list((tmp_path / "local").iterdir())
