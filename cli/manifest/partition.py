"""`egotools manifest windows` and `split`: clips cut into pieces, and dealt out to splits."""

from collections.abc import Mapping
from pathlib import Path

import click

from egotools.errors import ClipError
from egotools.manifests.partition import split_clips, windows
from egotools.manifests.table import column_of, read_manifest
from egotools.texts import alike, tidy

from .. import options
from ..display import failure, name_some, note
from ..progress import Progress
from .writing import Fractions, out, source, write


@click.command("windows")
@source
@click.option("--length", required=True, type=click.FloatRange(0, min_open=True), help="Seconds of a piece.")
@click.option("--hop", type=click.FloatRange(0, min_open=True), help="Seconds between pieces.  [default: the length]")
@click.option(
    "--min-length", type=click.FloatRange(0), help="Drop a last piece of fewer seconds.  [default: length / 2]"
)
@out
@options.telling
@click.pass_context
def cut(
    context: click.Context, manifest_file: Path, length: float, hop: float | None, min_length: float | None, out: Path
) -> None:
    """Cut clips into pieces of equal length.

    Ids get a number in time order (walk/0000, walk/0001); labels stay. A clip that is one piece already, or too short
    for any, stays as it is, so cutting twice changes nothing; so does one that cannot be read (named, exit status 1).

    \b
    egotools manifest windows m.csv --length 2 --out m.csv
    egotools manifest windows m.csv --length 4 --hop 1 --out overlapping.csv
    """
    from egotools.manifests.check import measure_files

    if min_length is not None and min_length > length:
        raise click.UsageError(f"--min-length {min_length:g} is more than --length {length:g}")
    clips = read_manifest(manifest_file)
    with Progress("files") as progress:
        measured = measure_files(clips, progress)
    spans, gaps = {}, {}
    for clip in clips:
        span = measured.get((clip.path, clip.fps))
        if span is not None and not isinstance(span, ClipError):
            spans[clip.id], gaps[clip.id] = (span.start, span.end), span.gaps
    write(out, windows(clips, spans, length=length, hop=hop, min_length=min_length, gaps=gaps))
    errors = [error for error in measured.values() if isinstance(error, ClipError)]
    name_some("files that cannot be read, their clips stay as they are", [str(error) for error in errors], tell=failure)
    context.exit(1 if errors else 0)


@click.command()
@source
@click.option("--by", required=True, metavar="COLUMN", help="Clips with one value of this column stay together.")
@click.option("--fractions", required=True, type=Fractions(), help="Of the clips: train=0.8,val=0.1,test=0.1.")
@options.seed
@click.option("--stratify", metavar="COLUMN", help="Spread the values of this column evenly over the splits.")
@out
def split(
    manifest_file: Path, by: str, fractions: Mapping[str, float], seed: int, stratify: str | None, out: Path
) -> None:
    """Draw new splits at random; what shares a value of --by stays together.

    \b
    egotools manifest split m.csv --by video --fractions train=0.8,val=0.1,test=0.1 --seed 0 --out m.csv
    egotools manifest split m.csv --by subject --stratify action --fractions train=0.7,test=0.3 --out m.csv
    """
    clips = read_manifest(manifest_file)
    write(out, split_clips(clips, by=by, fractions=fractions, seed=seed, stratify=stratify))
    for remark in alike(set(map(tidy, column_of(clips, by))), f"values of {by!r}"):
        note(f"  {remark}")
