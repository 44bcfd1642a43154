"""docs/architecture.md shows the house as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from test_imports import ROOMS

PAGE = (Path(__file__).parents[2] / "docs/architecture.md").read_text()


def test_the_diagram_has_every_room_in_order():
    diagram = re.search(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert diagram is not None
    assert [word for word in diagram[1].split() if word in ROOMS] == ROOMS


def test_every_room_has_a_line_in_the_same_order():
    assert re.findall(r"^\| `(\w+)` \| \S", PAGE, re.MULTILINE) == ROOMS
