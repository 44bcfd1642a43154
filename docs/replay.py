"""Run a page's session on real videos, and name every line that is shown but no longer printed.

    python docs/replay.py docs/session.md VIDEOS_DIR

Each line of the page's blocks that begins with `$ ` runs in an empty folder that has a copy of VIDEOS_DIR as `videos`.
The lines shown below it must be printed in that order; `...` stands for any others. Sizes and the widths of tables may
differ; the folder is shown as /home/me.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def main(page: Path, videos: Path) -> int:
    stale = 0
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(videos, Path(folder) / "videos")
        for command, shown in session(page.read_text()):
            print(f"$ {command}", flush=True)
            printed = run(command, folder)
            for line in missing(shown, printed):
                stale += 1
                print(f"  not printed: {line}")
    print(f"{stale} stale lines")
    return min(stale, 1)


def session(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a page, each with the lines that are shown below it."""
    for block in re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            yield command, [line for line in shown if line != "..."]


def run(command: str, folder: str) -> list[str]:
    """What a command prints, without colors."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout.replace(os.path.realpath(folder), "/home/me").splitlines()


def missing(shown: list[str], printed: list[str]) -> Iterator[str]:
    """The lines of `shown` that are not in `printed`, in that order."""
    rest = [comparable(line) for line in printed]
    for line in shown:
        if comparable(line) in rest:
            rest = rest[rest.index(comparable(line)) + 1 :]
        else:
            yield line


def comparable(line: str) -> str:
    """A line without what differs from machine to machine."""
    return re.sub(r"[\d.]+ [kM]B", "SIZE", re.sub(r"([━─ ])\1*", r"\1", line))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
