"""The int8 network of a cache goes along when the cache is merged or converted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from egotools.config import file_digest
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.stores.int8_files import int8_file
from egotools.stores.merge import convert, merge
from egotools.types import Clip, Rows


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Two caches of one int8 network; the file of the first is damaged."""
    network = tmp_path / "network"
    network.write_bytes(b"network")
    paths = []
    for name in "ab":
        video = tmp_path / name
        video.touch()
        paths.append(tmp_path / f"{name}.lmdb")
        with open_writer(paths[-1], Recipe({"dtype": "float32", "calibration": file_digest(network)})) as writer:
            writer.append(name, Rows(np.ones((1, 2), np.float32), np.array([[0.0, 1.0]])))
            writer.finish(name, Source.of(Clip(name, video)))
            writer.seal()
        int8_file(paths[-1]).write_bytes(b"other" if name == "a" else b"network")
    return paths


def test_merged_and_converted_caches_have_the_network_of_their_rows(shards, tmp_path):
    merge(shards, tmp_path / "all.lmdb")
    convert(tmp_path / "all.lmdb", tmp_path / "half.h5", dtype="float16")
    assert int8_file(tmp_path / "all.lmdb").read_bytes() == int8_file(tmp_path / "half.h5").read_bytes() == b"network"


def test_a_network_that_is_gone_is_no_reason_to_refuse_rows(shards, tmp_path):
    int8_file(shards[1]).unlink()
    merge(shards, tmp_path / "all.lmdb")
    assert len(open_store(tmp_path / "all.lmdb")) == 2
    assert not int8_file(tmp_path / "all.lmdb").exists()
