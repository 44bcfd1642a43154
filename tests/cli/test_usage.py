"""Wrong usage is one line that says what to type instead; the help of every command has an example."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from egotools.cli.main import root


def commands(group: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, with the words that call it."""
    yield path, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, f"{path} {name}")


def test_the_help_of_every_command_has_an_example():
    found = dict(commands(root, "egotools"))
    assert {"egotools", "egotools eval knn", "egotools derive pool", "egotools extract color"} <= set(found)
    for path, command in found.items():
        text = CliRunner().invoke(command, ["--help"], terminal_width=100).output
        *_, name = path.split()
        examples = [line for line in text.splitlines() if line.startswith("  egotools ")]
        assert any(line.startswith(f"  {path} ") or line.endswith(f" {name}") for line in examples), path


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("manifst", "no such command 'manifst'; did you mean 'manifest'?"),
        ("manifest foldr", "no such command 'foldr'; did you mean 'folder'?"),
        ("cache vrify", "did you mean 'verify'?"),
        ("train prob", "did you mean 'probe'?"),
        ("eval kn", "did you mean 'knn'?"),
        ("eval nearest", "choose from knn, retrieval, svm, probe, memorability, action, replai, segmentation,"),
        ("predict mem", "did you mean 'memorability'?"),
        ("derive pol", "did you mean 'pool'?"),
        ("extract colour", "did you mean 'color'?"),
        ("cache verify --jsn x", "--json"),
        ("manifest check --deocde m.csv", "--decode"),
        ("eval knn --lable x", "--label"),
        ("derive pool --statistic mean", "--statistics"),
        ("extract color --fsp 2", "--fps"),
        ("extract --manifset m.csv color", "--manifest"),
        ("cache export x --out y", "Missing option '--to'"),
        # options in the wrong place
        ("extract color --out a b", "--out belongs before the first extractor: egotools extract --out a ... color"),
        ("extract color --fps 2 --manifest=m.csv", "egotools extract --manifest=m.csv ... color"),
        ("extract color hog --no-digest", "egotools extract --no-digest ... hog"),
        ("extract color --quiet", "--quiet belongs before the first extractor: egotools extract --quiet ... color"),
        ("extract --manifest m.csv --bins 4 color", "--bins belongs after color: egotools extract ... color --bins 4"),
        ("extract --bins=4 hog color", "--bins belongs after color: egotools extract ... color --bins=4"),
        ("--log a.log extract color", "--log belongs after extract: egotools extract --log a.log"),
        ("manifest --out m.csv folder videos", "--out belongs after folder: egotools manifest folder --out m.csv"),
    ],
)
def test_a_slip_is_one_line_that_says_what_was_meant(line, says):
    result = CliRunner().invoke(root, line.split(), prog_name="egotools")
    assert result.exit_code == 2
    assert says in result.stderr
    *_, last = result.stderr.rstrip().splitlines()
    assert last.startswith("Error: ") or "Missing option" in result.stderr


def test_without_a_command_the_help_is_shown():
    assert "Commands:" in CliRunner().invoke(root, []).output
