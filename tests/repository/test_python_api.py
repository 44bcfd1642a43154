"""The script of docs/python.md runs as it stands, and the rendered docstrings open with functions that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from conftest import write_video
from shown_files import shown_files

import egotools

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.integration
def test_the_script_of_the_page_runs(tmp_path):
    for index, name in enumerate(("cooking/soup", "cooking/rice", "walking/park", "walking/home")):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / f"videos/{name}.mp4", 10, first=20 * index)
    ((name, code),) = shown_files(REPOSITORY / "docs/python.md").items()
    (tmp_path / name).write_text(code)
    done = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *clips, evaluated = done.stdout.splitlines()
    names = ("cooking/rice", "cooking/soup", "walking/home", "walking/park")
    assert sorted(clips) == [f"{name} (2, 30)" for name in names]
    assert re.match(r"accuracy (0\.\d+|1\.0)\b", evaluated)


def test_the_first_page_of_the_docstrings_leads_to_what_exists():
    names = re.findall(r"`(egotools\.[\w.]+)`", egotools.__doc__ or "")
    assert len(names) > 10
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute) or import_module(name), name


def test_every_module_says_what_it_is_for():
    for path in (REPOSITORY / "egotools").rglob("*.py"):
        assert path.read_text().startswith('"""'), path
