"""The digest of what a cache holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from cache_rows import make_rows

from egotools.errors import StoreError
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.stores.digest import content_of
from egotools.stores.lmdb_layout import BLOCK_BYTES
from egotools.stores.merge import convert
from egotools.types import Rows

IDENTITY = {"extractor": "color", "options": {"bins": 8, "fps": 1.0}}


CLIPS = {"a": make_rows(3, 1), "b": make_rows(0), "ü/c": make_rows(2, 2)}


def make_cache(
    path: Path,
    clips: dict[str, Rows] = CLIPS,
    *,
    identity: dict[str, object] = IDENTITY,
    origin: str = "",
    mtime: float = 5.0,
    commits: Sequence[str] = (),
) -> Path:
    with open_writer(path, Recipe(identity, {"command": origin})) as writer:
        for name, rows in clips.items():
            for row in range(len(rows.values)):
                writer.append(name, Rows(rows.values[row : row + 1], rows.times[row : row + 1]))
            writer.finish(name, Source("/videos/a.mp4", 1.0, 2.0, 10, mtime))
            if name in commits:
                writer.commit()
        writer.seal()
    return path


def digest(path: Path) -> str:
    return content_of(open_store(path))


@pytest.fixture
def content(tmp_path):
    return digest(make_cache(tmp_path / "first.lmdb"))


def test_the_same_rows_written_again_have_the_same_digest(tmp_path, content):
    again = dict(reversed(CLIPS.items()))
    assert digest(make_cache(tmp_path / "again.lmdb", again, origin="x", mtime=9.0, commits=["a"])) == content


def test_the_same_rows_as_hdf5_have_the_same_digest(tmp_path, content):
    assert digest(make_cache(tmp_path / "sealed.h5")) == content
    convert(tmp_path / "sealed.h5", tmp_path / "back.lmdb")
    assert digest(tmp_path / "back.lmdb") == content


def test_clips_of_many_blocks_have_the_digest_that_they_have_in_one_piece(tmp_path):
    width = BLOCK_BYTES // 8  # two rows a block
    clips = {"long": make_rows(5, width=width)}
    assert digest(make_cache(tmp_path / "a.lmdb", clips)) == digest(make_cache(tmp_path / "a.h5", clips))


def test_the_order_of_a_recipe_s_options_does_not_matter(tmp_path, content):
    turned = {"options": {"fps": 1.0, "bins": 8}, "extractor": "color"}
    assert digest(make_cache(tmp_path / "turned.lmdb", identity=turned)) == content


@pytest.mark.parametrize(
    "clips",
    [
        {**CLIPS, "d": make_rows(0)},
        {name: rows for name, rows in CLIPS.items() if name != "b"},
        {**CLIPS, "a": make_rows(3, 7)},
        {**CLIPS, "a": make_rows(2, 1)},
        {**CLIPS, "a": Rows(CLIPS["a"].values, CLIPS["a"].times + 0.5)},
        {"a": CLIPS["ü/c"], "b": CLIPS["b"], "ü/c": CLIPS["a"]},
        {name: make_rows(len(rows.values), dtype="float16") for name, rows in CLIPS.items()},
        {},
    ],
    ids=["a clip more", "a clip less", "other rows", "fewer rows", "other times", "swapped", "float16", "empty"],
)
def test_other_contents_have_another_digest(tmp_path, content, clips):
    assert digest(make_cache(tmp_path / "other.lmdb", clips)) != content


def test_another_recipe_has_another_digest(tmp_path, content):
    other = {"extractor": "color", "options": {"bins": 4, "fps": 1.0}}
    assert digest(make_cache(tmp_path / "other.lmdb", identity=other)) != content


def test_equal_bytes_of_another_shape_have_another_digest(tmp_path):
    rows = make_rows(2, width=6)
    wide = make_cache(tmp_path / "wide.lmdb", {"a": rows})
    narrow = make_cache(tmp_path / "narrow.lmdb", {"a": Rows(rows.values.view("<f2"), rows.times)})
    assert digest(wide) != digest(narrow)


def test_an_empty_cache_has_one_digest_in_both_formats(tmp_path):
    assert digest(make_cache(tmp_path / "none.lmdb", {})) == digest(make_cache(tmp_path / "none.h5", {}))


def test_no_rows_are_read(tmp_path):
    rows = make_rows(4, 3)
    path = make_cache(tmp_path / "a.lmdb", {"a": rows})
    before = digest(path)
    data = bytearray(path.read_bytes())
    data[data.index(rows.values[2].tobytes())] ^= 1
    path.unlink()
    path.write_bytes(data)
    assert not open_store(path).stored("a").is_intact()
    assert digest(path) == before


def test_a_damaged_record_is_named(tmp_path):
    path = make_cache(tmp_path / "a.lmdb", {"clip": make_rows(3, 1)})
    data = bytearray(path.read_bytes())
    at = data.index(b"cclip") + 5
    data[at : at + 8] = (10_000_000).to_bytes(8, "little")  # rows
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(StoreError, match="record of clip 'clip'"):
        digest(path)
