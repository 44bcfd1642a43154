"""`egotools extract`: common options, then one or more extractors, each with its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from egotools.extraction.failures import failures_path
from egotools.extractors.names import BUILT_IN, ENCODERS, OWN_NAMES, SHORT_NAMES
from egotools.extractors.plug_ins import EXTRACTORS, Offered, offered
from egotools.manifests.table import read_manifest
from egotools.texts import counted, named
from egotools.types import Shard

from . import display, options
from .groups import LazyGroup, Link
from .log import output
from .progress import Progress

if TYPE_CHECKING:
    from egotools.extraction.engine import Engine
    from egotools.extraction.request import CacheRequest, Extraction
    from egotools.types import Clip

SHOWN = 5  # failures, and clips of a remark, that the screen shows; the log has all failures
OFFLINE = "--offline"


class Extractors(LazyGroup):
    """A chain of extractors, looked up by name; each becomes a command whose flags are the fields of its class."""

    def summaries(self) -> dict[str, str]:
        lines = {name: each.line for name, each in ENCODERS.items()}
        return {**super().summaries(), **SHORT_NAMES, **lines, **_of_packages().lines()}

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        context.meta[OFFLINE] = OFFLINE in args  # an option of an extractor that finding it has to know
        return super().resolve_command(context, args)

    def get_command(self, context: click.Context, name: str) -> click.Command:
        from egotools.errors import ExtractorError
        from egotools.extractors.lookup import find_extractor

        try:
            found = find_extractor(name, offline=context.meta.get(OFFLINE, False))
        except ExtractorError as error:
            context.fail(str(error))

        def make(cache_name: str, **values: Any) -> tuple[str, Any, Any]:  # Any: what the flags parse to
            return cache_name, found, options.build(found.kind, values, **found.fixed)

        cache_name = click.Option(
            ["--name", "cache_name"], default=found.cache_name, show_default=True, help="Cache name."
        )
        flags = [flag for flag in options.parameters(found.kind) if flag.name not in found.fixed]
        defaults = {"default_map": dict(found.defaults or {})}
        text = f"{cleandoc(found.kind.__doc__ or '')}\n\n\b\negotools extract --manifest m.csv --out caches/mine {name}"
        return Link(name, params=[*flags, cache_name], callback=make, help=text, context_settings=defaults)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, text) for name, (_, text) in BUILT_IN.items()]
        rows += [
            ("torchvision:NAME", f"Any of torchvision's networks; also as {', '.join(SHORT_NAMES)}."),
            ("timm:NAME", "Any of timm's image networks (extra: timm)."),
            (
                "open_clip:NAME",
                "Any of open_clip's image encoders, in the space of images and texts (extra: open-clip).",
            ),
            ("panns:NAME", "PANNs, networks for sound: cnn6, cnn10, cnn14, mobilenetv1, res1dnet31, ..."),
            ("hf:NAME", "Encoders of huggingface.co by name, or by a folder (extra: hf); see docs/encoders.md."),
            ("run:DIR", "The backbone that a run has trained, with its preprocessing."),
            ("FILE.py:CLASS", "Your own; see docs/add-an-extractor.md."),
        ]
        with formatter.section("Extractors ('egotools extract NAME --help' shows the options of one)"):
            formatter.write_dl(rows)
        with formatter.section("Models of huggingface.co (extra: hf), for frames, clips or sound; others as hf:NAME"):
            formatter.write_dl([(name, each.line) for name, each in ENCODERS.items()])
        found = _of_packages()
        if others := {**found.lines(), **found.ignored}:
            with formatter.section("Extractors of other packages"):
                formatter.write_dl([*others.items()])


class OneShard(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A part of the manifest: `--shard 3/64`."""

    name = "K/N"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        try:
            return Shard.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, context)


def _of_packages() -> Offered:
    return offered(EXTRACTORS, OWN_NAMES)


@click.group(
    cls=Extractors, table=BUILT_IN, chain=True, subcommand_metavar="EXTRACTOR [OPTIONS] [EXTRACTOR [OPTIONS]]..."
)
@click.option(
    "--manifest",
    type=options.PATH,
    help="CSV of clips, or a folder of videos, whose manifest is written to OUT/manifest.csv.  [required]",
)
@click.option("--out", type=options.FOLDER, help="Folder of the caches.  [required]")
@click.option("--store", type=click.Choice(["lmdb", "hdf5"]), default="lmdb", show_default=True, help="Cache format.")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bf16", "int8"]),
    default="float32",
    show_default=True,
    help="Of networks; int8 needs --runtime openvino.",
)
@click.option(
    "--runtime",
    type=click.Choice(["torch", "compile", "openvino"]),
    default="torch",
    show_default=True,
    help="What computes networks: PyTorch; compile: PyTorch, after compiling them for this CPU, about half a minute "
    "each; or OpenVINO on the CPU (extra: openvino). Extractors that run in reading processes, such as color, have no "
    "network and run as always.",
)
@options.resources
@options.engine
@click.option("--digest/--no-digest", default=True, show_default=True, help="Store digests of the source files.")
@click.option("--strict", is_flag=True, help="Fail the clips of files that have remarks, such as repaired timestamps.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N clips.")
@click.option(
    "--shard", type=OneShard(), help="Only part K of N, such as 3/64, the same on every machine; see docs/slurm.md."
)
@click.option("--dry-run", is_flag=True, help="Estimate the work; compute nothing.")
@options.telling
@options.as_json
def extract(**common: Any) -> None:
    """Decode each clip once and cache the features of any number of extractors.

    Clips that are in a cache already are not computed again: rerun the command to resume, or to add the clips of a
    longer manifest. Clips that cannot be read are listed in CACHE.failed.csv; the others are extracted.

    \b
    egotools extract --manifest m.csv --out caches/mine efficientnet-lite0 --fps 2 color
    """


@extract.result_callback()
def run_chain(chosen: Sequence[tuple[str, Any, Any]], **common: Any) -> None:
    """Runs once all extractors of the command line are parsed."""
    from egotools.extraction.by_name import SUFFIX, check_caches
    from egotools.extraction.request import CacheRequest, check_runtime

    for name in ("manifest", "out"):
        if common[name] is None:
            raise click.UsageError(f"missing option '--{name}'")
    how = {name: common[name] for name in ("precision", "dtype", "runtime")}
    wanted = [
        CacheRequest(common["out"] / f"{name}{SUFFIX[common['store']]}", built, found, **how)
        for name, found, built in chosen
    ]
    try:
        check_runtime(common["runtime"], common["precision"], common["device"])
        check_caches(wanted)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    engine = options.engine_of(common)
    clips = _shard(_clips(common)[: common["limit"]], wanted, common)
    resources = options.resources_of(common)
    if common["dry_run"]:
        _dry_run(clips, wanted, resources, common)
    else:
        _extract(clips, wanted, resources, engine, common)


def _clips(common: dict[str, Any]) -> list[Clip]:
    """The clips of the manifest, or of one made from the folder that was given instead."""
    place, is_folder = common["manifest"], os.path.isdir(common["manifest"])
    if is_folder and common["shard"] is not None:
        raise click.UsageError(f"--shard needs a manifest: egotools manifest folder {place} --out m.csv")
    if is_folder and common["dry_run"]:
        from egotools.manifests.folders import clips_of, list_folder

        listing = list_folder(place)
        display.say_left_out(listing)
        return clips_of(listing.found)
    if is_folder:
        from egotools.manifests.folder_manifest import folder_manifest

        common["manifest"], is_new, listing = folder_manifest([place], common["out"])
        display.say_left_out(listing)
        what = "the manifest" if is_new else "exists already and is used as the manifest"
        display.note(f"{common['manifest']}: {what} of {place}")
    return read_manifest(common["manifest"])


def _shard(clips: list[Clip], wanted: Sequence[CacheRequest], common: dict[str, Any]) -> list[Clip]:
    """The clips of the shard that was asked for, or all; refused if the caches hold something else."""
    from egotools.extraction.shards import check_same_shard
    from egotools.manifests.shards import clips_of

    shard, whole = common["shard"], clips
    if shard is None:
        check_same_shard([each.cache for each in wanted], whole, None)
        return whole
    clips = clips_of(whole, shard)
    check_same_shard([each.cache for each in wanted], clips, shard)
    files, of_files = (len({clip.path for clip in each}) for each in (clips, whole))
    display.note(
        f"shard {shard}: {len(clips)} of {counted(len(whole), 'clip')}, {files} of {counted(of_files, 'file')}"
    )
    if not clips:
        display.note(f"shard {shard} is empty, because there are more shards than files")
    if open_ends := sum(clip.end is None for clip in whole):
        rule = "as any other" if open_ends == len(whole) else "as the mean of the others"
        display.note(f"{counted(open_ends, 'clip')} without an end in the manifest, so each counts as long {rule}")
    return clips


def _dry_run(clips: Sequence[Any], wanted: Sequence[CacheRequest], resources: Any, common: dict[str, Any]) -> None:
    from egotools.extraction.estimate import estimate

    found = estimate(clips, wanted, resources=resources)
    if common["as_json"]:
        display.show_json(found)
        return
    columns = ["cache", "clips", "there already", "rows", "D", "size", "seconds a row"]
    rows = [
        [str(cache), part.clips, part.there, part.rows, part.width, display.size(part.bytes), part.seconds_a_row]
        for cache, part in found.caches.items()
    ]
    display.show_table(columns, rows, first_to_go=("there already", "D", "seconds a row"))
    display.note(f"about {display.duration(found.seconds)} in all{found.remark}")


def _extract(
    clips: Sequence[Any], wanted: Sequence[CacheRequest], resources: Any, engine: Engine, common: dict[str, Any]
) -> None:
    from egotools.extraction.engine import extract as run_engine
    from egotools.provenance import manifest_origin

    output().log_into([common["out"]])
    _remark(wanted, common["out"])
    with Progress(stage="starting") as progress:
        try:
            result = run_engine(
                clips,
                wanted,
                resources=resources,
                engine=engine,
                digest=common["digest"],
                strict=common["strict"],
                origin=manifest_origin(common["manifest"], common["limit"], common["shard"]),
                progress=progress,
                tell=output().keep,
            )
        except KeyboardInterrupt:
            display.note("finished clips, and the first rows of long ones, are kept; rerun the command to resume")
            raise
    if common["as_json"]:
        display.show_json(_summary(result))
    else:
        _show(result)
    if not result.is_complete:
        click.get_current_context().exit(1)


def _remark(wanted: Sequence[CacheRequest], out: Path) -> None:
    from egotools.extraction.by_name import remarks_on
    from egotools.stores.filesystems import network_filesystem

    for each in wanted:
        for remark in remarks_on(each.found, each.extractor):
            display.note(f"{each.found.name}: {remark}")
    if kind := network_filesystem(out):
        display.note(
            f"{out} is on a network file system ({kind}), which LMDB does not support well; write to a local disk"
        )


def _summary(result: Extraction) -> dict[str, Any]:
    caches = {
        str(cache): {
            "done": done,
            "there_already": result.skipped[cache],
            "nothing_to_do": result.empty[cache],
            "failed": [{"id": clip.id, "error": reason} for clip, reason in result.failed[cache]],
            "changed": result.changed[cache],
            "resumed": result.resumed[cache],
            "begun_again": result.begun_again[cache],
            "remarks": result.remarks.get(cache, {}),
            "agreement": result.agreement.get(cache),
        }
        for cache, done in result.done.items()
    }
    files = {str(path): remarks for path, remarks in result.file_remarks.items()}
    return {"caches": caches, "files": files, "rows": result.rows, "seconds": result.seconds}


def _show(result: Extraction) -> None:
    columns: dict[str, Mapping[Path, int | Sequence[object]]] = {
        "clips done": result.done,
        "there already": result.skipped,
        **({"of these without rows": result.empty} if any(result.empty.values()) else {}),
        "failed": result.failed,
    }
    rows = [[str(cache), *(_count(part[cache]) for part in columns.values())] for cache in result.done]
    display.show_table(["cache", *columns], rows)
    for cache, empty in result.empty.items():
        if empty:
            clips = f"{counted(len(empty), 'clip')} without sound, or with nothing found"
            display.note(f"{cache}: nothing to do for {clips}: {named([*map(repr, empty)], 3)}")
    _show_resumed(result)
    for cache, agreement in result.agreement.items():
        display.note(
            f"{cache}: {agreement.computing} against float32 on {agreement.rows} rows: cosine {agreement.plain:.5f}, "
            f"centered {agreement.centered:.4f}"
        )
    if result.rows:
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in result.seconds.items())
        display.note(f"{result.rows} rows; seconds by stage: {stages}")
    for cache, remarks in result.remarks.items():
        for id, remark in list(remarks.items())[:SHOWN]:
            display.note(f"{cache}: {id}: {remark}")
        if len(remarks) > SHOWN:
            display.note(f"{cache}: {len(remarks)} clips have such remarks, the first five above; --json has all")
    for number, (path, said) in enumerate(result.file_remarks.items()):
        tell = display.note if number < SHOWN else output().keep
        for remark in said:
            tell(f"{path}: {remark}")
    if len(result.file_remarks) > SHOWN:
        display.note(f"{len(result.file_remarks)} files have such remarks, the first five above; --json has all")
    for cache, changed in result.changed.items():
        if changed:
            display.note(
                f"{cache}: {len(changed)} clips have rows of other times, or of a file that has changed since, such as "
                f"{changed[0]!r}; 'egotools rebuild {cache}' recomputes them"
            )
    _show_failures(result)


def _show_resumed(result: Extraction) -> None:
    """Clips of which an interrupted run had computed the first rows."""
    for cache, rows in result.resumed.items():
        if rows:
            first = (
                f"row {next(iter(rows.values()))}"
                if len(rows) == 1
                else f"rows {min(rows.values())} to {max(rows.values())}"
            )
            display.note(f"{cache}: {counted(len(rows), 'clip')} resumed at {first}: {named([*map(repr, rows)], 3)}")
    for cache, again in result.begun_again.items():
        for id, why in list(again.items())[:SHOWN]:
            display.note(f"{cache}: {id!r} was begun again, without its first rows: {why}")
        if len(again) > SHOWN:
            display.note(f"{cache}: {counted(len(again), 'clip')} begun again, the first {SHOWN} above; --json has all")


def _show_failures(result: Extraction) -> None:
    """Each reason once per clip, whichever caches it concerns; a clip may fail for several reasons."""
    reasons = dict.fromkeys((clip.id, reason) for failed in result.failed.values() for clip, reason in failed)
    for id, reason in list(reasons)[:SHOWN]:  # the log has them since they failed
        display.failure(f"failed: {id}: {reason}", is_kept=True)
    if reasons:
        shown = f", the first {SHOWN} above" if len(reasons) > SHOWN else ""
        files = ", ".join(str(failures_path(cache)) for cache, failed in result.failed.items() if failed)
        clips = counted(len({id for id, _ in reasons}), "clip")
        display.failure(f"{clips} failed{shown}; all, with their reasons: {files}")


def _count(part: int | Sequence[object]) -> int:
    return part if isinstance(part, int) else len(part)
