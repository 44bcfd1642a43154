"""The files that a page shows: a line that ends in "`name.py`:", then the file's text in a code block."""

from __future__ import annotations

import re
from pathlib import Path


def shown_files(page: Path) -> dict[str, str]:
    """Their texts by name, in the order of the page."""
    blocks = re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return dict(blocks)
