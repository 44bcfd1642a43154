"""Making stale caches again: one decoding pass for all that share a manifest, then each is verified and swapped in."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from egotools.derive.deriving import derive
from egotools.derive.reproduction import reproduced
from egotools.errors import ClusterError, EgotoolsError, StoreError
from egotools.extract.engine import Engine, extract
from egotools.extract.failures import failures_path, write_failures
from egotools.extract.pipeline import Pipeline
from egotools.extract.request import Resources
from egotools.files.disk import real
from egotools.manifests.table import read_manifest
from egotools.progress import Progress
from egotools.provenance import command_line
from egotools.rebuild import swap
from egotools.rebuild.assessment import Assessment, State, unknown
from egotools.rebuild.derived import not_fresh
from egotools.rebuild.planning import Planner, RebuildOptions, RebuildPlan
from egotools.stores.lineage import inputs_of
from egotools.stores.opening import open_store
from egotools.stores.source import SourceFiles
from egotools.stores.store import Recipe
from egotools.stores.writer_lock import lock_cache
from egotools.types import Clip

CACHES_PER_PASS = 16  # each has a network in memory, and 4 TiB of 128 to address
Failures = list[tuple[Clip, str]]


@dataclass(frozen=True)
class RebuildResult:
    """What became of one cache: its clips by what was done for them, and what it is now."""

    before: Assessment
    state: State
    problem: str = ""  # why it was left as it was
    computed: int = 0
    carried: int = 0  # clips that the old cache had and that still hold
    failed: dict[str, str] = field(default_factory=dict)  # id -> why
    kept: Path | None = None  # where the old one is

    @property
    def remarks(self) -> list[str]:
        """What a person should know of it."""
        found = [self.problem] if self.problem else []
        found += [f"failed: {id}: {why}" for id, why in list(self.failed.items())[:2]]
        found += [f"and {len(self.failed) - 2} more"] if len(self.failed) > 2 else []
        return found + ([f"the old one is {self.kept}"] if self.kept else [])

    def summary(self) -> dict[str, Any]:
        """For programs: what it was, what was done, and what it is."""
        own = ("state", "problem", "computed", "carried", "failed", "kept")
        return {"before": self.before.summary(), **{name: getattr(self, name) for name in own}}


@dataclass(frozen=True)
class HowToRebuild:
    """How caches are made again."""

    resources: Resources = Resources()  # noqa: RUF009 - frozen
    engine: Engine = Pipeline
    keep_old: bool = False
    drop_failed: bool = False  # swap though clips of the old cache cannot be made again


def rebuild(
    caches: Sequence[Path], order: RebuildOptions, way: HowToRebuild, *, progress: Progress
) -> list[RebuildResult]:
    """Makes again what is not fresh; the old caches are readable all the time. Gives an outcome for each, in order.

    A cache that cannot be made again stays as it is, and the others go on. Interrupted, it goes on where it was.

    Raises:
        ClusterError: the cluster cannot be reached.
        KeyboardInterrupt: after everything finished was committed, beside the old caches.
    """
    planner = Planner(order, progress)
    outcomes: dict[Path, RebuildResult] = {}
    derived = [cache for cache in caches if inputs_of(cache)]
    with ExitStack() as locks:
        groups: defaultdict[str, list[RebuildPlan]] = defaultdict(list)
        for cache in (cache for cache in caches if cache not in derived):
            try:
                lock = lock_cache(cache)
            except StoreError as error:
                outcomes[cache] = _left(unknown(cache, error))
                continue
            locks.callback(lock.release)
            plan = planner.plan(cache)
            found = plan if isinstance(plan, Assessment) else plan.assessment
            if found.state == "fresh":
                outcomes[cache] = RebuildResult(found, "fresh", carried=len(found.fresh))
                swap.clear(cache)  # what a rebuild that was killed after its swap may have left
            elif isinstance(plan, Assessment):
                outcomes[cache] = _left(found)
            else:
                groups[plan.shared].append(plan)
                continue
            lock.release()
        making = _Making(way, planner.files, progress)
        for group in groups.values():
            for first in range(0, len(group), CACHES_PER_PASS):
                outcomes.update(_make(group[first : first + CACHES_PER_PASS], making))
    for cache in derived:  # after what they were derived from
        made = {real(path): outcome.state if outcome.problem else "fresh" for path, outcome in outcomes.items()}
        planner.states.update(made)
        try:
            with ExitStack() as held:
                held.callback(lock_cache(cache).release)
                outcomes[cache] = _derive(planner.assess(cache), planner.state, way, progress)
        except EgotoolsError as error:
            outcomes[cache] = _left(unknown(cache, error))
    return [outcomes[cache] for cache in caches]


def _derive(
    found: Assessment, state_of: Callable[[Path], State], way: HowToRebuild, progress: Progress
) -> RebuildResult:
    """Makes a derived cache again, as a whole: no video is read."""
    cache = found.cache
    swap.clear(cache)
    if found.state == "fresh":
        return RebuildResult(found, "fresh", carried=len(found.fresh))
    if found.state == "unknown" or not_fresh(cache, state_of):
        return _left(found)
    new = swap.folder_of(cache) / cache.name
    again = reproduced(cache, open_store(cache).recipe)
    made = derive(again, out=new, origin={"command": command_line()}, progress=progress)  # verified, too
    kept = swap.swap(new, cache, keep_old=way.keep_old)
    swap.clear(cache)
    return RebuildResult(found, "fresh", computed=made.clips, kept=kept)


def _make(group: Sequence[RebuildPlan], making: _Making) -> dict[Path, RebuildResult]:
    """Makes caches that share a manifest in one pass; where that fails, each by itself, so that one stops no other."""
    try:
        failed = making.compute(group)
    except ClusterError:  # nothing to do with the caches
        raise
    except EgotoolsError as error:
        if len(group) == 1:
            return {group[0].cache: _left(group[0].assessment, error)}
        return {cache: outcome for plan in group for cache, outcome in _make([plan], making).items()}
    outcomes = {}
    for plan in group:
        try:
            outcomes[plan.cache] = making.finish(plan, failed.get(plan.cache, []))
        except EgotoolsError as error:
            outcomes[plan.cache] = _left(plan.assessment, error)
    return outcomes


def _left(assessment: Assessment, error: EgotoolsError | None = None) -> RebuildResult:
    why = str(error) if error else "; ".join(assessment.remarks)
    return RebuildResult(assessment, assessment.state, f"left as it was: {why}")


@dataclass(frozen=True)
class _Making:
    way: HowToRebuild
    files: SourceFiles
    progress: Progress

    def compute(self, group: Sequence[RebuildPlan]) -> dict[Path, Failures]:
        """Computes beside each cache the clips that it needs; gives those that failed, by cache."""
        clips = group[0].clips
        wanted = {}
        for plan in group:
            by_id = {clip.id: clip for clip in clips if clip.id not in plan.assessment.failed}
            swap.take_up(plan.cache, plan.recipe, by_id, self.files)
            if plan.assessment.wanted:
                place = swap.workplace(plan.cache)
                wanted[place] = dataclasses.replace(plan.wanted, cache=place, only=plan.assessment.wanted)
        if not wanted:
            return {}
        result = extract(
            clips,
            list(wanted.values()),
            resources=self.way.resources,
            engine=self.way.engine,
            origin=group[0].origin,
            progress=self.progress,
        )
        return {plan.cache: result.failed.get(swap.workplace(plan.cache), []) for plan in group}

    def finish(self, plan: RebuildPlan, failed: Failures) -> RebuildResult:
        """Puts the new cache together, verifies it and swaps it in."""
        cache, before, held = plan.cache, plan.assessment, plan.held()
        reasons = {clip.id: why for clip, why in failed}
        # Rows of another recipe were right when they were made; those of another file, or damaged ones, are not.
        lost = [id for id in reasons if id in held] if before.reasons else []
        if lost and not self.way.drop_failed:
            return RebuildResult(before, before.state, _refusal(lost, reasons), failed=reasons)
        made = open_store(swap.workplace(cache)) if swap.workplace(cache).exists() else None
        computed = frozenset(made or ()).difference(before.fresh)
        expected = frozenset(clip.id for clip in plan.clips).difference(reasons, before.failed)
        new = None
        if computed or before.stale or before.reasons or before.dropped or not before.is_sealed:
            recipe = plan.recipe if made is None else Recipe(plan.recipe.identity, made.recipe.origin)
            carried = {id: held[id] for id in before.fresh}
            new = swap.complete(cache, recipe, carried, progress=self.progress)
            swap.check(new, recipe, expected, progress=self.progress)
        self._record_failures(plan, failed)  # before the swap: once the cache is fresh, nobody would come back to them
        kept = None if new is None else swap.swap(new, cache, keep_old=self.way.keep_old)
        swap.clear(cache)
        state: State = "incomplete" if failed else "fresh"
        return RebuildResult(before, state, "", len(computed), len(before.fresh), reasons, kept)

    def _record_failures(self, plan: RebuildPlan, failed: Failures) -> None:
        path = failures_path(plan.cache)
        earlier = read_manifest(path) if path.is_file() else []
        tried = [clip for clip in [*plan.clips, *earlier] if clip.id not in plan.assessment.failed]
        write_failures(plan.cache, tried, failed)


def _refusal(lost: Sequence[str], reasons: dict[str, str]) -> str:
    return (
        f"left as it was: {len(lost)} of its clips cannot be made again, such as {lost[0]!r} ({reasons[lost[0]]}); "
        "mend them, take them out of the manifest, or go on without them: --drop-failed"
    )
