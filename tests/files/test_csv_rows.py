"""CSV files read row by row: columns, row numbers, delimiters and errors."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from egotools.errors import ManifestError
from egotools.files.csv_files import another_delimiter, open_csv, read_csv


def table(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4), st.sampled_from([",", ";", "\t", "|"]))
def test_rows_that_the_standard_library_writes_are_read_back(tmp_path, rows, delimiter):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([["path", "what"], *rows])
    columns, found = read_csv(table(tmp_path, stream.getvalue()), known=())
    assert columns == ["path", "what"]
    assert [(values["path"], values["what"]) for _, values in found] == rows
    assert [number for number, _ in found] == list(range(2, len(rows) + 2))


def test_the_row_number_counts_blank_lines_and_quoted_line_breaks_once(tmp_path):
    text = 'id,note\n\na,"two\nlines"\n\nb,one\n'
    columns, rows = read_csv(table(tmp_path, text))
    assert columns == ["id", "note"]
    assert rows == [(3, {"id": "a", "note": "two\nlines"}), (5, {"id": "b", "note": "one"})]


def test_rows_before_an_error_are_given_when_they_are_read_one_by_one(tmp_path):
    _, rows = open_csv(table(tmp_path, "id,x\na,1\nb,2,3\n"))
    assert next(rows) == (2, {"id": "a", "x": "1"})
    with pytest.raises(ManifestError, match="row 3: 3 cells where the first line has 2 columns"):
        next(rows)
    with pytest.raises(ManifestError, match="row 3: 3 cells"):
        read_csv(table(tmp_path, "id,x\na,1\nb,2,3\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("id,,x\n", r"column 2 has no name \(pandas writes one so unless index=False\)"),
        ("id,x, id\n", "two columns are named 'id'"),
        ('id\n"a\n', "row 2: not CSV: .*; is a quote left open\\?"),
        ('id\nx\n"a"b\n', "row 3: not CSV"),
        ("id\na\nb\0c\n", "row 3: not a text file: it contains a NUL byte"),
    ],
)
def test_a_table_that_cannot_be_read_says_where_and_why(tmp_path, text, message):
    path = table(tmp_path, text)
    with pytest.raises(ManifestError, match=message) as caught:
        read_csv(path)
    assert str(caught.value).startswith(str(path))


def test_a_table_that_does_not_exist_or_is_a_folder_is_one_line(tmp_path):
    with pytest.raises(ManifestError, match=r"no\.csv: cannot be read: No such file"):
        open_csv(tmp_path / "no.csv")
    with pytest.raises(ManifestError, match="cannot be read: Is a directory"):
        open_csv(tmp_path)


def test_without_known_columns_the_delimiter_is_a_comma(tmp_path):
    path = table(tmp_path, "id;name\n1;2\n")
    assert read_csv(path) == (["id;name"], [(2, {"id;name": "1;2"})])
    assert read_csv(path, known=["name"])[0] == ["id", "name"]


def test_a_known_column_decides_between_two_delimiters(tmp_path):
    path = table(tmp_path, "clip,name;score\na,b;1\n")
    assert read_csv(path, known=["score"])[0] == ["clip,name", "score"]
    assert read_csv(path, known=["clip"])[0] == ["clip", "name;score"]


def test_excels_utf16_is_text(tmp_path):
    path = tmp_path / "excel.txt"
    path.write_bytes("id\tort\n1\tKüche\n".encode("utf-16"))
    assert read_csv(path, known=()) == (["id", "ort"], [(2, {"id": "1", "ort": "Küche"})])


def test_another_delimiter_is_suggested_for_a_header_of_one_column_only():
    assert another_delimiter(["id;path"]) == "; the header has no comma but ';': save the table with commas"
    assert another_delimiter(["id|path"]) == "; the header has no comma but '|': save the table with commas"
    assert another_delimiter(["id"]) == ""
    assert another_delimiter(["id", "a;b"]) == ""
