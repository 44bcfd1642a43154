"""Pages show text from anywhere as text."""

from __future__ import annotations

import json
import re

from html_elements import EVIL, Elements
from hypothesis import given, settings
from hypothesis import strategies as st

from egotools.files import html


@settings(max_examples=20)
@given(st.text())
def test_a_text_makes_no_element_and_ends_no_attribute(text: str) -> None:
    found = Elements(html.element("p", text) + f'<img alt="{html.escaped(text)}">')
    assert found.tags == ["p", "img"]
    assert [name for name, _ in found.attributes] == ["alt"]


@settings(max_examples=20)
@given(st.dictionaries(st.text(), st.text()))
def test_data_of_scripts_reads_back_and_cannot_end_its_element(values: dict[str, str]) -> None:
    values["evil"] = EVIL
    script = html.data_script("data", json.dumps(values))
    found = Elements(script)
    assert found.tags == ["script"]
    assert json.loads("".join(found.texts)) == values
    assert "<" not in re.sub(r"^<script[^>]*>|</script>$", "", script.strip())


def test_a_page_loads_nothing_and_runs_only_the_scripts_that_it_is_given() -> None:
    without = html.page(EVIL, html.table([[EVIL, 1.5, None, 12345]], [EVIL, "b", "c", "d"])).decode()
    found = Elements(without)
    assert "script" not in found.tags
    assert "img" not in found.tags
    assert "script-src 'none'" in without
    assert "default-src 'none'" in without
    assert [text for text in found.texts if text in ("1.5", "-", "12,345")] == ["1.5", "-", "12,345"]
    assert r"\u202e\x00\n" in "".join(found.texts)
    with_script = Elements(html.page("t", "", scripts=["let a = 1;"]).decode())
    assert with_script.tags.count("script") == 1
