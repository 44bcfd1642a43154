"""`egotools manifest`: which clips there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from egotools.errors import ClipError
from egotools.manifests.partition import check_fractions, split_clips, windows
from egotools.manifests.table import column_of, read_manifest, read_rows, write_manifest
from egotools.texts import alike, tidy
from egotools.types import Clip

from . import options
from .display import failure, name_some, note, say_left_out, show_json, show_table
from .groups import Group
from .progress import Progress

if TYPE_CHECKING:
    from egotools.datasets import DatasetClips
    from egotools.manifests.check import Problem
    from egotools.manifests.folders import Joined, Listing, Pictures

SHOWN = 50  # problems that the table of `check` shows; --json has all


class Fractions(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on only
    """Fractions by name of the split: `train=0.8,test=0.2`."""

    name = "NAME=FRACTION,..."

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> Mapping[str, float]:  # Any: click passes text, or what was converted before
        if isinstance(value, Mapping):
            return value
        try:
            parts = [part.split("=") for part in str(value).split(",")]
            fractions = {name.strip(): float(fraction) for name, fraction in parts}
        except ValueError:
            self.fail(f"{value!r} is not a list like train=0.8,test=0.2", param, context)
        try:
            check_fractions(fractions)
        except ValueError as error:
            self.fail(str(error), param, context)
        return fractions


source = click.argument("manifest_file", metavar="MANIFEST", type=click.Path(path_type=Path))
out = click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="CSV to write.")
root_folder = click.argument("root", type=click.Path(path_type=Path))


@click.group(cls=Group)
def manifest() -> None:
    """Which clips there are: make, check, cut and split manifests.

    A manifest is a CSV with columns id, path, start, end, split, optional fps and root; every other column is a label.

    \b
    egotools manifest folder videos/ --out m.csv
    egotools manifest check m.csv
    egotools manifest windows m.csv --length 2 --out m.csv
    egotools manifest split m.csv --by video --fractions train=0.8,test=0.2 --out m.csv
    """


@manifest.command()
@click.argument("places", metavar="DIR|FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@out
@click.option("--labels", type=click.Path(path_type=Path), help="CSV whose columns become labels, joined by path.")
@click.option("--split", "fractions", type=Fractions(), help="Draw splits at random: train=0.8,test=0.2.")
@options.seed
@click.option("--frames", "pictures", flag_value="frames", help="Take the images of a folder for frames of one video.")
@click.option("--images", "pictures", flag_value="images", help="Take each image for a clip of its own.")
@click.option("--follow-links", is_flag=True, help="Follow links that lead out of the folder.")
@click.option(
    "--fps",
    type=click.FloatRange(0, min_open=True),
    help="Rate of frame folders, and of raw streams (.h264) whose header says none.  [default: 30; 25]",
)
def folder(
    places: tuple[Path, ...],
    out: Path,
    labels: Path | None,
    fractions: Mapping[str, float] | None,
    seed: int,
    pictures: str | None,
    follow_links: bool,
    fps: float | None,
) -> None:
    """Find videos, frame folders, images, sound files and stacks of frames (.npy) below folders, or take files.

    The id is the path without suffix, below DIR or, of several, below the folder that holds them all; `label` is the
    folder that a file lies in, `video` its name without suffix. A pattern in quotes is expanded: 'videos/**/*.mp4'.
    Eight or more images whose names differ in a running number only count as the frames of one video, also with a few
    missing, unless --images says otherwise. An animated image is a video.

    \b
    egotools manifest folder videos/ --out m.csv
    egotools manifest folder videos/ --labels labels.csv --split train=0.8,test=0.2 --out m.csv
    """
    from egotools.manifests.folders import FPS, clips_of, join_labels, list_places

    kind = cast("Pictures", pictures or "auto")  # the flags allow no other
    listing = list_places(places, pictures=kind, follow_links=follow_links)
    clips = clips_of(listing.found, fps=fps)
    _say_found(listing, fps or FPS)
    if labels is not None:
        joined = join_labels(clips, listing.root, labels)
        _say_joined(joined, labels)
        clips = joined.clips
    if fractions is not None:
        clips = split_clips(clips, by="video", fractions=fractions, seed=seed)
    _write(out, clips)
    if listing.refused or listing.left_out:
        raise click.exceptions.Exit(1)


@manifest.command()
@source
@click.option("--decode", is_flag=True, help="Decode every frame and sound; slow, and finds damage anywhere.")
@options.telling
@options.as_json
@click.pass_context
def check(context: click.Context, manifest_file: Path, decode: bool, as_json: bool) -> None:
    """Open every file once and report what is wrong.

    Reported: rows that cannot be used, files that are missing, empty, unreadable, truncated or damaged, clips that
    start or end after their file, and duplicates. Of each file the first frame, the middle one and the last are
    decoded; --decode reads all. What was repaired in a file, or is odd about it, is a remark. Exit status 1 if there
    is any problem other than remarks.

    \b
    egotools manifest check m.csv
    egotools manifest check m.csv --decode --json
    """
    from egotools.manifests.check import Problem, check_clips, files_of

    rows = [row for _, row in read_rows(manifest_file)]
    clips = [row for row in rows if isinstance(row, Clip)]
    problems = [Problem("", str(manifest_file), "row", str(row)) for row in rows if not isinstance(row, Clip)]
    files = len(files_of(clips))
    with Progress("files") as progress:
        advance = progress.steps("checking", files)
        problems += check_clips(clips, advance, decode="everything" if decode else "sample")
    _show_problems(problems, len(rows), files, as_json)
    context.exit(1 if any(not item.is_remark for item in problems) else 0)


@manifest.command("windows")
@source
@click.option("--length", required=True, type=click.FloatRange(0, min_open=True), help="Seconds of a piece.")
@click.option("--hop", type=click.FloatRange(0, min_open=True), help="Seconds between pieces.  [default: the length]")
@click.option(
    "--min-length", type=click.FloatRange(0), help="Keep the last piece from so many seconds on.  [default: length / 2]"
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
    from egotools.manifests.check import files_of, measure_files

    if min_length is not None and min_length > length:
        raise click.UsageError(f"--min-length {min_length:g} is more than --length {length:g}")
    clips = read_manifest(manifest_file)
    with Progress("files") as progress:
        measured = measure_files(clips, progress.steps("measuring", len(files_of(clips))))
    spans, gaps = {}, {}
    for clip in clips:
        span = measured.get((clip.path, clip.fps))
        if span is not None and not isinstance(span, ClipError):
            spans[clip.id], gaps[clip.id] = (span.start, span.end), span.gaps
    _write(out, windows(clips, spans, length=length, hop=hop, min_length=min_length, gaps=gaps))
    errors = [error for error in measured.values() if isinstance(error, ClipError)]
    name_some("files that cannot be read, their clips stay as they are", [str(error) for error in errors], tell=failure)
    context.exit(1 if errors else 0)


@manifest.command()
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
    _write(out, split_clips(clips, by=by, fractions=fractions, seed=seed, stratify=stratify))
    for remark in alike(set(map(tidy, column_of(clips, by))), f"values of {by!r}"):
        note(f"  {remark}")


@manifest.command()
@click.argument("table", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--id", "id_column", required=True, metavar="NAME", help="Column of ids.")
@click.option("--split", "split_column", metavar="NAME", help="Column of splits.  [default: split, if there is one]")
@out
def table(table: Path, id_column: str, split_column: str | None, out: Path) -> None:
    """List rows that have features only, from a .npz or a CSV: no file, every column a label.

    Of a .npz the arrays with one number or text a row are columns; numbers are written so that they read back to the
    bit, NaN is left empty. 'egotools cache import' makes the cache of such features.

    \b
    egotools manifest table trecvid2020_train.npz --id video_id --out t.csv
    egotools manifest table scores.csv --id video_id --split fold --out t.csv
    """
    from egotools.datasets.table import clips_of_table

    _write_found(out, clips_of_table(table, id=id_column, split=split_column))


@manifest.command("memento10k")
@root_folder
@click.option(
    "--videos",
    type=click.Choice(["auto", "mp4", "npy"]),
    default="auto",
    show_default=True,
    help="videos/*.mp4, videos_npy/*.npy, or of each clip the first of these that is there.",
)
@click.option("--fps", default=15.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Of .npy files.")
@click.option("--score-at", type=float, help="Move scores to this lag, by each video's alpha.  [default: as they are]")
@click.option("--lag", default=80.0, show_default=True, help="Lag that the scores of the files are at.")
@out
def memento10k_(root: Path, out: Path, **how: Any) -> None:
    """List Memento10k: memento_{train,val,test}_data.json and its videos; scores become the label memorability.

    \b
    egotools manifest memento10k ROOT --out m.csv
    egotools manifest memento10k ROOT --videos npy --score-at 100 --out m.csv
    """
    from egotools.datasets.memento10k import memento10k

    _write_found(out, memento10k(root, **how))


@manifest.command("videomem")
@root_folder
@click.option("--split", type=click.Path(path_type=Path), help="Pickle or JSON of train and val names.")
@options.seed
@out
def videomem_(root: Path, split: Path | None, seed: int, out: Path) -> None:
    """List VideoMem: ground-truth_dev-set.csv and resized_mp4; short-term scores become the label memorability.

    Without a split file (train_test_split_videomem.pkl) one clip of eight is drawn for val.

    \b
    egotools manifest videomem ROOT --out m.csv
    egotools manifest videomem ROOT --split mine.json --out m.csv
    """
    from egotools.datasets.videomem import videomem

    _write_found(out, videomem(root, split=split, seed=seed))


@manifest.command("lamem")
@root_folder
@click.option("--split-number", default=1, show_default=True, type=click.IntRange(1), help="Which of the five splits.")
@out
def lamem_(root: Path, split_number: int, out: Path) -> None:
    """List LaMem: images as clips of one frame; scores become the label memorability.

    \b
    egotools manifest lamem ROOT --split-number 1 --out m.csv
    """
    from egotools.datasets.lamem import lamem

    _write_found(out, lamem(root, number=split_number))


def _write_found(out: Path, found: DatasetClips) -> None:
    """Writes the clips of a dataset; files that are not there are named, and end in the exit status 1."""
    _write(out, found.clips)
    for remark in found.remarks:
        note(f"  {remark}")
    name_some("files that are not there, their clips are left out", found.missing, tell=failure)
    if found.missing:
        raise click.exceptions.Exit(1)


def _write(out: Path, clips: Sequence[Clip]) -> None:
    write_manifest(out, clips)
    splits = Counter(clip.split for clip in clips)
    parts = ", ".join(f"{name} {count}" for name, count in splits.items() if name)
    note(f"{out}: {_count(len(clips), 'clip')}" + (f" ({parts})" if parts else ""))


def _say_found(listing: Listing, fps: float) -> None:
    words = {"video": "video", "frames": "frame folder", "image": "image", "sound": "sound file", "stack": "stack"}
    kinds = Counter(words[item.kind] for item in listing.found)
    note("found " + ", ".join(_count(kinds[word], word) for word in words.values() if kinds[word]))
    if kinds["frame folder"]:
        note("  numbered images count as frames of one video; if they are pictures of their own, add --images")
    if kinds["frame folder"] or kinds["stack"]:
        note(f"  frame folders and stacks are taken at {fps:g} frames per second; another rate: --fps")
    if listing.unsure:
        name_some("folders of numbered images that are taken for pictures", listing.unsure)
        note("  if they are the frames of videos, add --frames")
    name_some("ignored, of other kinds", listing.ignored)
    say_left_out(listing)
    if listing.refused:
        note("  --follow-links follows them")


def _say_joined(joined: Joined, labels: Path) -> None:
    note(f"{labels}: labels for {len(joined.clips) - len(joined.clips_left)} of {_count(len(joined.clips), 'clip')}")
    name_some("rows that match no file", joined.rows_left)
    name_some("clips without labels", joined.clips_left)
    name_some("columns left out, as they are no labels", joined.columns_left)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _show_problems(problems: Sequence[Problem], clips: int, files: int, as_json: bool) -> None:
    if as_json:
        wrong, odd = ([item for item in problems if item.is_remark is remark] for remark in (False, True))
        show_json({"clips": clips, "files": files, "problems": wrong, "remarks": odd})
        return
    if problems:
        rows = [[item.problem, item.id, item.path, item.detail] for item in problems[:SHOWN]]
        show_table(["problem", "clip", "file", "what"], rows, first_to_go=["file"])
    if len(problems) > SHOWN:
        note(f"{len(problems) - SHOWN} more; --json has all")
    kinds = Counter(item.problem for item in problems if not item.is_remark)
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing wrong"
    if others := len(problems) - kinds.total():
        summary += f", {_count(others, 'remark')}"
    note(f"{_count(clips, 'clip')} in {_count(files, 'file')}: {summary}")
