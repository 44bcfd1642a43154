"""Flags made from the fields of a dataclass."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import click
import pytest
from click.testing import CliRunner
from egotools.cli import options

from egotools.config import option
from egotools.extractors.lookup import find_extractor
from egotools.extractors.names import BUILT_IN


@dataclass(frozen=True)
class Everything:
    learning_rate: float = option(0.1, "How fast.")
    count: int | None = option(None, "How many.")
    name: str = option("x", "What.")
    k: tuple[int, ...] = option((1, 5), "Which.")
    names: tuple[str, ...] | None = option(None, "Called.")
    kind: Literal["a", "b"] = option("a", "Kind.")
    without: tuple[Literal["x", "y-z"], ...] = option((), "Left out.")
    maybe: Literal["p", "q"] | None = option(None, "Maybe.")
    listed: str = option("u", "Listed.", choices=("u", "v"))
    file: Path | None = option(None, "File.")
    normalize: bool = option(True, "Or not.")
    hidden: int = 7

    def __post_init__(self):
        if self.learning_rate <= 0:
            raise ValueError("--learning-rate must be above 0")


@click.command()
@click.option("--other", default=1)
@options.from_fields(Everything)
def command(config, other):
    """Shows what it got."""
    command.got = config, other


def run(*arguments, status=0):
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == status, result.output
    return result.output if status else command.got[0]


def test_without_flags_the_defaults_are_those_of_the_class():
    assert run() == Everything()


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (["--learning-rate", "2"], {"learning_rate": 2.0}),
        (["--count", "3"], {"count": 3}),
        (["--without", "y-z", "--without", "x"], {"without": ("y-z", "x")}),
        (["--name", "ü"], {"name": "ü"}),
        (["--k", "3"], {"k": (3,)}),
        (["--k", "1, 2,30"], {"k": (1, 2, 30)}),
        (["--names", "a,b"], {"names": ("a", "b")}),
        (["--kind", "b"], {"kind": "b"}),
        (["--maybe", "q"], {"maybe": "q"}),
        (["--listed", "v"], {"listed": "v"}),
        (["--file", "a/b"], {"file": Path("a/b")}),
        (["--no-normalize"], {"normalize": False}),
        (["--normalize"], {}),
    ],
)
def test_a_flag_sets_its_field_with_its_type(arguments, changed):
    found = run(*arguments)
    assert found == Everything(**changed)
    for each in fields(Everything):
        assert type(getattr(found, each.name)) is type(getattr(Everything(**changed), each.name))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--count", "x"],
        ["--count", "1.5"],
        ["--k", "1,x"],
        ["--k", ""],
        ["--kind", "c"],
        ["--maybe", "c"],
        ["--listed", "w"],
        ["--hidden", "3"],
        ["--learning-rate", "0"],
    ],
)
def test_a_wrong_value_is_wrong_usage(arguments):
    assert "Error: " in run(*arguments, status=2)


def test_a_check_of_the_class_is_said_as_wrong_usage():
    assert "Error: --learning-rate must be above 0" in run("--learning-rate", "-1", status=2)


def test_the_help_says_what_each_flag_is_and_its_default():
    text = CliRunner().invoke(command, ["--help"], terminal_width=200).output
    for expected in ("--learning-rate", "How fast.", "default: 0.1", "--no-normalize", "[a|b]", "--other"):
        assert expected in text
    assert text.index("--learning-rate") < text.index("--count") < text.index("--normalize")  # as declared
    assert "hidden" not in text


@pytest.mark.parametrize("name", [*BUILT_IN, "torchvision:resnet18", "torchvision:r3d_18"])
def test_every_option_of_every_extractor_has_help(name):
    found = find_extractor(name)
    flags = options.parameters(found.kind)
    assert {flag.name for flag in flags} == {each.name for each in fields(found.kind)} - set(found.fixed)
    for flag in flags:
        assert flag.help.endswith(".")
        assert len(flag.help) > 10
    values = {flag.name: flag.get_default(click.Context(command)) for flag in flags}
    assert options.build(found.kind, values, **found.fixed) == found.kind(**found.fixed)
    assert values == {}
