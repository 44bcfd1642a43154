"""Small caches to derive others from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cache_rows import make_rows

from egotools.derive.deriving import Derived
from egotools.derive.pool import Pool
from egotools.stores import Recipe, Source, open_writer
from egotools.types import Rows

SOURCE = Source("/videos/a.mp4", 1.0, 2.0, 10, 5.0, 25.0, "abc")


CLIPS = {"a": make_rows(5, 1), "b": make_rows(0), "ü/c": make_rows(1, 2)}


def make_cache(path: Path, clips: Mapping[str, Rows] = CLIPS) -> Path:
    with open_writer(path, Recipe({"extractor": "color"})) as writer:
        for name, rows in clips.items():
            writer.append(name, rows)
            writer.finish(name, SOURCE)
        writer.seal()
    return path


def damage(path: Path, rows: Rows) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(rows.values.tobytes())] ^= 1
    path.unlink()
    path.write_bytes(data)


def pooled(out: Path, input: Path, *statistics: str) -> Derived:
    return Derived(out, "pool", Pool(statistics or ("mean",)), {input.stem: input})
