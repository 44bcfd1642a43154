"""`egotools cache import`: arrays and features of other programs as caches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import display, options
from .groups import Command
from .progress import Progress

if TYPE_CHECKING:
    from egotools.stores.importing import Imported


@click.command("import", cls=Command)
@click.argument("source", metavar="FILE|DIR", type=options.PATH)
@click.option("--id", "id_key", metavar="NAME", help="Array of a file that holds the ids [N].")
@click.option("--values", metavar="NAME", help="Array of a file that holds the features, [N, D] or [N, T, D].")
@click.option("--times", metavar="NAME", help="Array of a file with seconds, [N, 2] or [N, T, 2].  [default: 0 to 0]")
@click.option("--from", "layout", type=click.Choice(["assembly101", "ego4d"]), help="The layout of a data set.")
@click.option(
    "--max-gap", type=click.IntRange(0), help="assembly101: most missing frames in a row, which repeat.  [default: 5]"
)
@click.option(
    "--frames", type=options.FILE, help="ego4d: lengths of the videos; ego4d.json, takes.json or a CSV of id, frames."
)
@click.option("--window", type=click.IntRange(1), help="ego4d: frames that a row is computed from.  [default: 32]")
@click.option("--stride", type=click.IntRange(1), help="ego4d: frames from one row to the next.  [default: 16]")
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="ego4d: of the videos.  [default: 30]")
@click.option("--out", required=True, type=options.PATH, help="The new cache, .lmdb or .h5.")
@options.overwrite
@options.telling
def import_(source: Path, layout: str | None, out: Path, overwrite: bool, **given: Any) -> None:
    """Write arrays of another program as a cache: a .npz or HDF5 file, or a folder of .npy files named <id>.npy.

    Rows become float32. If a file changes, the cache is stale; 'egotools manifest table' makes the manifest. A folder
    that 'egotools cache export --to npz' wrote becomes the cache that it was.

    --from assembly101: the public TSM features, one LMDB environment (a folder with data.mdb) or a folder of several.
    Frames become rows at 30 per second. A recording with a longer gap is left out, and the exit status is 1.

    --from ego4d: the features that Ego4D and Ego-Exo4D released, a folder with a .pt (or .npy) a video. Row i is of
    frames [i stride, i stride + window); the last window is moved back to end with the video, so that --frames is
    needed. A file with another number of rows than its video gives is left out, and the exit status is 1.

    \b
    egotools cache import trecvid2020_train.npz --id video_id --values c3d_resnet18_512 --out caches/t/c3d.lmdb
    egotools cache import features/ --out caches/t/mine.lmdb
    egotools cache import lmdb/C10118_rgb --from assembly101 --out caches/back.lmdb
    egotools cache import v2/omnivore_video_swinl --from ego4d --frames ego4d.json --out caches/e/omnivore.lmdb
    """
    from egotools.provenance import command_line, surroundings

    given = {name: value for name, value in given.items() if value is not None}
    _check_layout(layout, given)
    origin = {"command": command_line(), **surroundings()}
    with Progress() as progress:
        made = _import(source, out, layout, given, {"origin": origin, "overwrite": overwrite, "progress": progress})
    what = f"{made.clips} clips, {made.rows} rows of {made.width} features"
    display.note(f"{out}: {what}" + ("" if made.is_new else ", there already: nothing to do"))
    display.name_some(f"ignored, not .npy{' or .pt' * (layout == 'ego4d')} files", made.passed_over)
    display.name_some("links that lead out of the folder, not followed", made.refused, tell=display.failure)
    for remark in made.remarks:
        display.note(f"  {remark}")
    for clip in made.left_out:
        display.failure(f"  left out: {clip}")
    if made.refused or made.left_out:
        click.get_current_context().exit(1)


def _check_layout(layout: str | None, given: Mapping[str, Any]) -> None:
    if layout and {"id_key", "values", "times"} & {*given}:
        raise click.UsageError(f"--id, --values and --times name arrays; --from {layout} has none")
    for owner, names in {"assembly101": ("max_gap",), "ego4d": ("frames", "window", "stride", "fps")}.items():
        if layout != owner and (foreign := [name for name in names if name in given]):
            raise click.UsageError(f"--{foreign[0].replace('_', '-')} belongs to --from {owner}")
    if layout == "ego4d" and "frames" not in given:
        raise click.UsageError(
            "--frames is needed: the last row's window ends with its video, so that its times depend on the length;"
            " give ego4d.json, takes.json, or a CSV with the columns id and frames"
        )


def _import(source: Path, out: Path, layout: str | None, given: dict[str, Any], how: dict[str, Any]) -> Imported:
    if layout == "assembly101":
        from egotools.stores.assembly101_import import import_assembly101

        return import_assembly101(source, out, **given, **how)
    if layout == "ego4d":
        from egotools.datasets.released_features import Windows, import_released

        lengths = given.pop("frames")
        return import_released(source, out, lengths, Windows(**given), **how)
    from egotools.stores.importing import Keys, import_arrays

    keys = Keys(given.get("id_key"), given.get("values"), given.get("times"))
    return import_arrays(source, out, keys, **how)
