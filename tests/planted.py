"""Caches that took no extraction: their rows are drawn, so that computed rows are told from those that were kept."""

from __future__ import annotations

import dataclasses
import gc
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from conftest import write_video

from egotools.extraction.failures import write_failures
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import CacheRequest
from egotools.extractors.lookup import find_extractor
from egotools.manifests.table import read_manifest, write_manifest
from egotools.provenance import manifest_origin
from egotools.rebuild.assessment import Assessment
from egotools.rebuild.planning import Planner, RebuildOptions
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.stores.source import content_digest
from egotools.types import Clip, Rows

ODD = Path(__file__).with_name("odd_extractors.py")
WIDTHS = {"color": 30, "brightness": 1}

OWN = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from egotools.config import option
from egotools.extractors.color import Color

Path({marker!r}).touch()

@dataclass(frozen=True)
class Own(Color):
    factor: float = option({factor}, "What rows are multiplied by.")

    def windows(self, video, clip):
        with open({log!r}, "a") as log:
            print(clip.id, file=log)
        return super().windows(video, clip)

    def network(self):
        rows = super().network()
        return lambda windows: np.float32(self.factor) * rows(windows)
"""


def write_videos(folder: Path) -> Path:
    """Three short videos, `a.mp4` to `c.mp4`."""
    for name in "abc":
        write_video(folder / f"{name}.mp4", 8, size=(32, 32), first=ord(name))
    return folder


def manifest_of(videos: Path, folder: Path) -> Path:
    """A manifest with the clips `a`, `b` and `c`, beside copies of their videos."""
    for name in "abc":
        shutil.copy2(videos / f"{name}.mp4", folder)
    write_manifest(folder / "m.csv", [Clip(name, folder / f"{name}.mp4") for name in "abc"])
    return folder / "m.csv"


def write_own(folder: Path, factor: float = 2.0) -> Path:
    """An extractor `own.py:Own` that touches `imported` when it is, and names in `computed` each clip it computes."""
    path = folder / "own.py"
    path.write_text(OWN.format(marker=str(folder / "imported"), log=str(folder / "computed"), factor=factor))
    return path


def want(cache: Path, name: str, *, dtype: str = "float32", **options: Any) -> CacheRequest:
    """An extractor by name, as the command line has it."""
    found = find_extractor(name)
    return CacheRequest(cache, found.built(**options), found, dtype=dtype)


def drawn(id: str, width: int, dtype: str = "float32") -> Rows:
    """Two rows that no extractor gives."""
    values = np.random.default_rng(list(id.encode())).random((2, width)) + 10
    return Rows(values.astype(dtype), np.array([[0.0, 0.4], [0.4, 0.8]]))


def plant(
    wanted: CacheRequest,
    manifest: Path,
    *ids: str,
    limit: int | None = None,
    digest: bool = False,
    recipe: Recipe | None = None,
    failed: Collection[str] = (),
    seal: bool = True,
) -> Path:
    """A cache with drawn rows of the clips of a manifest, or of those named, whose sources are the files as they are.

    Args:
        wanted: what it says that it was made by.
        manifest: what it says that it was made from.
        ids: of the clips that it gets; all but the failed ones if none is named.
        limit: how many clips of the manifest it was meant to have.
        digest: whether it keeps the digests of the clips' files.
        recipe: instead of that of `wanted`.
        failed: ids of clips that it says have failed, with the reason "broken".
        seal: or only commit.
    """
    clips = read_manifest(manifest)[:limit]
    recipe = recipe or recipe_of(wanted, manifest_origin(manifest, limit))
    chosen = set(ids) or {clip.id for clip in clips}.difference(failed)
    with open_writer(wanted.cache, recipe) as writer:
        for clip in clips:
            if clip.id in chosen:
                writer.append(clip.id, drawn(clip.id, WIDTHS.get(wanted.found.cache_name, 30), wanted.dtype))
                source = Source.of(clip)
                writer.finish(
                    clip.id, dataclasses.replace(source, digest=content_digest(clip.path)) if digest else source
                )
        writer.seal() if seal else writer.commit()
    write_failures(wanted.cache, clips, [(clip, "broken") for clip in clips if clip.id in failed])
    return wanted.cache


def changed(recipe: Recipe, **options: Any) -> Recipe:
    """A recipe with other options; None takes one away."""
    given = {**recipe.identity["options"], **options}
    kept = {name: value for name, value in given.items() if value is not None}
    return Recipe({**recipe.identity, "options": kept}, recipe.origin)


def contents(cache: Path) -> dict[str, tuple[bytes, bytes]]:
    """The bytes of the rows and times of every clip."""
    store = open_store(cache)
    return {id: (store[id].values.tobytes(), store[id].times.tobytes()) for id in store}


def touch(path: Path, seconds: float = 5.0) -> None:
    """Says that a file was written later than it was."""
    status = path.stat()
    os.utime(path, (status.st_atime, status.st_mtime + seconds))


def damage(cache: Path, rows: Rows) -> None:
    """Changes one bit of rows wherever they lie in a cache: LMDB leaves copies in pages that it has left."""
    gc.collect()  # what an interruption left in cycles would keep the file open, and LMDB refuses to open it twice
    there = rows.values.tobytes()
    data = cache.read_bytes()
    assert there in data
    cache.unlink()
    cache.write_bytes(data.replace(there, bytes([there[0] ^ 1]) + there[1:]))


def edit(manifest: Path, *drop: str, **changes: dict[str, Any]) -> None:
    """Rewrites a manifest without some clips, and with others changed, by id."""
    clips = [clip for clip in read_manifest(manifest) if clip.id not in drop]
    write_manifest(manifest, [dataclasses.replace(clip, **changes.get(clip.id, {})) for clip in clips])


def add(manifest: Path, *clips: Clip) -> None:
    """Adds clips to a manifest."""
    write_manifest(manifest, [*read_manifest(manifest), *clips])


def assess(cache: Path, **order: Any) -> Assessment:
    """What `egotools rebuild --dry-run` says of a cache; `order` are the fields of an `RebuildOptions`."""
    return Planner(RebuildOptions(**order)).assess(cache)


def assert_all_stale(found: Assessment, reason: str) -> None:
    """None of the three clips holds, for one reason."""
    assert (found.state, found.to_compute) == ("stale", frozenset("abc"))
    assert reason in "; ".join(found.remarks)
    assert set(found.stale.values()) == {found.reasons[0]}


def assert_unknown(found: Assessment, problem: str) -> None:
    """Nothing can be said, for a reason in one line."""
    assert (found.state, found.to_compute) == ("unknown", frozenset())
    assert problem in found.problem
    assert "\n" not in found.problem
