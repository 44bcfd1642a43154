"""`--config` and `--preset`: where the options of a command come from, and flags that collide."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import click
import pytest
from click.testing import CliRunner, Result
from egotools.cli import options
from egotools.cli.configuration import MethodCommand
from egotools.cli.groups import Command
from egotools.cli.main import root
from egotools.cli.methods import memorability

from egotools.config import option
from egotools.errors import EgotoolsError
from egotools.methods.memorability.options import Training


@dataclass(frozen=True)
class Options:
    epochs: int = option(20, "How many.")
    learning_rate: float = option(0.1, "How fast.")
    hidden: tuple[int, ...] = option((8,), "Widths.")
    loss: Literal["mse", "l1"] = option("mse", "Which.")
    whiten: bool = option(False, "Whether.")
    target: str | None = option(None, "Column.")
    init: Path | None = option(None, "File.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "reference": {"epochs": 5, "hidden": (3, 2), "seed": 7, "whiten": True},
        "small": {"epochs": 1},
    }


@click.command("toy", cls=MethodCommand)
@options.from_fields(Options)
@options.seed
@click.option("--features", multiple=True, required=True, type=click.Path(path_type=Path))
@options.telling
def toy(config: Options, seed: int, features: tuple[Path, ...], preset: str | None) -> None:
    """Shows what it got."""
    click.echo(json.dumps([options_text(config), seed, [str(each) for each in features], preset]))


def options_text(config: Options) -> dict[str, Any]:
    return {**vars(config), "init": None if config.init is None else str(config.init)}


def run(*words: str, status: int = 0) -> Result:
    done = CliRunner().invoke(toy, words)
    assert done.exit_code == status, done.output
    return done


def got(*words: str) -> list[Any]:
    found: list[Any] = json.loads(run(*words).output)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "c.yaml"


def test_a_file_sets_options_as_flags_do(file: Path) -> None:
    file.write_text(
        "# a comment\nepochs: 3\nlearning-rate: 1e-3\nhidden: [512, 64]\nloss: l1\nwhiten: yes\ntarget: on\n"
        "init: a/b.npz\nfeatures: [x.lmdb, y.lmdb]\nseed: 010\nquiet: true\n"
    )
    config, seed, features, preset = got("--config", str(file))
    assert config == {
        "epochs": 3,
        "learning_rate": 0.001,
        "hidden": [512, 64],
        "loss": "l1",
        "whiten": True,
        "target": "on",  # text, as it would be behind a flag; YAML's own rules would make it true
        "init": "a/b.npz",
    }
    assert (seed, features, preset) == (10, ["x.lmdb", "y.lmdb"], None)


def test_keys_are_written_with_either_sign_and_one_value_is_a_list_of_one(file: Path) -> None:
    file.write_text("learning_rate: 2\nfeatures: x.lmdb\nhidden: 4\n")
    config, _, features, _ = got("--config", str(file))
    assert (config["learning_rate"], config["hidden"], features) == (2.0, [4], ["x.lmdb"])


def test_a_flag_wins_over_the_file_the_file_over_the_preset_and_the_preset_over_the_default(file: Path) -> None:
    file.write_text("hidden: [9]\nfeatures: x\npreset: reference\n")
    config, seed, _, preset = got("--config", str(file), "--epochs", "2", "--no-whiten")
    assert (config["epochs"], config["hidden"], config["whiten"], seed) == (2, [9], False, 7)
    assert (config["loss"], preset) == ("mse", "reference")
    config, seed, _, preset = got("--config", str(file), "--preset", "small")
    assert (config["epochs"], config["hidden"], seed, preset) == (1, [9], 0, "small")
    assert got("--features", "x", "--preset", "reference", "--seed", "1")[1:] == [1, ["x"], "reference"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch: 3", "no option 'epoch'; did you mean 'epochs'?"),
        ("config: other.yaml", "no option 'config'"),
        ("help: true", "no option 'help'"),
        ("epochs: many", "epochs: 'many' is not a valid integer"),
        ("epochs: 2.5", "epochs: '2.5' is not a valid integer"),
        ("epochs: true", "epochs: 'true' is not a valid integer"),
        ("epochs: [1, 2]", "epochs: takes one value, not a list"),
        ("hidden: [a]", "hidden: 'a' is not a list like 1,5,20"),
        ("loss: huber", "loss: 'huber' is not one of 'mse', 'l1'"),
        ("whiten: maybe", "whiten: 'maybe' is not a valid boolean"),
        ("preset: huge", "preset: 'huge' is not one of 'reference', 'small'"),
        ("target:", "target: has no value; leave the line out for the default"),
        ("target: null", "target: has no value"),
        ("hidden: [1, ~]", "hidden: has no value"),
        ("epochs: {a: 1}", "epochs: must be a value or a list of values, nothing nested"),
        ("hidden: [[1]]", "hidden: must be a value or a list of values, nothing nested"),
        ("epochs: 1\nepochs: 2", "epochs is given twice"),
        ("learning-rate: 1\nlearning_rate: 2", "learning-rate is given twice"),
        ("? [a, b]\n: 1", "no option '?'"),
        ("- epochs", "must hold lines such as 'epochs: 20'"),
        ("", "must hold lines such as 'epochs: 20'"),
        ("epochs: [1", "not YAML"),
        ("[" * 5000, "not YAML"),
        ("a: &a [x]\nepochs: *b", "not YAML"),
        ("a\x00b", "not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_that_names_file_and_key(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    *_, last = run("--config", str(file), status=2).output.splitlines()
    assert last.startswith(f"Error: {file}: ")
    assert says in last


def test_a_file_that_cannot_be_read_is_said_to_be_so(file: Path) -> None:
    assert f"{file}: cannot be read (No such file" in run("--config", str(file), status=2).output
    file.write_bytes(b"\xff\xfe\xfa")
    assert f"{file}: cannot be read" in run("--config", str(file), status=2).output


def test_nothing_in_a_file_runs(file: Path) -> None:
    file.write_text("target: !!python/object/apply:builtins.exit [3]\n")
    assert "takes one value" in run("--config", str(file), status=2).output
    file.write_text("features: x\ntarget: !!python/name:builtins.exit x\n")
    assert got("--config", str(file))[0]["target"] == "x"


def test_help_needs_no_file_and_shows_both(file: Path) -> None:
    text = run("--config", str(file), "--help").output
    assert "--preset [reference|small]" in text
    assert "--config" in text


@pytest.mark.parametrize("words", [["train", "probe"], ["train", "pca"], ["eval", "knn"], ["eval", "probe"]])
def test_every_command_of_a_method_reads_a_file(file: Path, words: list[str]) -> None:
    file.write_text("nonsense: 1\n")
    done = CliRunner().invoke(root, [*words, "--config", str(file)])
    assert done.exit_code == 2
    assert f"{file}: no option 'nonsense'" in done.output


def unused(**_: Any) -> None:
    """A command that is never called."""


# Presets


@pytest.mark.parametrize("name", Training.presets)
def test_a_preset_of_memorability_states_values_that_its_flags_take(name: str) -> None:
    context = click.Context(memorability.train)
    flags = {each.name: each for each in memorability.train.params}
    for key, value in Training.presets[name].items():
        assert flags[key].type_cast_value(context, value) == value


def test_the_reference_differs_from_todays_defaults_only_in_its_constants() -> None:
    today = {**vars(Training()), "norm": None}
    changed = {key for key, value in Training.presets["reference"].items() if today[key] != value}
    assert changed == {"mse_tails_center", "norm"}


def test_a_preset_that_sets_what_no_option_is_is_refused_when_the_command_is_built() -> None:
    @dataclass(frozen=True)
    class Wrong:
        epochs: int = option(1, "How many.")
        presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fast": {"epoch": 1}}

    with pytest.raises(EgotoolsError, match="the preset 'fast' sets 'epoch', which is not an option"):
        click.command("x", cls=MethodCommand)(options.from_fields(Wrong)(unused))


# Flags that collide


@dataclass(frozen=True)
class Seeded:
    seed: int = option(3, "Its own seed.")


@dataclass(frozen=True)
class Again:
    epochs: int = option(3, "Also epochs.")


@dataclass(frozen=True)
class Negated:
    no_whiten: bool = option(False, "The flag of another's no.")


@pytest.mark.parametrize(
    ("decorators", "flag"),
    [
        ([options.from_fields(Options), options.from_fields(Again, "again")], "--epochs"),
        ([options.from_fields(Seeded), options.seed], "--seed"),
        ([options.from_fields(Options), options.from_fields(Negated, "negated")], "--no-whiten"),
        ([options.device, options.resources], "--device"),
    ],
)
def test_flags_that_collide_are_refused_when_the_command_is_built(decorators: list[Any], flag: str) -> None:
    with pytest.raises(EgotoolsError, match=f"x: two of its options are called {flag}; rename the field of one"):
        click.command("x", cls=Command)(options.together(*decorators)(unused))


def test_an_extractor_of_the_users_own_whose_option_collides_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from dataclasses import dataclass\nfrom egotools.config import option\n"
        "from egotools.extractors.color import Color\n\n"
        "@dataclass(frozen=True)\nclass Own(Color):\n    name: str = option('x', 'Its name.')\n"
    )
    done = CliRunner().invoke(root, ["extract", f"{tmp_path / 'own.py'}:Own", "--help"])
    assert isinstance(done.exception, EgotoolsError)
    assert "two of its options are called --name" in str(done.exception)
