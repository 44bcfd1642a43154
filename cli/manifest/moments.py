"""`egotools manifest moments`."""

from __future__ import annotations

from pathlib import Path

import click

from egotools.texts import counted

from .. import options
from ..display import failure, name_some, note
from ..progress import Progress
from .writing import out, write


@click.command()
@click.option("--features", required=True, type=options.FILE, help="Cache of the extractor moments.")
@options.manifest
@click.option(
    "--prominence", type=click.FloatRange(0), default=1.0, show_default=True, help="Least prominence of a moment."
)
@click.option(
    "--margin",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Seconds of picture that a moment needs before and after it; train replai needs 0.6 by default.",
)
@out
@click.option("--picture", type=options.FOLDER, help="Folder for a PNG a clip: its sound, with the moments in it.")
@options.telling
@click.pass_context
def moments(
    context: click.Context,
    features: Path,
    manifest: Path,
    prominence: float,
    margin: float,
    out: Path,
    picture: Path | None,
) -> None:
    """List moments of interaction, a clip of 2 s around each: for looking at them, not for training.

    Ids are those of the clips with a number in time order (walk/0000, walk/0001); columns clip, moment (seconds of the
    file), prominence and activity say what was found. 'egotools train replai' reads the cache itself. Pictures show
    moments of the cache that are not listed as dotted lines. Exit status 1 if a clip is not in the cache, has changed
    or cannot be read (named).

    \b
    egotools extract --manifest s.csv --out caches/s moments
    egotools manifest moments --features caches/s/moments.lmdb --manifest s.csv --out moments.csv --picture moments/
    """
    from egotools.manifests.table import read_manifest
    from egotools.methods.replai.moment_list import list_moments

    if out.exists() and out.samefile(manifest):
        raise click.UsageError(f"--out {out} is the manifest itself; choose another name")
    clips = read_manifest(manifest)
    with Progress("clips") as progress:
        found = list_moments(features, clips, prominence=prominence, margin=margin, pictures=picture, progress=progress)
    if found.clips:
        write(out, found.clips)
    else:
        failure(f"no moment of prominence {prominence:g}: {out} was not written")
    name_some("clips without a moment", found.none)
    if picture is not None:
        note(f"{picture}: {counted(found.pictures, 'picture')}")
    for id, reason in found.failed.items():
        failure(f"failed: {id}: {reason}")
    context.exit(1 if found.failed or not found.clips else 0)
