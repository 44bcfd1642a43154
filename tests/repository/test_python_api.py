"""The script of docs/python.md runs as it stands, and the rendered docstrings open with functions that exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from conftest import write_video
from shown_files import shown_files
from tabled import write_cache, write_table

import egotools
from egotools.derive.segments import Cutting, segment_cache
from egotools.manifests.folders import list_folder, list_places
from egotools.manifests.segments import Segment, read_segments, write_segments
from egotools.tables.sequences import read_sequences
from egotools.tables.windows import read_windows

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.integration
def test_the_scripts_of_the_page_run_one_after_the_other(tmp_path):
    for index, name in enumerate(("cooking/soup", "cooking/rice", "walking/park", "walking/home")):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / f"videos/{name}.mp4", 10, first=20 * index)
    printed = []
    for name, code in shown_files(REPOSITORY / "docs/python.md").items():
        (tmp_path / name).write_text(code)
        done = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.splitlines())
    (*clips, evaluated), (trained,) = printed
    names = ("cooking/rice", "cooking/soup", "walking/home", "walking/park")
    assert sorted(clips) == [f"{name} (2, 30)" for name in names]
    assert re.match(r"accuracy (0\.\d+|1\.0)\b", evaluated)
    assert trained == "4 items of ('cooking', 'walking')"


def test_the_main_functions_are_those_that_type_checkers_see():
    tree = ast.parse(Path(egotools.__file__).read_text())
    seen = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("egotools.")
        for alias in node.names
    }
    assert seen == egotools._PLACES
    assert sorted(seen) == sorted(egotools.__all__)
    import_module("egotools.extraction.engine")  # no sub-package hides a function
    for name, place in seen.items():
        module, _, attribute = place.partition(":")
        assert getattr(egotools, name) is getattr(import_module(module), attribute)
    assert {*egotools.__all__, "__version__"} <= {*dir(egotools)}
    with pytest.raises(AttributeError, match="module 'egotools' has no attribute 'extrakt'"):
        egotools.extrakt  # noqa: B018


def test_importing_the_package_loads_no_library():
    heavy = {"torch", "numpy", "pandas", "av", "lmdb", "importlib.metadata"}
    code = f"import sys, egotools; print(sorted({heavy} & set(sys.modules)), egotools.open.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] open_store\n"


def test_paths_may_be_text(tmp_path):
    cache, manifest = tmp_path / "a.lmdb", str(tmp_path / "m.csv")
    write_table(Path(manifest), ["one", "two"], {"verb": ["cut", "take"]})
    write_cache(cache, ["one", "two"], np.eye(2))
    assert [clip.id for clip in egotools.read_manifest(manifest)] == ["one", "two"]
    assert len(egotools.open(str(cache))) == len(egotools.CacheDataset(str(cache))) == 2
    assert egotools.read_table(manifest, str(cache)).values.shape == (2, 2)
    assert len(read_windows(manifest, [str(cache)])) == 2
    segments = str(tmp_path / "s.csv")
    write_segments(segments, [Segment("one", 0.0, 1.0, "cut", "one")])
    assert [each.label for each in read_segments(segments)] == ["cut"]
    assert read_sequences(manifest, [str(cache)], segments).classes == ("cut",)
    assert len(segment_cache(str(cache), Cutting(segments=1), manifest).clips) == 2
    (tmp_path / "v.mp4").touch()
    assert [item.name for item in list_folder(str(tmp_path)).found] == ["v.mp4"]
    assert [item.name for item in list_places([str(tmp_path / "*.mp4")]).found] == ["v.mp4"]


def test_the_first_page_of_the_docstrings_leads_to_what_exists():
    names = re.findall(r"`(egotools\.[\w.]+)`", egotools.__doc__ or "")
    assert len(names) > 10
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute) or import_module(name), name


def test_every_module_says_what_it_is_for():
    for path in (REPOSITORY / "egotools").rglob("*.py"):
        assert path.read_text().startswith('"""'), path
