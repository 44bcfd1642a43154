"""Renders the docstrings of the library as web pages: `make docs`.

python docs/api.py FOLDER
"""

from __future__ import annotations

import pkgutil
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pdoc
import pdoc.render

import egotools


def main(folder: Path) -> None:
    """Writes the pages; a module that cannot be imported is an error."""
    for name in egotools.__all__:  # which are imported when they are used, and pdoc sees what is there
        getattr(egotools, name)
    modules = (found.name for found in pkgutil.walk_packages(egotools.__path__, "egotools."))
    for name in ("egotools", *modules):
        if name.startswith(("egotools.cli", "egotools.__main__")):  # documented by --help; would run
            continue
        module = import_module(name)
        if hasattr(module, "__all__"):  # its main functions; pdoc would leave out what is in its modules
            module.__all__ = [*module.__all__, *(each.name for each in pkgutil.iter_modules(module.__path__))]
    warnings.filterwarnings("error", module=r"pdoc\.")
    for harmless in ("Error parsing type annotation", "Cannot determine where"):  # generic for type checkers only
        warnings.filterwarnings("ignore", message=harmless)
    pdoc.render.configure(docformat="google")
    pdoc.pdoc("egotools", output_directory=folder)
    print(f"the Python API: {folder.absolute() / 'index.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
