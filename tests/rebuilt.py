"""Making caches again, and looking at what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from planted import contents, drawn, touch, want

from egotools.extraction.engine import extract
from egotools.extraction.messages import Piece
from egotools.extraction.pipeline import Pipeline
from egotools.extraction.request import CacheRequest, Extraction, Resources
from egotools.progress import no_progress
from egotools.rebuild import rebuilding
from egotools.rebuild.planning import Planner, RebuildOptions
from egotools.rebuild.rebuilding import HowToRebuild, RebuildResult, rebuild
from egotools.stores.verify import verify
from egotools.types import Clip

ONE = Resources(device="cpu", workers=1)
Contents = dict[str, tuple[bytes, bytes]]


def truth_of(videos: Path) -> Contents:
    """What an extraction gives."""
    wanted = want(videos / "truth.lmdb", "color")
    extract([Clip(name, videos / f"{name}.mp4") for name in "abc"], [wanted], resources=ONE)
    return contents(wanted.cache)


def watch(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """Of every extraction that a rebuild begins and ends from now on: how many clips it computed for each cache."""
    seen: list[dict[str, int]] = []

    def watched(clips: Sequence[Clip], wanted: Sequence[CacheRequest], **given: Any) -> Extraction:
        result = extract(clips, wanted, **given)
        seen.append({cache.parent.name.removesuffix(".rebuild")[1:]: done for cache, done in result.done.items()})
        return result

    monkeypatch.setattr(rebuilding, "extract", watched)
    return seen


def remake(
    *caches: Path, engine: Any = Pipeline, keep_old: bool = False, drop: bool = False, **order: Any
) -> RebuildResult:
    """Makes caches again; the outcome of the first."""
    return remake_all(*caches, engine=engine, keep_old=keep_old, drop=drop, **order)[0]


def remake_all(*caches: Path, engine: Any = Pipeline, keep_old: bool = False, drop: bool = False, **order: Any) -> Any:
    return rebuild(caches, RebuildOptions(**order), HowToRebuild(ONE, engine, keep_old, drop), progress=no_progress)


def kept(*ids: str, dtype: str = "float32") -> Contents:
    """The rows that `plant` gave to clips."""
    rows = {id: drawn(id, 30, dtype) for id in ids}
    return {id: (each.values.tobytes(), each.times.tobytes()) for id, each in rows.items()}


def only(found: Contents, *ids: str) -> Contents:
    return {id: found[id] for id in ids}


def assert_settled(cache: Path) -> None:
    """Fresh, whole, and nothing of the making is left."""
    assert Planner(RebuildOptions()).assess(cache).state == "fresh"
    assert verify(cache).is_sound
    left = {path.name for path in cache.parent.iterdir() if path.name.startswith(f".{cache.name}")}
    left |= {path.name for path in cache.parent.glob("*.writer")}
    assert left == set()


class Interrupted(Pipeline):
    """Ctrl-C after two clips."""

    def pieces(self, tasks: Any, is_wanted: Any) -> Any:
        given = 0
        for message in super().pieces(tasks, is_wanted):
            if isinstance(message, Piece):
                if given == 2:
                    raise KeyboardInterrupt
                given += 1
            yield message


def interrupt(*caches: Path, **order: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        remake(*caches, engine=Interrupted, **order)


def forget(manifest: Path, *names: str) -> None:
    """Makes the clips of a cache stale."""
    for name in names or "abc":
        touch(manifest.with_name(f"{name}.mp4"))


def spoil(manifest: Path, name: str) -> None:
    manifest.with_name(f"{name}.mp4").write_text("not a video any more")
