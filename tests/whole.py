"""What caches hold, clip by clip, and what they should: extractions and rebuilds that nothing disturbed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from conftest import write_video
from faults import Starter

from egotools.errors import StoreError
from egotools.manifests.table import read_manifest, write_manifest
from egotools.stores import Source, Store, open_store
from egotools.stores.lmdb_store import LMDBStore
from egotools.stores.verify import verify
from egotools.types import Clip, Rows

ODD = Path(__file__).with_name("odd_extractors.py")
NETWORK = ["torchvision:squeezenet1_1", "--weights", "random:0", "--resize", "32x32", "--frames", 3]
EXTRACTORS = [f"{ODD}:Heavy", f"{ODD}:Backwards", "color", *NETWORK]
CACHES = ("heavy", "backwards", "color", "squeezenet1_1")
SUFFIX = {"lmdb": ".lmdb", "hdf5": ".h5"}


@dataclass(frozen=True)
class Whole:
    """What a command makes of a manifest when nothing disturbs it."""

    manifest: Path
    folders: dict[str, Path]  # of the caches, by store
    held: dict[str, dict[str, Held]]  # by cache name, then by clip
    seconds: dict[str, float]  # that it takes, by store


@dataclass(frozen=True, eq=False)
class Held:
    """One clip as a cache holds it."""

    rows: Rows
    source: Source

    def __eq__(self, other: object) -> bool:
        """Bit for bit."""
        return (
            isinstance(other, Held)
            and self.source == other.source
            and self.rows.values.shape == other.rows.values.shape
            and self.rows.values.tobytes() == other.rows.values.tobytes()
            and self.rows.times.tobytes() == other.rows.times.tobytes()
        )


def held(cache: Path) -> dict[str, Held]:
    """Every clip that can be had from a cache, or from what waits to be sealed; all of them whole, none twice."""
    found: dict[str, Held] = {}
    for store in _readable(cache):
        ids = list(store)
        assert len(set(ids)) == len(ids) == len(store), f"{store.path}: its header says {len(store)}, not {ids}"
        for id in ids:
            assert store.stored(id).is_intact(), f"{store.path}: clip {id!r} is torn"
            clip = Held(store[id], store.source(id))
            assert found.setdefault(id, clip) == clip, f"{cache}: clip {id!r} is there twice, with other rows"
        assert store.rows == sum(len(store.stored(id)) for id in ids)
    return found


def _readable(cache: Path) -> Iterator[Store]:
    part = cache.with_name(cache.name + ".part")
    for path, kind in ((cache, open_store), (part, LMDBStore)):
        try:
            yield kind(path)
        except StoreError as error:
            if not any(text in str(error) for text in ("no such cache", "not sealed yet", "nothing was committed")):
                raise


def line(manifest: Path, out: Path, store: str, *extractors: object) -> list[object]:
    common = ["extract", "--manifest", manifest, "--out", out, "--store", store, "--workers", 2]
    return [*common, *(extractors or EXTRACTORS)]


def extracted(starter: Starter, folder: Path) -> Whole:
    """Videos, a manifest, and what is extracted from them: one is no video."""
    for name, frames in (("a", 20), ("b", 7), ("c", 33), ("d", 80)):
        write_video(folder / f"{name}.mp4", frames, first=ord(name))
    (folder / "text.mp4").write_text("not a video")
    clips = [Clip(f"{name}{n}", folder / f"{name}.mp4") for n in range(4) for name in "abc"]
    clips += [Clip("d", folder / "d.mp4"), Clip("text", folder / "text.mp4")]
    manifest = folder / "m.csv"
    write_manifest(manifest, clips)
    folders, seconds = {}, {}
    for store in ("lmdb", *SUFFIX):  # the first run of all is slower than any later one
        before = time.monotonic()
        folders[store] = folder / store / str(store in folders)
        finished = starter.run(line(manifest, folders[store], store), folder / "said")
        assert finished.status == 1, finished.stderr
        seconds[store] = time.monotonic() - before
    found = look(folders["lmdb"], "lmdb")
    assert all(len(clips) == 13 for clips in found.values())
    return Whole(manifest, folders, found, seconds)


def look(out: Path, store: str) -> dict[str, dict[str, Held]]:
    return {name: held(out / f"{name}{SUFFIX[store]}") for name in CACHES}


def agree(name: str, one: Held, other: Held) -> bool:
    """Bit for bit; but for a network in batches of others, which has other last bits in its sums."""
    if name != "squeezenet1_1":
        return one == other
    return (
        one.source == other.source
        and np.array_equal(one.rows.times, other.rows.times)
        and np.allclose(one.rows.values, other.rows.values, rtol=1e-4, atol=1e-4)
    )


def is_part_of(name: str, found: dict[str, Held], whole: dict[str, Held]) -> bool:
    """No clip that an undisturbed run does not have, and the rows of each as there."""
    return all(id in whole and agree(name, clip, whole[id]) for id, clip in found.items())


def is_same(name: str, found: dict[str, Held], whole: dict[str, Held]) -> bool:
    return found.keys() == whole.keys() and is_part_of(name, found, whole)


def assert_finished(out: Path, store: str, whole: Whole) -> None:
    """As an undisturbed run leaves it: clips, failures, files."""
    for name, found in look(out, store).items():
        assert is_same(name, found, whole.held[name]), name
        verified = verify(out / f"{name}{SUFFIX[store]}")
        assert verified.is_sound
        assert verified.orphans == 0
        assert not getattr(open_store(out / f"{name}{SUFFIX[store]}"), "unfinished", {})
    assert not names_in(out) ^ names_in(whole.folders[store]), names_in(out) ^ names_in(whole.folders[store])
    for failures in out.glob("*.failed.csv"):
        assert [clip.id for clip in read_manifest(failures)] == ["text"]


def names_in(folder: Path) -> set[str]:
    """What lies there, but for LMDB's own lock files, which appear with whoever looks, and old caches that are kept."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lmdb-lock") and path.name != ".old"}
