"""What is printed of texts that users chose: as it is, never markup, never a command to the terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli import display
from egotools.cli.main import root
from egotools.cli.progress import Progress
from egotools.cli.table import Column, fit, fold
from egotools.cli.text import exact_json, visible
from hypothesis import given, settings
from hypothesis import strategies as st
from tabled import IMPORTED, write_cache, write_table
from typing_commands import typed

from egotools.errors import OutputError
from egotools.stores import Source, open_writer
from egotools.types import Rows

STEERS = ["a\x1b]0;owned\x07b", "\x9b31m", "a\rb", "a\x08b", "a\x7fb", "a\u202eb", "a\u2066b", "a\u200bb", "a\u2028b"]
ODD = st.text('ab \\"\n\x00\x1b\x7f\x9b\u200b\u202e\u2028\udcff\ufeffé猫🍳')
MARKUP = ["[/b]", "[/]", "[red]door", "[background]", "cut:knife:apple", "[link=x]y[/link]", "a\\[b]", "[@click=f]x"]


def run(*words: object, charset: str = "utf-8", status: int = 0) -> Result:
    result = CliRunner(charset=charset).invoke(root, [str(word) for word in words])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def labeled(folder: Path, labels: Sequence[str], names: Sequence[str] | None = None) -> list[object]:
    """The words of a command line after `eval knn`: ten clips of each label, which the features show."""
    each = [label for label in labels for _ in range(10)]
    ids = names or [f"clip {number} [x{number}]" for number in range(len(each))]
    numbers = np.repeat(np.arange(len(labels)), 10)
    noise = np.random.default_rng(0).normal(size=(len(each), 12))
    write_cache(folder / "f.lmdb", ids, np.eye(12)[numbers] + 0.05 * noise)
    write_table(folder / "m.csv", ids, {"label": each})
    return ["--features", folder / "f.lmdb", "--manifest", folder / "m.csv", "--label", "label"]


def test_names_in_brackets_and_codes_of_pictures_stay_text_in_tables(tmp_path):
    shown = run("eval", "knn", *labeled(tmp_path, MARKUP), "--k", 3).stdout
    for name in MARKUP:
        assert f"│ {name} " in shown
    described = run("cache", "info", tmp_path / "f.lmdb", "--clip", "clip 3 [x3]").stdout
    assert "clip 3 [x3]" in described


@pytest.mark.parametrize("text", [*MARKUP, *STEERS])
def test_a_manifest_to_harm_is_shown_escaped(tmp_path, text):
    with (tmp_path / "m.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "path", "label"], [text, "none.mp4", text]])
    result = run("manifest", "check", tmp_path / "m.csv", status=1)
    assert visible(text) in result.stdout
    assert not set(result.output) & set("\x1b\x07\x08\x0b\x7f\x9b\r\u202e\u2066\u200b\u2028")


def test_a_new_line_in_a_text_does_not_break_a_table(capsys):
    display.show_table(
        ["class\n", "n"], [["one\nwords", 1], ["two\twords", 2], [["a\nb", "c"], 3], [[], 4]], title="x\ny"
    )
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "x\\ny"
    assert len(shown) == 10
    assert [line.split("│")[1].strip() for line in shown[4:9]] == ["one\\nwords", "two\\twords", "a\\nb", "c", ""]


def test_json_has_texts_as_they_are_and_steers_nothing(tmp_path):
    shown = run("eval", "knn", *labeled(tmp_path, [*MARKUP[:4], *STEERS[3:6], "猫"]), "--k", 3, "--json").stdout
    assert {each["class"] for each in json.loads(shown)["classes"]} == {*MARKUP[:4], *STEERS[3:6], "猫"}
    assert "猫" in shown
    assert not set(shown) & set("\x1b\x07\x7f\x9b\u202e")


@pytest.mark.parametrize("charset", ["cp1252", "ascii", "utf-16"])
def test_what_the_encoding_lacks_is_escaped(tmp_path, charset):
    line = ["eval", "knn", *labeled(tmp_path, ["猫", "walk"]), "--k", 3]
    shown = run(*line, charset=charset)
    assert ("猫" if charset == "utf-16" else "\\u732b") in shown.stdout
    assert "Traceback" not in shown.stderr
    as_json = run(*line, "--json", charset=charset).stdout
    assert {each["class"] for each in json.loads(as_json)["classes"]} == {"猫", "walk"}


def test_the_columns_of_a_table_stay_in_line_where_the_encoding_lacks_characters(tmp_path):
    shown = run("eval", "knn", *labeled(tmp_path, ["猫", "walk"]), "--k", 3, charset="cp1252").stdout
    table = shown[shown.index("by class") :].splitlines()[1:]
    assert len({len(line) for line in table}) == 1


def test_a_run_is_done_though_its_report_cannot_be_shown_in_full(tmp_path):
    run("train", "probe", *labeled(tmp_path, ["猫", "walk"]), "--out", tmp_path / "run", charset="cp1252")
    kept = json.loads((tmp_path / "run/report.json").read_text(encoding="utf-8"))
    assert {each["class"] for each in kept["classes"]} == {"猫", "walk"}


def test_remarks_error_lines_and_usage_errors_are_escaped_too(tmp_path, monkeypatch, capsys):
    bad = "x\x1b]0;owned\x07\x9b\n[/b]"
    words = labeled(tmp_path, ["a", "b"])
    assert typed(monkeypatch, "eval", "knn", *words[:-1], bad) == 1
    assert typed(monkeypatch, "eval", "knn", *words, "--k", bad) == 2
    assert typed(monkeypatch, "manifest", bad) == 2
    assert typed(monkeypatch, "extract", bad) == 2
    assert typed(monkeypatch, "cache", "ls", f"--{bad}") == 2
    assert typed(monkeypatch, "cache", "ls", tmp_path / bad) == 1
    display.note(bad)
    display.failure(bad)
    shown = capsys.readouterr()
    assert not set(shown.out + shown.err) & set("\x1b\x07\x9b")
    assert shown.err.count("x\\x1b]0;owned\\x07\\x9b\\n[/b]") == 8


def test_names_of_files_that_are_no_text_are_shown(tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / name).write_bytes(bytes(100))
    (tmp_path / "m.csv").write_bytes(b"id,path\na,v/caf\xe9.mp4\n")
    assert visible(name) == "caf\\udce9.mp4"
    display.note(str(tmp_path / "v" / name))


@settings(max_examples=50, deadline=None)
@given(ODD)
def test_what_is_shown_is_one_line_that_steers_nothing(text):
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert visible(shown) == shown


@settings(max_examples=50, deadline=None)
@given(ODD, st.sampled_from(["utf-8", "cp1252", "ascii", "shift-jis"]))
def test_json_reads_back_as_it_was_in_every_encoding(text, encoding):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    shown = exact_json(json.dumps({text: [text]}, ensure_ascii=False, indent=2), file)
    assert json.loads(shown) == {text: [text]}
    assert json.loads(shown.encode(encoding).decode(encoding)) == {text: [text]}


def test_joined_emoji_and_scripts_stay_whole():
    for text in ("👩\u200d🍳", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "naïve 東京 café", "a\u3000b"):
        assert visible(text) == text


def test_a_table_of_any_text_is_fitted_to_the_width():
    columns = [
        Column("cache", ["caches/a/efficientnet-lite0.lmdb", "caches/another/resnet18.lmdb"], False),
        Column("rows", ["1234567890123", "2"], True),
        Column("extractor", ["torchvision:resnet18", "color"], False),
        Column("note", ["a long remark of many words that has to be folded somewhere", ""], False),
    ]
    whole, left_out = fit(columns, 200)
    assert not left_out
    assert [width for _, width in whole] == [32, 13, 20, 59]
    narrow, left_out = fit(columns, 80, first_to_go=["extractor"])
    assert left_out == ["extractor"]
    assert sum(width + 3 for _, width in narrow) + 1 <= 80
    assert {column.name: width for column, width in narrow}["rows"] == 13  # numbers are never broken
    narrower, left_out = fit(columns, 50)
    assert [column.name for column, _ in narrower] == ["cache", "rows"]
    assert left_out == ["extractor", "note"]


def test_columns_that_say_nothing_go_before_others():
    columns = [
        Column(name, [text], False) for name, text in (("a", "x" * 30), ("b", "y" * 30), ("c", "0"), ("d", "z" * 30))
    ]
    assert fit(columns, 70, first_to_go=["d", "c"])[1] == ["c"]


@settings(max_examples=50, deadline=None)
@given(st.text("abc/_-,猫é", min_size=1, max_size=80), st.integers(2, 30))
def test_folded_text_is_whole_and_no_wider_than_asked(text, width):
    from rich.cells import cell_len

    lines = fold(text, width).split("\n")
    assert "".join(lines) == text
    assert max(map(cell_len, lines)) <= width


def test_tables_on_narrow_terminals_say_what_they_leave_out(monkeypatch, capsys, tmp_path):
    cache = tmp_path / "f.lmdb"
    write_cache(cache, ["a"], np.ones((1, 4)))
    monkeypatch.chdir(tmp_path)
    for width, gone in ((80, {"weights", "precision"}), (200, set())):
        monkeypatch.setattr("egotools.cli.table.PIPED", width)
        assert typed(monkeypatch, "cache", "ls", "f.lmdb") == 0
        shown = capsys.readouterr()
        assert max(map(len, shown.out.splitlines())) <= width
        assert "f.lmdb" in shown.out
        assert "state" in shown.out
        assert all(name in shown.err for name in gone)
        assert bool(shown.err) == bool(gone)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 MB"),
        (300, "0.001 MB"),
        (225_280, "0.225 MB"),
        (4_400_000, "4.4 MB"),
        (999e6, "999 MB"),
        (12.34e9, "12.3 GB"),
    ],
)
def test_bytes_are_shown_in_megabytes(count, shown):
    assert display.size(count) == shown


def test_a_reader_who_has_gone_away_does_not_end_the_work(monkeypatch):
    for err in (False, True):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as gone:
            monkeypatch.setattr(sys, "stderr" if err else "stdout", gone)
            display.write("lost", err=err)
            display.write("lost, too", err=err)


def test_streams_that_the_shell_closed_are_nobody_to_talk_to(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    display.show_table(["a"], [["b"]])
    display.show_json({"a": "猫"})
    display.note("c")
    with Progress() as shown:
        shown("reading", 1, 2)


def test_a_full_disk_below_standard_output_is_one_line(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OutputError, match="standard output: No space left"):
            display.show_table(["a"], [["b"]])
        display.show_json({"a": 1})  # said once


def test_the_list_of_caches_says_what_a_running_job_has_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cache(tmp_path / "c/done.lmdb", ["a"], np.ones((1, 4)))
    shown = run("cache", "ls", "c")
    assert "last commit" not in shown.stdout
    writer = open_writer(tmp_path / "c/going.lmdb", IMPORTED)
    before = run("cache", "ls", "c")
    assert "going.lmdb" not in before.stdout
    assert f"going.lmdb: being written by process {os.getpid()}, which has committed nothing yet" in before.stderr
    writer.append("a", Rows(np.ones((3, 4), np.float32), np.zeros((3, 2))))
    writer.finish("a", Source(""))
    writer.commit()
    shown = run("cache", "ls", "c").stdout
    (line,) = (line for line in shown.splitlines() if "going.lmdb" in line)
    assert re.search(rf"│ +1 │ +3 │.* being written by process {os.getpid()}.*│ \d s ago", line)
    found = json.loads(run("cache", "ls", "c", "--json").stdout)
    assert [each["writer"] for each in found] == [None, f"process {os.getpid()}"]
    assert abs(found[1]["committed"] - time.time()) < 60
    writer.close()
    assert "being written" not in run("cache", "ls", "c").stdout


def test_facts_of_a_cache_are_shown_for_people(tmp_path):
    write_cache(tmp_path / "f.lmdb", ["a", "b"], np.ones((2, 4)))
    shown = run("cache", "info", tmp_path / "f.lmdb").stdout
    assert re.search(r"│ bytes +│ 0\.\d+ MB ", shown)
    assert re.search(r"│ committed +│ \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", shown)
    assert isinstance(json.loads(run("cache", "info", tmp_path / "f.lmdb", "--json").stdout)["bytes"], int)
    assert re.search(r"│ first row +│ \[0.0, 1.0\] ", run("cache", "info", tmp_path / "f.lmdb", "--clip", "b").stdout)
