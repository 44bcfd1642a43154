"""`egotools manifest folder`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from egotools.manifests.partition import split_clips

from .. import options
from ..display import name_some, note, say_left_out
from .writing import Fractions, counted, out, write

if TYPE_CHECKING:
    from egotools.manifests.folders import Joined, Listing, Pictures


@click.command()
@click.argument("places", metavar="DIR|FILE...", nargs=-1, required=True, type=options.PATH)
@out
@click.option("--labels", type=options.PATH, help="CSV whose columns become labels, joined by path.")
@click.option("--split", "fractions", type=Fractions(), help="Draw splits at random: train=0.8,test=0.2.")
@options.seed
@click.option("--frames", "pictures", flag_value="frames", help="Read the images of a folder as frames of one video.")
@click.option("--images", "pictures", flag_value="images", help="Read each image as a clip of its own.")
@click.option("--follow-links", is_flag=True, help="Follow links that lead out of the folder.")
@click.option(
    "--fps",
    type=click.FloatRange(0, min_open=True),
    help="Frame rate of frame folders, and of raw streams (.h264) without one.  [default: 30; 25]",
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
    """Find videos, frame folders, images, sound files and stacks of frames (.npy) in folders, or list files.

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
    write(out, clips)
    if listing.refused or listing.left_out:
        raise click.exceptions.Exit(1)


def _say_found(listing: Listing, fps: float) -> None:
    words = {"video": "video", "frames": "frame folder", "image": "image", "sound": "sound file", "stack": "stack"}
    kinds = Counter(words[item.kind] for item in listing.found)
    note("found " + ", ".join(counted(kinds[word], word) for word in words.values() if kinds[word]))
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
    note(f"{labels}: labels for {len(joined.clips) - len(joined.clips_left)} of {counted(len(joined.clips), 'clip')}")
    name_some("rows that match no file", joined.rows_left)
    name_some("clips without labels", joined.clips_left)
    name_some("columns left out, as they are no labels", joined.columns_left)
