"""Datavyu: spreadsheets, tables with a cell a row, tables with columns side by side, and those frame by frame."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from annotated import read, said

from egotools.annotations.events import Annotations
from egotools.errors import ManifestError

LONG = """file,column,ordinal,onset,offset,hand,look
film,reach,1,1000,2500,left,
film,reach,2,4000,4000,<hand>,1
film,reach,3,5000,4500,left,1
"""
# As the menu exports it: numbers from 0, lines that end with a comma, columns of different lengths side by side.
WIDE = """reach.ordinal,reach.onset,reach.offset,reach.hand,trial.ordinal,trial.onset,trial.offset,trial.code01,
0,1000,2500,left,0,0,9000,one,
1,4000,5000,right,,,,,
"""
BY_FRAME = """framenum,time,reach.ordinal,reach.onset,reach.offset,reach.hand
1,1000,1,1000,2500,left
2,1033,1,1000,2500,left
3,2600,,,,
4,4000,2,4000,5000,right
"""
DB = """#4
reach (MATRIX,true,)-hand|NOMINAL,note|NOMINAL
00:00:01:000,00:00:02:500,(left,"a, b")
00:01:04:000,00:01:04:000,(right,)
00:00:01:000,00:00:02:500,(left)
trial (MATRIX,true,)-code01|NOMINAL
00:00:00:000,00:00:09:000,(one)
"""


def opf(db: str = DB, **others: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, text in {"db": db, "project": "!project {}\n", **others}.items():
            file.writestr(name, text)
    return content.getvalue()


def cells(found: Annotations) -> list[tuple[object, ...]]:
    return [
        (*each[:3], next(iter(event.labels.values())))
        for each, event in zip(said(found, ""), found.events, strict=True)
    ]


def test_a_cell_a_row(tmp_path: Path):
    found = read(tmp_path / "reach__film.csv", LONG)
    assert cells(found) == [("film", 1.0, 2.5, "left"), ("film", 4.0, None, ""), ("film", 5.0, 4.5, "left")]
    assert found.events[0].labels == {"reach.hand": "left", "reach.look": "", "tier": "reach"}


def test_columns_side_by_side_are_tiers(tmp_path: Path):
    found = read(tmp_path / "film.csv", WIDE)
    assert cells(found) == [("film", 1.0, 2.5, "left"), ("film", 0.0, 9.0, "one"), ("film", 4.0, 5.0, "right")]
    found = read(tmp_path / "film.csv", WIDE, tier=("reach",))
    assert [event.labels["trial.code01"] for event in found.events] == ["one", "one"]


def test_cells_that_are_repeated_frame_by_frame_count_once(tmp_path: Path):
    assert cells(read(tmp_path / "film.csv", BY_FRAME)) == [("film", 1.0, 2.5, "left"), ("film", 4.0, 5.0, "right")]


def test_spreadsheets(tmp_path: Path):
    found = read(tmp_path / "film.opf", opf())
    assert cells(found) == [("film", 1.0, 2.5, "left"), ("film", 64.0, None, "right"), ("film", 0.0, 9.0, "one")]
    assert found.events[0].labels == {"reach.hand": "left", "reach.note": "a, b", "tier": "reach"}
    assert found.lost == {"cells with more or fewer values than their column": ["line 5"]}
    assert not any("--offset" in remark for remark in found.remarks)
    found = read(tmp_path / "film.opf", opf(**{"1": "offset=-1500\n"}))
    assert any("moves a video by -1500 ms" in remark and "--offset" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (opf()[:200], "damaged zip"),
        (opf("#4\n"), "no cells"),
        (opf().replace(b"db", b"xx"), "no file 'db'"),
    ],
)
def test_other_zip_files_are_refused(tmp_path: Path, content: bytes, problem: str):
    with pytest.raises(ManifestError, match=problem):
        read(tmp_path / "film.opf", content)
