"""What CONTRIBUTING.md shows works as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from egotools.stores import open_store

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


@pytest.mark.usefixtures("tiny_video")
def test_the_extractor_in_one_file_runs(tmp_path):
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert code is not None
    (tmp_path / "brightness.py").write_text(code[1])
    line = re.search(r"^egotools (extract .* brightness\.py:.*)$", TEXT, re.MULTILINE)
    assert line is not None
    egotools = shutil.which("egotools", path=Path(sys.executable).parent)
    assert egotools is not None
    for arguments in (["manifest", "folder", ".", "--out", "m.csv"], line[1].split()):
        subprocess.run([egotools, *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    rows = open_store(tmp_path / "caches/mine/brightness.lmdb")["tiny"]
    frames = [20 + 3 * index for index in (2, 7, 12, 17)]  # grey levels in the middle of each half second
    assert rows.values[:, 0] * 255 == pytest.approx(frames, abs=8)  # a small bright square moves over the grey


def test_every_part_of_make_test_that_is_named_is_a_target():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)`", TEXT):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
