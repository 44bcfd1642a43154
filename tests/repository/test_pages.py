"""What the README and the docs show can be typed, and their links lead to files and headings."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import write_video
from egotools.cli.main import root
from replai_files import write_videos
from shown_files import build_in, shown_files
from typing_commands import parse

from egotools.extractors.backbone import View, write_backbone
from egotools.extractors.hf.models import quietly
from egotools.extractors.lookup import find_extractor

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
WITH_LINKS = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "benchmarks/README.md"]
LINK = r"\]\((?!https://)([^)#]*)(?:#([^)]*))?\)"


def commands(group: click.Group, path: tuple[str, ...] = ()):
    """Every command, with the words that call it; extractors are commands of `extract`."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def make_tiny_models(folder: Path) -> None:
    """The models that the page of encoders makes, by its own code."""
    code = re.search(r"^```python\n(.*?)^```", (REPOSITORY / "docs/encoders.md").read_text(), re.DOTALL | re.MULTILINE)
    assert code is not None
    with pytest.MonkeyPatch.context() as monkeypatch, quietly():
        monkeypatch.chdir(folder)
        exec(code[1], {})


def lines(page: Path):
    """The `egotools ...` lines of a page's code blocks; a backslash goes on in the next line."""
    for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.removeprefix("$ ").split(" && "):
                if part.startswith("egotools "):
                    yield part.split("  #")[0]


@pytest.fixture(scope="module")
def where_the_pages_are_read(tmp_path_factory) -> Iterator[Path]:
    """A folder with the extractors and the method that the pages show, and with runs that have a backbone."""
    folder = tmp_path_factory.mktemp("reader")
    for name, code in shown_files(REPOSITORY / "docs/add-an-extractor.md").items():
        (folder / name).write_text(code)
    make_tiny_models(folder)
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    views = {"default": View("torchvision:resnet18")}
    for run in ("memdpc", "kcam", "rc"):
        write_backbone(folder / "runs" / run, views, {"conv1.weight": torch.zeros(1)})
    with pytest.MonkeyPatch.context() as monkeypatch:
        build_in(REPOSITORY / "docs/add-a-method.md", folder, monkeypatch)
        yield folder


@pytest.mark.parametrize(("page", "line"), [(page, line) for page in PAGES for line in lines(page)], ids=str)
def test_lines_of_the_pages_can_be_typed(page, line, monkeypatch, where_the_pages_are_read):
    monkeypatch.chdir(where_the_pages_are_read)
    parse(line)


@pytest.mark.integration
def test_the_first_lines_of_the_page_of_encoders_run_as_written(monkeypatch, where_the_pages_are_read):
    """One pass for three models, then words, a map and a report, on videos with and without sound."""
    monkeypatch.chdir(where_the_pages_are_read)
    write_videos(Path("videos"), 2)
    write_video(Path("videos/bright.mp4"), 30)
    write_video(Path("videos/dark.mp4"), 12)
    Path("m.csv").write_text(
        "id,path,video\n" + "".join(f"{each.stem},{each},here\n" for each in sorted(Path("videos").iterdir()))
    )
    extract, *others = list(lines(REPOSITORY / "docs/encoders.md"))[:4]
    for line in (extract.replace("extract", "extract --workers 1", 1), *others):
        done = CliRunner().invoke(root, shlex.split(line)[1:])
        assert done.exit_code == 0, (line, done.output, done.exception)
    (query,) = json.loads(Path("found/found.json").read_text())["queries"]
    assert query["query"] == "a bicycle"
    assert {each["id"] for each in query["moments"]} == {each.stem for each in Path("videos").iterdir()}
    assert Path("maps/map.html").is_file()
    assert "caches/e/videomae.lmdb" in Path("report.html").read_text()


@pytest.mark.parametrize("example", ["audible_moments", "predicted_blocks", "two_views"])
def test_lines_of_the_examples_can_be_typed(example, monkeypatch, where_the_pages_are_read):
    monkeypatch.chdir(where_the_pages_are_read)
    for line in runpy.run_path(str(REPOSITORY / f"examples/{example}.py"))["COMMANDS"]:
        parse(f"egotools {line}")


def test_every_command_is_in_the_pages_and_has_help_with_an_example():
    text = "\n".join(page.read_text() for page in PAGES)
    for path, command in commands(root):
        if path[0] == "extract" and len(path) > 1:
            assert path[1] in text, f"extractor {path[1]}"
        else:
            assert "egotools " + " ".join(path) in text, path
        assert command.help, path
        if not isinstance(command, click.Group) or path[0] in ("manifest", "extract", "cache"):
            assert "egotools " in command.help, f"{path}: no example"


def test_the_example_extractor_measures_motion(tmp_path):
    motion = find_extractor(f"{REPOSITORY}/examples/motion.py:Motion").kind()
    still = np.full((1, 8, 64, 64), 100, np.uint8)
    moving = still.copy()
    moving[0, 1::2, :16, :16] = 200  # one cell flickers
    assert motion.network()(still).tolist() == [[0.0] * 16]
    row = motion.network()(moving)[0]
    assert row[0] == pytest.approx(100 / 255)
    assert not row[1:].any()
    frame = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    assert motion.prepare(frame).shape == (64, 64)


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WITH_LINKS, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files_and_headings(page):
    for path, anchor in re.findall(LINK, page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"
