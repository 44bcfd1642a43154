"""`egotools find`: the moments of a cache that are nearest to a text, an image or a clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from egotools.evaluate.find import Finding

from . import display, options
from .groups import Command
from .progress import Progress

if TYPE_CHECKING:
    from egotools.evaluate.find import Found
    from egotools.evaluate.queries import Query
    from egotools.stores.store import Store


@click.command(cls=Command)
@click.option("--features", "caches", required=True, multiple=True, type=options.FILE, help="Cache to look in: one.")
@click.option("--text", "texts", multiple=True, help="What to find, in words; repeatable, each finds its own moments.")
@click.option("--image", type=options.FILE, help="Instead: a picture that the moments should be like.")
@click.option("--clip", help="Instead: the id of a clip of the cache, by the mean of its rows.")
@click.option("--at", type=click.FloatRange(0), help="Seconds: the row of --clip at this time, not the mean.")
@click.option("--include-clip", is_flag=True, help="Find moments of --clip itself, too.")
@click.option("--manifest", type=options.FILE, help="CSV of clips to look among; by default all of the cache.")
@options.from_fields(Finding)
@click.option("--out", type=options.FOLDER, help="Folder of found.csv, found.json and the contact sheet found.png.")
@options.device
@options.trust
@options.telling
@options.as_json
def find(
    caches: tuple[Path, ...],
    config: Finding,
    manifest: Path | None,
    out: Path | None,
    as_json: bool,
    **asked: Any,  # Any: what click parsed
) -> None:
    """Find the moments of a cache that are nearest to a text, an image or a clip, by cosine.

    The search is exact, over all rows, in bounded memory. Texts need a cache of a model with a text tower, such as
    CLIP. An image goes through the extractor that made the cache.

    \b
    egotools find --features caches/e/clip.lmdb --text "a bicycle" --manifest m.csv --top 12 --out found/
    egotools find --features caches/a/resnet18.lmdb --image cup.jpg
    egotools find --features caches/a/resnet18.lmdb --clip walk/park --at 12.5 --min-gap 5
    """
    from egotools.evaluate.find import find as search
    from egotools.evaluate.found import report
    from egotools.manifests.table import read_manifest
    from egotools.stores.opening import open_store

    _check(caches, **asked)
    if out is not None:
        options.keep_for_us(out)
    store = open_store(caches[0])
    listed = None if manifest is None else {clip.id: clip for clip in read_manifest(manifest)}
    with Progress(stage="reading the query") as progress:
        found = search(store, _queries(store, asked, progress), config, listed=listed, progress=progress)
        content = report(store, found, config, manifest)
        if out is not None:
            _save(out, content, found, store, asked["image"], progress)
    if display.show_report(content, "" if out is None else f"{out}: found.csv, found.json, found.png", as_json=as_json):
        _show(found)
    if not any(found.moments):
        display.failure("nothing was found")
    click.get_current_context().exit(0 if any(found.moments) else 1)


def _check(caches: tuple[Path, ...], **asked: Any) -> None:
    if len(caches) > 1:
        raise click.UsageError(f"find looks in one cache, not in {len(caches)}; give one --features at a time")
    if sum(bool(asked[name]) for name in ("texts", "image", "clip")) != 1:
        raise click.UsageError("give one of --text, --image and --clip")
    if any(not text.strip() for text in asked["texts"]):
        raise click.UsageError("--text is empty; say what to find")
    for flag, value in (("--at", asked["at"]), ("--include-clip", asked["include_clip"] or None)):
        if value is not None and not asked["clip"]:
            raise click.UsageError(f"{flag} is for --clip")


def _queries(store: Store, asked: dict[str, Any], progress: Progress) -> list[Query]:
    from egotools.evaluate.queries import Query, clip_query, text_queries

    if asked["clip"]:
        return [clip_query(store, asked["clip"], asked["at"], include_clip=asked["include_clip"])]
    if asked["texts"]:
        return text_queries(store, list(dict.fromkeys(asked["texts"])))
    from egotools.methods.new_images import image_row

    image = asked["image"]
    row = image_row(store, image, trusted=options.trusted(asked), device=asked["device"], progress=progress)
    return [Query("image", str(image), row)]


def _save(
    out: Path, content: dict[str, Any], found: Found, store: Store, image: Path | None, progress: Progress
) -> None:
    """The files of a result, the report last; what the picture lacks is added to its remarks."""
    from egotools.config import to_json
    from egotools.derive.found_picture import draw_found
    from egotools.evaluate.found import to_csv
    from egotools.files.disk import write_whole
    from egotools.types import Clip

    shown = None if image is None else Clip("image", image)
    picture, remarks = draw_found(found, store, shown, progress=progress)
    content["remarks"] += remarks
    write_whole(out / "found.csv", to_csv(found))
    write_whole(out / "found.png", picture)
    write_whole(out / "found.json", to_json(content))


def _show(found: Found) -> None:
    for query, moments in zip(found.queries, found.moments, strict=True):
        rows = [
            [
                rank,
                f"{each.similarity:.4f}",
                each.id,
                each.start,
                each.end,
                "" if each.video is None else str(each.video.path),
            ]
            for rank, each in enumerate(moments, 1)
        ]
        columns = ["", "cosine", "clip", "start, s", "end, s", "file"]
        display.show_table(columns, rows, title=f"{query.kind}: {query.name}", first_to_go=["file"])
