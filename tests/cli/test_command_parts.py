"""Parts of the command line by themselves: groups, types of options, texts, and tables."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from egotools.cli import groups, options, table
from egotools.cli.configuration import read_entries
from egotools.cli.display import duration, name_some, say_done, show_mapping, size
from hypothesis import given
from hypothesis import strategies as some

from egotools.errors import EgotoolsError

NUMBER = click.Option(["--number", "-n"], type=int)
SWITCH = click.Option(["--fast/--no-fast"])


def group_of(*names):
    return groups.Group("top", commands={name: groups.Command(name, params=[NUMBER, SWITCH]) for name in names})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["extrct"], "no such command 'extrct'; did you mean 'extract'?"),
        (["de"], "no such command 'de'; did you mean 'derive'?"),
        (["zzz"], "no such command 'zzz'; choose from derive, extract"),
        (["--number", "3", "extract"], "--number belongs after extract: top extract --number 3"),
        (["--number=3", "extract"], "--number belongs after extract: top extract --number=3"),
        (["--no-fast", "extract"], "--no-fast belongs after extract: top extract --no-fast"),
    ],
)
def test_a_slip_says_what_was_meant(words, says):
    result = CliRunner().invoke(group_of("extract", "derive"), words, prog_name="top")
    assert result.exit_code == 2
    assert says in result.output


def test_two_options_of_one_flag_or_name_are_refused_when_a_command_is_built():
    with pytest.raises(EgotoolsError, match="x: two of its options are called --number"):
        groups.Command("x", params=[NUMBER, click.Option(["--number", "other"])])
    with pytest.raises(EgotoolsError, match="x: two of its options are called number"):
        groups.Command("x", params=[NUMBER, click.Option(["--count", "number"])])
    with pytest.raises(EgotoolsError, match="--no-fast"):
        groups.Command("x", params=[SWITCH, click.Option(["--no-fast", "slow"])])


def test_an_option_is_found_by_any_of_its_flags_and_told_as_it_was_typed():
    command = groups.Command("x", params=[click.Argument(["file"]), NUMBER, SWITCH])
    assert groups.find_option(command, "--no-fast") is SWITCH
    assert groups.find_option(command, "-n") is NUMBER
    assert groups.find_option(command, "file") is None
    assert groups.words_of(NUMBER, "--number", ["a", "--number", "3", "b"]) == "--number 3"
    assert groups.words_of(NUMBER, "--number", ["--number=3", "b"]) == "--number=3"
    assert groups.words_of(SWITCH, "--fast", ["--fast", "b"]) == "--fast"
    assert groups.words_of(NUMBER, "--number", ["--num", "3"]) == "--number"


def test_a_lazy_group_lists_completes_and_refuses_without_loading_anything():
    lazy = groups.LazyGroup("top", table={"one": ("no.such:module", "First."), "two": ("no.such:module", "Second.")})
    context = click.Context(lazy)
    assert lazy.list_commands(context) == ["one", "two"]
    assert lazy.get_command(context, "three") is None
    assert [(item.value, item.help) for item in lazy.shell_complete(context, "t")] == [("two", "Second.")]
    shown = CliRunner().invoke(lazy, ["--help"]).output
    assert shown.index("one") < shown.index("First.") < shown.index("two") < shown.index("Second.")
    with pytest.raises(ModuleNotFoundError):
        lazy.get_command(context, "one")


@given(some.lists(some.integers(-99, 99), min_size=1))
def test_values_with_commas_read_back(values):
    text = ",".join(map(str, values))
    assert options.Several(int).convert(text, None, None) == tuple(values)
    assert options.Several(str).convert(text, None, None) == tuple(map(str, values))
    assert options.Several(int).convert(tuple(values), None, None) == tuple(values)


def test_what_is_no_list_and_no_count_is_wrong_usage():
    count = options.CountOr(("all", "middle"))
    assert [count.convert(value, None, None) for value in ("45", 45, "all")] == [45, 45, "all"]
    with pytest.raises(click.BadParameter, match="'some' is not a whole number or all or middle"):
        count.convert("some", None, None)
    for text in ("1,,2", "", "1.5", "a"):
        with pytest.raises(click.BadParameter, match="not a list like 1,5,20"):
            options.Several(int).convert(text, None, None)


def test_entries_of_a_file_are_text_as_it_would_be_typed(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("epochs: 020\nlearning_rate: 1e-3\nfast: yes\nname: 'no: w'\nk: [1, 05]\n")
    assert read_entries(file) == {
        "epochs": "020", "learning-rate": "1e-3", "fast": "yes", "name": "no: w", "k": ["1", "05"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- epochs", "must hold lines such as"),
        ("a-b: 1\na_b: 2", "a-b is given twice"),
        ("epochs:", "epochs: has no value"),
        ("epochs: {a: 1}", "epochs: must be a value or a list"),
        ("k: [[1]]", "k: must be a value or a list"),
        ("a: [", "not YAML"),
    ],
)
def test_a_file_of_anything_else_is_wrong_usage_that_names_it(tmp_path, text, says):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(click.UsageError, match=rf"c\.yaml: .*{says}|c\.yaml: {says}"):
        read_entries(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1.5 h"), (36000, "10.0 h")],
)
def test_durations_are_said_in_the_unit_that_people_use(seconds, shown):
    assert duration(seconds) == shown


def test_sizes_of_any_magnitude_have_three_digits():
    assert [size(count) for count in (0, 1, 1.5e6, 999e6, 1e9, 2.5e12, 4e15)] == [
        "0 MB", "0.001 MB", "1.5 MB", "999 MB", "1 GB", "2.5 TB", "4e+03 TB",
    ]  # fmt: skip


def test_remarks_go_to_stderr_and_facts_to_stdout(capsys, tmp_path):
    name_some("missing", [])
    name_some("missing", ["a", "b\n", "c"], 2)
    say_done(tmp_path, True)
    say_done(tmp_path, False)
    show_mapping({"clips": 3})
    said = capsys.readouterr()
    assert said.err.splitlines()[0] == "  missing: 3 (a, b\\n and 1 more)"
    assert len(said.err.splitlines()) == 2
    assert str(tmp_path) in said.err.splitlines()[1]
    assert "clips" in said.out
    assert "missing" not in said.out


def test_cells_show_numbers_with_four_digits_and_nothing_as_a_dash():
    values = [None, 0.123456, float("nan"), float("inf"), 12345678, ("a", "b\x1b"), (1, 2), True]
    assert [table.cell(value) for value in values] == [
        "-", "0.1235", "-", "-", "12345678", "a\nb\\x1b", "(1, 2)", "True",
    ]  # fmt: skip


def test_columns_know_their_widths():
    text = table.Column("a long name", ["x" * 50, "two\nlines"], False)
    assert (text.widest, text.narrowest) == (50, 20)
    number = table.Column("rows read", ["1234567", "-"], True)
    assert (number.widest, number.narrowest) == (9, 7)
    assert table.Column("n", ["-", "0", ""], True).is_blank
    assert not table.Column("n", ["-", "1"], True).is_blank
