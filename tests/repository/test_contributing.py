"""What CONTRIBUTING.md names exists."""

from __future__ import annotations

import re
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


def test_every_part_of_make_test_that_is_named_is_a_target():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)`", TEXT):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
