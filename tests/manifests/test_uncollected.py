"""Python's garbage collector is paused while manifests are read, and only then."""

from __future__ import annotations

import gc

import pytest

from egotools.errors import ManifestError
from egotools.machine import uncollected
from egotools.manifests.table import read_manifest


def test_the_collector_is_as_before_after_an_error(tmp_path):
    assert gc.isenabled()
    with pytest.raises(ManifestError):
        read_manifest(tmp_path / "none.csv")
    assert gc.isenabled()
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
