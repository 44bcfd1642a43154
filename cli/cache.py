"""`egotools cache`: list, verify, merge, convert, export and import caches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from egotools.errors import StoreError
from egotools.texts import counted

from . import display, options, watching
from .cache_import import import_
from .groups import Group
from .progress import Progress

if TYPE_CHECKING:
    from egotools.rebuild.assessment import Assessment
    from egotools.stores.summary import Summary

caches = click.argument("caches", nargs=-1, required=True, type=options.PATH)
one_cache = click.argument("cache", type=options.PATH)
LEAST = ("precision", "dtype", "weights", "format", "D", "extractor")  # columns of `ls` that are dropped first


@click.group(cls=Group)
def cache() -> None:
    """List, verify, merge, convert, export and import caches.

    \b
    egotools cache ls caches
    egotools cache verify caches/mine/resnet50.lmdb
    """


cache.add_command(import_)


@cache.command(cls=watching.Watching)
@caches
@click.option("--state/--no-state", default=True, show_default=True, help="Show which are stale.")
@click.option(
    watching.FLAG,
    "seconds",
    type=click.FloatRange(0.1),
    metavar="[SECONDS]",
    help="Show progress every so often (2 s), until all are complete or Ctrl-C.",
)
@options.as_json
def ls(caches: tuple[Path, ...], state: bool, seconds: float | None, as_json: bool) -> None:
    """List caches, those in folders at any depth; exit status 1 if one is broken.

    The state is what 'egotools rebuild --dry-run' says, which also says why; only it looks for damaged rows.

    \b
    egotools cache ls caches
    egotools cache ls --watch caches
    """
    from egotools.rebuild.quick_status import QuickStatus
    from egotools.stores.summary import find_caches, sealed, summarize
    from egotools.stores.writer_lock import writer_of

    if seconds is not None:
        if as_json:
            raise click.UsageError("--watch shows progress to people; without it, --json has all figures of a moment")
        return watching.watch(caches, seconds)
    found, errors = _each(summarize, find_caches(caches, remark=display.note))
    begun = {path: writer for path in errors if (writer := writer_of(path))}  # nothing committed yet
    errors = {path: error for path, error in errors.items() if path not in begun}
    quick_status = QuickStatus() if state else None
    states = [quick_status(sealed(item.path)) if quick_status else None for item in found]
    if as_json:
        others = [{"path": path, "clips": 0, "writer": writer} for path, writer in begun.items()]
        others += [{"path": path, "error": error} for path, error in errors.items()]
        display.show_json([*({**_facts(item), **_state(at)} for item, at in zip(found, states, strict=True)), *others])
    else:
        _show_list(found, states)
    for path, writer in begun.items():
        display.note(f"{path}: being written by {writer}, which has committed nothing yet")
    _fail_if(errors)


@cache.command()
@one_cache
@click.option("--clip", help="Show the source and the statistics of this clip instead.")
@options.as_json
def info(cache: Path, clip: str | None, as_json: bool) -> None:
    """Show a cache's recipe, its counts and its first ids, or one of its clips.

    \b
    egotools cache info caches/mine/resnet50.lmdb
    egotools cache info caches/mine/resnet50.lmdb --clip kitchen/0001
    """
    from egotools.stores import summary

    store = summary.open_any(cache)
    if clip is not None:
        described = summary.describe_clip(store, clip)
        display.show_json(described) if as_json else display.show_mapping(_for_people(described))
        return
    summarized = summary.summarize(cache)
    facts = {**_facts(summarized), "first ids": list(islice(store, 10))}
    if as_json:
        display.show_json({**facts, "identity": store.recipe.identity, "origin": store.recipe.origin})
    else:
        facts["unfinished"] = [
            f"{id}: {it.rows} of {it.begun.total} rows" for id, it in islice(summarized.unfinished.items(), 10)
        ]
        display.show_mapping({**_for_people(facts), **summary.recipe_lines(store.recipe)})


@cache.command()
@caches
@options.telling
@options.as_json
def verify(caches: tuple[Path, ...], as_json: bool) -> None:
    """Read every byte: checksums, shapes, times, NaN and infinite values; exit status 1 if something is damaged.

    \b
    egotools cache verify caches/mine
    """
    from egotools.stores.summary import find_caches
    from egotools.stores.verify import Verification
    from egotools.stores.verify import verify as verify_one

    def check(path: Path) -> Verification:
        with Progress() as progress:
            return verify_one(path, progress=progress)

    found, errors = _each(check, find_caches(caches, remark=display.note))
    if as_json:
        display.show_json([*found, *({"path": path, "error": error} for path, error in errors.items())])
    else:
        display.show_table(
            ["cache", "clips", "rows", "damaged clips", "clips with NaN", "clips with Inf", "orphan blocks"],
            [[v.path, v.clips, v.rows, len(v.bad), len(v.nan), len(v.infinite), v.orphans] for v in found],
        )
    for item in found:
        _remark(item)
    damaged = {item.path: "damaged" for item in found if not item.is_sound}
    _fail_if({**errors, **damaged})


@cache.command()
@caches
@click.option(
    "--manifest", type=options.FILE, help="Clips that must all be there; for shards by default the manifest they name."
)
@click.option("--partial", is_flag=True, help="Merge although clips are missing; they are counted.")
@click.option("--out", required=True, type=options.PATH, help="The new cache, .lmdb or .h5.")
@options.overwrite
@options.telling
def merge(caches: tuple[Path, ...], out: Path, **how: Any) -> None:
    """Write the clips of several caches of one recipe as one cache.

    Shards ('egotools extract --shard') must be complete: every clip of the manifest is in one of them, or in its list
    of failed clips. These lists are joined as OUT.failed.csv; exit status 1 if it is not empty.

    \b
    egotools cache merge shards/1/csn.lmdb shards/2/csn.lmdb --out caches/csn.lmdb
    """
    from egotools.extraction.failures import failures_path
    from egotools.extraction.shards import merge_shards

    with Progress() as progress:
        made = merge_shards(caches, out, **how, progress=progress)
    display.note(f"{out}: {counted(made.clips, 'clip')} of {counted(len(caches), 'cache')}")
    display.name_some("in several of them, with equal rows", made.twice)
    for what, ids in made.missing.items():
        display.note(f"  missing: {what}, such as {ids[0]!r}")
    display.name_some(f"'egotools rebuild {out}' recomputes clips with other times in the manifest", made.changed)
    display.name_some(f"failed, listed in {failures_path(out)}", made.failed, tell=display.failure)
    if made.failed or made.changed:
        click.get_current_context().exit(1)


@cache.command()
@one_cache
@click.argument("out", type=options.PATH)
@click.option("--dtype", type=click.Choice(["float16", "float32"]), help="Type of the rows; by default unchanged.")
@options.overwrite
@options.telling
def convert(cache: Path, out: Path, dtype: Literal["float16", "float32"] | None, overwrite: bool) -> None:
    """Write a cache in the format that OUT ends in (.lmdb, .h5), or with another dtype.

    \b
    egotools cache convert caches/mine/csn.lmdb csn.h5
    egotools cache convert caches/mine/csn.lmdb half.lmdb --dtype float16
    """
    from egotools.stores.merge import convert as convert_cache

    with Progress() as progress:
        count = convert_cache(cache, out, dtype=dtype, overwrite=overwrite, progress=progress)
    display.note(f"{out}: {count} clips of {cache}")


@cache.command()
@one_cache
@click.option(
    "--to",
    "kind",
    required=True,
    type=click.Choice(["npz", "csv", "parquet", "assembly101"]),
    help="npz: a folder with one file per clip; csv, parquet (extra: parquet): a table with one row per window; "
    "assembly101: a folder with one LMDB environment per camera.",
)
@click.option("--out", required=True, type=options.PATH, help="A new folder, or the table.")
@click.option("--partial", is_flag=True, help="Include clips that are not finished, with the rows that are there.")
@options.overwrite
@options.telling
def export(
    cache: Path, kind: Literal["npz", "csv", "parquet", "assembly101"], out: Path, partial: bool, overwrite: bool
) -> None:
    """Write a cache as NumPy files, as a table, or as Assembly101's features, with its recipe.

    npz: values and times of each clip, index.csv and recipe.json; 'egotools cache import' takes the folder back.
    csv and parquet: columns id, start, end (seconds), f0, f1, ...; the recipe is in OUT.json.
    assembly101: one key per video frame, as the public loaders of that data set read it, and the statistics pickle;
    for rows of 'tsm' with ids <recording>/<camera>.

    \b
    egotools cache export caches/mine/csn.lmdb --to npz --out npz/
    egotools cache export caches/mine/csn.lmdb --to parquet --out csn.parquet
    egotools cache export caches/a/tsm.lmdb --to assembly101 --out lmdb/
    """
    from egotools.stores.assembly101_export import export_assembly101
    from egotools.stores.export import export_npz
    from egotools.stores.export_table import export_table

    empty, how = 0, {"overwrite": overwrite, "partial": partial}
    if partial and kind == "assembly101":
        raise click.UsageError("--partial is for --to npz, csv and parquet")
    with Progress() as progress:
        if kind == "assembly101":
            made = export_assembly101(cache, out, overwrite=overwrite, progress=progress)
            what = f"{made.frames} frames of {made.clips} clips, {len(made.cameras)} cameras"
            display.note(f"{out}: {what} ({', '.join(made.cameras)})")
            display.name_some("clips without rows, not in it", made.empty)
            return
        if kind == "npz":
            count = export_npz(cache, out, **how, progress=progress)
        else:
            count, empty = export_table(cache, out, kind, **how, progress=progress)
    left = f"; {empty} of them have no rows and are not in the table" if empty else ""
    display.note(f"{out}: {count} clips of {cache}{left}")


def _show_list(found: Sequence[Summary], states: Sequence[Assessment | None]) -> None:
    names = ("path", "format", "clips", "rows", "width", "dtype", "bytes", "extractor", "weights", "precision")
    columns = ["cache", "format", "clips", "rows", "D", "dtype", "size", "extractor", "weights", "precision", "state"]
    rows = []
    for item, at in zip(found, states, strict=True):
        values = {**vars(item), "bytes": display.size(item.bytes)}
        rows.append([*(values[name] for name in names), at and at.state])
        if item.writer:
            rows[-1][-1] = f"being written by {item.writer}" + (f", {len(at.missing)} clips to come" if at else "")
    if any(item.unfinished for item in found):
        columns.append("unfinished")
        rows = [[*row, _unfinished(item)] for row, item in zip(rows, found, strict=True)]
    if any(item.writer for item in found):
        columns.append("last commit")
        rows = [[*row, _age(item.committed)] for row, item in zip(rows, found, strict=True)]
    display.show_table(columns, rows, first_to_go=LEAST)


def _facts(found: Summary) -> dict[str, Any]:
    """JSON-ready."""
    unfinished = {id: {"rows": it.rows, "total": it.begun.total} for id, it in found.unfinished.items()}
    return {**vars(found), "unfinished": unfinished}


def _unfinished(found: Summary) -> str | None:
    """Clips of which only the first rows are there."""
    clips, rows = counted(len(found.unfinished), "clip"), counted(found.unfinished_rows, "row")
    return f"{clips}, {rows}" if found.unfinished else None


def _for_people(values: Mapping[str, Any]) -> dict[str, object]:
    """Facts with bytes as MB and seconds since 1970 as times."""
    ways = {"bytes": display.size, "source size": display.size, "committed": _moment, "source mtime": _moment}
    return {name: ways[name](value) if name in ways and value is not None else value for name, value in values.items()}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


def _age(committed: int | None) -> str | None:
    return None if committed is None else f"{display.duration(max(time.time() - committed, 0))} ago"


def _state(found: Any) -> dict[str, Any]:
    return {"state": found.state, "why": found.remarks} if found else {}


def _each(function: Callable[[Path], Any], paths: Sequence[Path]) -> tuple[list[Any], dict[Path, str]]:
    """What `function` returns for each cache, and the errors of those for which it fails."""
    found, errors = [], {}
    for path in paths:
        try:
            found.append(function(path))
        except StoreError as error:
            errors[path] = str(error)
    return found, errors


def _fail_if(errors: dict[Path, str]) -> None:
    for path, error in errors.items():
        display.failure(error if str(path) in error else f"{path}: {error}")
    if errors:
        click.get_current_context().exit(1)


def _remark(found: Any) -> None:
    """Names damaged clips, and clips with NaN or infinite values."""
    for problem in found.problems:
        display.failure(f"{found.path}: {problem}")
    for name, problem in found.bad.items():
        display.failure(f"{found.path}: clip {name!r}: {problem}")
    for kind, clips in (("NaN", found.nan), ("infinite", found.infinite)):
        for name, count in clips.items():
            display.note(f"{found.path}: clip {name!r} has {count} {kind} values (stored so; not damage)")
