"""Ids in one form of Unicode: caches of today hold what macOS wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tabled import IMPORTED, write_table

from egotools.errors import StoreError
from egotools.manifests.table import on_disk, read_manifest
from egotools.stores import Source, open_store, open_writer
from egotools.stores.importing import Keys, import_arrays
from egotools.tables.table import read_table
from egotools.texts import uncomposed
from egotools.training.folds import FoldFile
from egotools.types import Rows

NFC, NFD = "caf\u00e9/a", "cafe\u0301/a"
ROWS = Rows(np.float32([[1, 2]]), np.array([[0.0, 1.0]]))


@pytest.fixture(params=["lmdb", "h5"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A cache as an older egotools made it: its id is in the form NFD."""
    path = tmp_path / f"old.{request.param}"
    with open_writer(path, IMPORTED) as writer:
        for id in (NFD, "plain"):
            writer.append(id, ROWS)
            writer.finish(id, Source("x.npy"))
        writer.seal()
    if request.param == "lmdb":
        assert NFD.encode() in path.read_bytes()
        assert NFC.encode() not in path.read_bytes()
    return path


def test_a_clip_is_found_whatever_form_it_was_stored_in(old: Path, tmp_path: Path) -> None:
    store = open_store(old)
    assert NFC in store
    assert NFD in store
    assert list(store) == [NFD, "plain"]
    assert store[NFC].values.tolist() == store[NFD].values.tolist() == [[1, 2]]
    assert store.source(NFC).path == "x.npy"
    for id in (NFC, NFD):
        table = read_table(write_table(tmp_path / "m.csv", [id], {"label": ["x"]}), [old])
        assert (table.ids.tolist(), table.values.tolist(), table.remarks) == ([NFC], [[1, 2]], ())


def test_going_on_makes_no_second_clip_of_it(old: Path) -> None:
    with open_writer(old, IMPORTED) as writer:
        assert NFC in writer
        assert NFD in writer
        writer.append("other", ROWS)
        writer.finish("other", Source(""))
        writer.seal()
    assert list(open_store(old)) == [NFD, "other", "plain"]


def test_both_forms_in_one_old_cache_stay_two_clips() -> None:
    assert uncomposed([NFC, NFD, "cafe\u0301"]) == {"caf\u00e9": "cafe\u0301"}


def test_imported_ids_are_composed_and_differ(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", id=np.array([NFD, "b"]), x=np.ones((2, 3)))
    import_arrays(tmp_path / "a.npz", tmp_path / "a.lmdb", keys=Keys("id", "x"))
    assert list(open_store(tmp_path / "a.lmdb")) == ["b", NFC]
    np.savez(tmp_path / "b.npz", id=np.array([NFD, NFC]), x=np.ones((2, 3)))
    with pytest.raises(StoreError, match="more than once"):
        import_arrays(tmp_path / "b.npz", tmp_path / "b.lmdb", keys=Keys("id", "x"))


def test_folds_name_clips_in_either_form(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('{"k": [["cafe\u0301"], ["caf\u00e9"]]}', encoding="utf-8")
    assert FoldFile(tmp_path / "f.json", "k").ids() == [["caf\u00e9"], ["caf\u00e9"]]


@pytest.mark.parametrize(("there", "said"), [("e\u0301", "\u00e9"), ("\u00e9", "e\u0301")])
def test_a_file_is_found_whose_name_has_the_other_form(tmp_path: Path, there: str, said: str) -> None:
    folder = tmp_path / f"caf{there}"
    folder.mkdir()
    (folder / f"clip {there}.mp4").touch()
    (tmp_path / "m.csv").write_text(f"id,path\na,caf{said}/clip {said}.mp4\n", encoding="utf-8")
    assert read_manifest(tmp_path / "m.csv")[0].path == folder / f"clip {there}.mp4"
    absolute = str(tmp_path / f"caf{said}" / f"clip {said}.mp4")
    assert on_disk(absolute) == str(folder / f"clip {there}.mp4")
    assert on_disk(str(tmp_path / f"no{said}.mp4")) == str(tmp_path / f"no{said}.mp4")
