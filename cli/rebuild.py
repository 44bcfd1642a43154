"""`egotools rebuild`: which caches are stale, and rebuilding them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import display, options
from .log import output
from .progress import Progress

if TYPE_CHECKING:
    from egotools.rebuild.assessment import Assessment
    from egotools.rebuild.rebuilding import RebuildResult


COUNTS = ("fresh", "stale", "missing", "failed", "dropped")  # clips of a cache, by what is to be done


class Pairs(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """NAME=FILE as a pair."""

    name = "NAME=FILE"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        name, equals, file = str(value).partition("=")
        if not (name and equals and file):
            self.fail(f"{value!r} is not NAME=FILE, such as resnet18=weights.pth", param, context)
        return name, file


@click.command()
@click.argument("caches", nargs=-1, required=True, type=options.PATH)
@click.option("--weights", type=Pairs(), multiple=True, help="New weights for the cache NAME; repeatable.")
@click.option("--manifest", type=options.FILE, help="Manifest to use instead of the caches' own.")
@click.option("--keep-old", is_flag=True, help="Keep replaced caches, in a folder .old next to them.")
@click.option("--drop-failed", is_flag=True, help="Replace a cache even if some of its clips cannot be recomputed.")
@click.option("--retry-failed", is_flag=True, help="Retry all clips that failed before, changed or not.")
@click.option("--digest", is_flag=True, help="Compare the content of source files, not their times.")
@click.option("--checksums/--no-checksums", default=True, show_default=True, help="Look for damaged rows.")
@click.option(
    "--runtime",
    type=click.Choice(["torch", "compile"]),
    default="torch",
    show_default=True,
    help="What computes networks that PyTorch computes: compile, after compiling them for this CPU.",
)
@options.resources
@options.engine
@options.trust
@options.telling
@click.option("--dry-run", is_flag=True, help="Show what is stale and why; change nothing.")
@options.as_json
def rebuild(caches: tuple[Path, ...], dry_run: bool, as_json: bool, **given: Any) -> None:
    """Rebuild what is stale in caches, or in folders of caches; exit status 0 if all is up to date at the end.

    A cache is stale when its weights, its extractor, its manifest or the files of its clips have changed, or rows are
    damaged. Only those clips are computed, in one decoding pass for all caches of a manifest. The new cache is built
    beside the old one, verified, and swapped in. Rerun the command to resume after an interruption.

    \b
    egotools rebuild caches --dry-run
    egotools rebuild caches/mine --weights resnet18=new.pth --keep-old
    """
    from egotools.rebuild.planning import RebuildOptions, check_names, targets

    found = targets(caches, remark=display.note)
    names = ("manifest", "digest", "checksums", "retry_failed")
    chosen = {name: given[name] for name in names}
    chosen |= {"compiling": given["runtime"] == "compile", "trusted": options.trusted(given)}
    asked = RebuildOptions(dict(given["weights"]), **chosen)
    check_names(found, asked)
    results: Sequence[Assessment | RebuildResult]
    if not dry_run:
        output().log_into(cache.parent for cache in found)
    results = _assess(found, asked) if dry_run else _rebuild(found, asked, given)
    is_fresh = all(result.state == "fresh" for result in results)
    if as_json:
        display.show_json({"is_fresh": is_fresh, "caches": [result.summary() for result in results]})
    elif dry_run:
        _show_assessments(results)
    else:
        _show_results(results)
    click.get_current_context().exit(0 if is_fresh else 1)


def _assess(caches: Sequence[Path], asked: Any) -> Sequence[Assessment]:
    from egotools.rebuild.planning import Planner

    with Progress() as progress:
        planner = Planner(asked, progress)
        return [planner.assess(cache) for cache in caches]


def _rebuild(caches: Sequence[Path], asked: Any, given: dict[str, Any]) -> Sequence[RebuildResult]:
    from egotools.rebuild.rebuilding import HowToRebuild
    from egotools.rebuild.rebuilding import rebuild as run_rebuild

    engine = options.engine_of(given)
    how = HowToRebuild(options.resources_of(given), engine, given["keep_old"], given["drop_failed"])
    with Progress() as progress:
        try:
            results = run_rebuild(caches, asked, how, progress=progress)
        except KeyboardInterrupt:
            display.note("the old caches are unchanged; rerun the command to resume")
            raise
    for item in results:
        done = f"was {item.before.state}, is {item.state}; computed {item.computed}, kept {item.carried} clips"
        output().keep("; ".join([f"{item.before.cache}: {done}", *filter(None, [item.problem])]))
        for id, why in item.failed.items():
            output().keep(f"failed: {id}: {why}")
    return results


def _show_assessments(found: Sequence[Any]) -> None:
    display.show_table(
        ["cache", "state", *COUNTS, "why"],
        [
            [str(item.cache), item.state, *(len(getattr(item, count)) for count in COUNTS), item.remarks]
            for item in found
        ],
    )


def _show_results(found: Sequence[Any]) -> None:
    display.show_table(
        ["cache", "was", "is", "computed", "kept", "failed", "remarks"],
        [
            [str(was.cache), was.state, item.state, item.computed, item.carried, len(item.failed), item.remarks]
            for was, item in ((item.before, item) for item in found)
        ],
    )
