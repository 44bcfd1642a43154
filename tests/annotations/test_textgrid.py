"""Praat's TextGrids: the long and the short format say the same."""

from __future__ import annotations

import pytest
from annotated import read, said

from egotools.errors import ManifestError

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "behavior"
        xmin = 0
        xmax = 3.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 1.25
            text = "" ! a pause
        intervals [2]:
            xmin = 1.25
            xmax = 2
            text = "says ""no"" [3] 4"
        intervals [3]:
            xmin = 2
            xmax = 3.5
            text = "rest"
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 3.5
        points: size = 1
        points [1]:
            number = 0.75
            mark = "click"
"""
SHORT = """"ooTextFile"
"TextGrid"

0 3.5 <exists> 2
"IntervalTier" "behavior" 0 3.5 3
0
1.25
""
1.25 2 "says ""no"" [3] 4"
2 3.5 "rest"
"TextTier" "clicks" 0 3.5 1
0.75 "click"
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("text", [LONG, SHORT, SHORT.replace('"ooTextFile"', 'File type = "ooTextFile short"')])
def test_both_formats_are_read(tmp_path, text, encoding):
    found = read(tmp_path / "film.TextGrid", text.encode(encoding))
    assert said(found, "behavior") == [
        ("film", 1.25, 2.0, 'says "no" [3] 4'),
        ("film", 2.0, 3.5, "rest"),
        ("film", 0.75, None, ""),
    ]
    assert found.events[2].labels == {"clicks": "click", "tier": "clicks"}
    assert found.events[0].where == "tier 'behavior', interval 2"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LONG[:500], "cut short"),
        (LONG.replace("size = 3", "size = 1e300"), "damaged|cut short"),
        (LONG.replace('"TextGrid"', '"Pitch"'), "no TextGrid: 'Pitch'"),
        (LONG.replace("xmax = 1.25", 'xmax = "x"'), "where a number should be"),
        (LONG.replace("rest", "").replace("click", "").replace('says ""no"" [3] 4', ""), "without any text"),
    ],
)
def test_what_is_damaged_or_another_object_is_refused(tmp_path, text, problem):
    with pytest.raises(ManifestError, match=problem):
        read(tmp_path / "film.TextGrid", text)
