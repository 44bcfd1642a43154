"""Runs the notebooks of examples/ in an empty folder: `make docs`.

python docs/notebooks.py FOLDER
python docs/notebooks.py --keep

Each becomes a notebook with its results in FOLDER; with --keep in examples/ itself, which is how they are updated.
A cell that fails is an error.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for !egotools
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of tqdm, without widgets
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as work:
            client = NotebookClient(notebook, timeout=1200, record_timing=False, resources={"metadata": {"path": work}})
            client.execute()
        notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        for number, cell in enumerate(notebook.cells):
            cell.id = f"cell-{number}"  # so that running again changes what has changed only
        nbformat.write(notebook, folder / path.name)
        print(f"a notebook with its results: {folder.absolute() / path.name}")


if __name__ == "__main__":
    main(EXAMPLES if sys.argv[1] == "--keep" else Path(sys.argv[1]))
