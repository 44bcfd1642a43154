"""Rebuilds stale caches: one decoding pass for all that share a manifest; each is then verified and swapped in."""

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
from egotools.extraction.engine import Engine, extract
from egotools.extraction.failures import failures_path, write_failures
from egotools.extraction.pipeline import Pipeline
from egotools.extraction.request import Resources
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

CACHES_PER_PASS = 16  # each has a network in memory, and 4 of 128 TiB addresses
Failures = list[tuple[Clip, str]]


@dataclass(frozen=True)
class RebuildResult:
    """The result for one cache: how many clips were computed or kept, and its state afterwards."""

    before: Assessment
    state: State
    problem: str = ""  # why it was left unchanged
    computed: int = 0
    carried: int = 0  # clips of the old cache that were still fresh
    failed: dict[str, str] = field(default_factory=dict)  # id -> why
    kept: Path | None = None  # path of the old one

    @property
    def remarks(self) -> list[str]:
        """What the user should know about it."""
        found = [self.problem] if self.problem else []
        found += [f"failed: {id}: {why}" for id, why in list(self.failed.items())[:2]]
        found += [f"and {len(self.failed) - 2} more"] if len(self.failed) > 2 else []
        return found + ([f"the old one is {self.kept}"] if self.kept else [])

    def summary(self) -> dict[str, Any]:
        """For programs: the state before, what was done, and the state after."""
        own = ("state", "problem", "computed", "carried", "failed", "kept")
        return {"before": self.before.summary(), **{name: getattr(self, name) for name in own}}


@dataclass(frozen=True)
class HowToRebuild:
    """How caches are rebuilt."""

    resources: Resources = Resources()  # noqa: RUF009 - frozen
    engine: Engine = Pipeline
    keep_old: bool = False
    drop_failed: bool = False  # swap even if clips of the old cache cannot be rebuilt


def rebuild(
    caches: Sequence[Path | str], options: RebuildOptions, how: HowToRebuild, *, progress: Progress
) -> list[RebuildResult]:
    """Rebuilds what is not fresh; the old caches stay readable throughout. Returns one result per cache, in order.

    A cache that cannot be rebuilt is left unchanged, and the others continue. An interrupted rebuild can be resumed.

    Raises:
        ClusterError: the cluster cannot be reached.
        KeyboardInterrupt: everything finished so far is committed, next to the old caches.
    """
    paths = [Path(cache) for cache in caches]
    planner = Planner(options, progress)
    results: dict[Path, RebuildResult] = {}
    derived = [cache for cache in paths if inputs_of(cache)]
    with ExitStack() as locks:
        groups: defaultdict[str, list[RebuildPlan]] = defaultdict(list)
        for cache in (cache for cache in paths if cache not in derived):
            try:
                lock = lock_cache(cache)
            except StoreError as error:
                results[cache] = _unchanged(unknown(cache, error))
                continue
            locks.callback(lock.release)
            plan = planner.plan(cache)
            found = plan if isinstance(plan, Assessment) else plan.assessment
            if found.state == "fresh":
                results[cache] = RebuildResult(found, "fresh", carried=len(found.fresh))
                swap.clear(cache)  # leftovers of a rebuild that was killed after its swap
            elif isinstance(plan, Assessment):
                results[cache] = _unchanged(found)
            else:
                groups[plan.shared].append(plan)
                continue
            lock.release()
        job = _GroupRebuild(how, planner.files, progress)
        for group in groups.values():
            for first in range(0, len(group), CACHES_PER_PASS):
                results.update(_rebuild_group(group[first : first + CACHES_PER_PASS], job))
    for cache in derived:  # after their inputs
        made = {real(path): result.state if result.problem else "fresh" for path, result in results.items()}
        planner.states.update(made)
        try:
            with ExitStack() as held:
                held.callback(lock_cache(cache).release)
                results[cache] = _rebuild_derived(planner.assess(cache), planner.state, how, progress)
        except EgotoolsError as error:
            results[cache] = _unchanged(unknown(cache, error))
    return [results[cache] for cache in paths]


def _rebuild_derived(
    found: Assessment, state_of: Callable[[Path], State], how: HowToRebuild, progress: Progress
) -> RebuildResult:
    """Rebuilds a derived cache, completely: no video is read."""
    cache = found.cache
    swap.clear(cache)
    if found.state == "fresh":
        return RebuildResult(found, "fresh", carried=len(found.fresh))
    if found.state == "unknown" or not_fresh(cache, state_of):
        return _unchanged(found)
    new = swap.folder_of(cache) / cache.name
    again = reproduced(cache, open_store(cache).recipe)
    made = derive(again, out=new, origin={"command": command_line()}, progress=progress)  # verified, too
    kept = swap.swap(new, cache, keep_old=how.keep_old)
    swap.clear(cache)
    state: State = "incomplete" if made.failed else "fresh"
    return RebuildResult(found, state, computed=made.clips, failed=dict(made.failed), kept=kept)


def _rebuild_group(group: Sequence[RebuildPlan], job: "_GroupRebuild") -> dict[Path, RebuildResult]:
    """Rebuilds caches that share a manifest in one pass; if that fails, one by one, so that each can fail alone."""
    try:
        failed = job.compute(group)
    except ClusterError:  # not caused by a cache
        raise
    except EgotoolsError as error:
        if len(group) == 1:
            return {group[0].cache: _unchanged(group[0].assessment, error)}
        return {cache: result for plan in group for cache, result in _rebuild_group([plan], job).items()}
    results = {}
    for plan in group:
        try:
            results[plan.cache] = job.finish(plan, failed.get(plan.cache, []))
        except EgotoolsError as error:
            results[plan.cache] = _unchanged(plan.assessment, error)
    return results


def _unchanged(assessment: Assessment, error: EgotoolsError | None = None) -> RebuildResult:
    why = str(error) if error else "; ".join(assessment.remarks)
    return RebuildResult(assessment, assessment.state, f"left unchanged: {why}")


@dataclass(frozen=True)
class _GroupRebuild:
    how: HowToRebuild
    files: SourceFiles
    progress: Progress

    def compute(self, group: Sequence[RebuildPlan]) -> dict[Path, Failures]:
        """Computes the clips that each cache needs, next to it; returns those that failed, by cache."""
        clips = group[0].clips
        requests = {}
        for plan in group:
            by_id = {clip.id: clip for clip in clips if clip.id not in plan.assessment.failed}
            swap.resume(plan.cache, plan.recipe, by_id, self.files)
            swap.carry_unfinished(plan.cache, plan.recipe, plan.assessment.to_compute)
            if plan.assessment.to_compute:
                place = swap.workplace(plan.cache)
                requests[place] = dataclasses.replace(plan.request, cache=place, only=plan.assessment.to_compute)
        if not requests:
            return {}
        result = extract(
            clips,
            list(requests.values()),
            resources=self.how.resources,
            engine=self.how.engine,
            origin=group[0].origin,
            progress=self.progress,
        )
        return {plan.cache: result.failed.get(swap.workplace(plan.cache), []) for plan in group}

    def finish(self, plan: RebuildPlan, failed: Failures) -> RebuildResult:
        """Puts the new cache together, verifies it and swaps it in."""
        cache, before, held = plan.cache, plan.assessment, plan.held()
        reasons = {clip.id: why for clip, why in failed}
        # Rows of an older recipe were correct when they were made; those of a changed file, or damaged ones, are not.
        lost = [id for id in reasons if id in held] if before.reasons else []
        if lost and not self.how.drop_failed:
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
        self._record_failures(plan, failed)  # before the swap: a fresh cache would not be visited again
        kept = None if new is None else swap.swap(new, cache, keep_old=self.how.keep_old)
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
        f"left unchanged: {len(lost)} of its clips cannot be rebuilt, such as {lost[0]!r} ({reasons[lost[0]]}); "
        "repair them, remove them from the manifest, or continue without them: --drop-failed"
    )
