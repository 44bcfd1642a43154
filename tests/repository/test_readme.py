"""What the README shows runs as it stands, and a registry's page has no link into a clone."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from conftest import write_video
from PIL import Image
from typing_commands import typed

import egotools

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
LINK = re.compile(r"\]\((?!https://)([^)#]*)(?:#([^)]*))?\)")


def block(language: str) -> str:
    """The first code block of the README in this language."""
    found = re.search(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which somebody has typed the README's three commands."""
    folder = tmp_path_factory.mktemp("reader")
    for index, name in enumerate(("cooking/soup", "cooking/rice", "walking/park", "walking/home")):
        (folder / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(folder / f"videos/{name}.mp4", 10, first=20 * index)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        commands = block("").splitlines()
        assert len(commands) == 3
        for command in commands:
            assert typed(monkeypatch, *shlex.split(command)[1:]) == 0, command
    return folder


def test_the_commands_and_the_python_of_the_readme_run(reader, monkeypatch, capsys):
    monkeypatch.chdir(reader)
    names: dict[str, object] = {}
    exec(block("python"), names)
    assert capsys.readouterr().out.startswith("(4, 1310) ['cooking' ")
    assert names["rows"].values.shape == (2, 30)
    assert names["rows"].times.shape == (2, 2)


def test_the_python_of_the_readme_is_at_most_five_lines():
    assert len([line for line in block("python").splitlines() if line]) <= 5


def test_the_picture_of_the_readme_can_be_drawn_again(reader, monkeypatch):
    monkeypatch.chdir(reader)
    out = reader / "moments.png"
    monkeypatch.setattr(sys, "argv", ["moments.py", "m.csv", "caches/color.lmdb", str(out), "walking/park"])
    runpy.run_path(str(REPOSITORY / "docs/images/moments.py"), run_name="__main__")
    with Image.open(out) as picture:  # the query and the three other videos
        assert picture.size == (840, 225)


def test_pictures_are_small():
    assert all(path.stat().st_size < 150_000 for path in (REPOSITORY / "docs").rglob("*.png"))


def test_the_description_for_a_registry_links_to_nothing_in_a_clone():
    described = runpy.run_path(str(REPOSITORY / "setup.py"))["standalone"](README)
    assert LINK.search(README)
    assert not LINK.search(described)
    assert "![" not in described
    assert "CITATION.cff" in described
    assert "A longer session (`docs/session.md`)" in described
    assert "[PyAV](https://pyav.org)" in described
    assert block("python") in described


def test_the_citation_names_this_version_and_the_authors():
    lines = (REPOSITORY / "CITATION.cff").read_text().splitlines()
    assert "cff-version: 1.2.0" in lines
    assert f"version: {egotools.__version__}" in lines
    assert "  - name: the egotools authors" in lines
