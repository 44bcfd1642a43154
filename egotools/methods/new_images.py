"""An image as a row of a cache: through the extractor that made the cache. Axes: D features."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from egotools.config import plain
from egotools.errors import ClipError, ExtractorError
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import CacheRequest, Resources
from egotools.extractors.reproduction import check_extracted, numbers_in, reproduced, runtime_in
from egotools.media.video import open_frames
from egotools.methods.new_videos import extracted, stored_rows
from egotools.progress import Progress, no_progress
from egotools.stores.store import Store, differences
from egotools.tables.matching import uncut
from egotools.types import AudioExtractor, ClipExtractor, FloatArray


def image_row(
    store: Store,
    image: Path,
    *,
    trusted: frozenset[str] = frozenset(),
    device: str = "auto",
    progress: Progress = no_progress,
) -> FloatArray:
    """The row [D] that an image would have in a cache, float32; the mean, if the extractor makes several.

    Args:
        store: the cache.
        image: a file with one picture.
        trusted: the user's own extractors, files and packages, that may run: a recipe only names them.
        device: where the network runs.
        progress: told of the image.

    Raises:
        ExtractorError: the cache's extractor cannot be applied to an image, or is no longer what it was.
        ClipError: the image cannot be read, or is a video.
    """
    with closing(open_frames(image)) as frames:
        if len(frames.info) > 1:
            raise ClipError(f"{image} has {len(frames.info)} frames, not one; extract it, and give its id with --clip")
    request = _request(store, trusted)
    with tempfile.TemporaryDirectory(prefix="egotools-") as temporary:
        place = Path(temporary) / "image.lmdb"
        request = replace(request, cache=place, precision="float32", dtype="float32", runtime="torch", quantized=None)
        found = extracted(
            [image],
            [request],
            lambda clips: [stored_rows(request.cache, clips)],
            Resources(device, workers=1),
            progress,
        )
    if found.failed:
        raise ClipError(f"{image}: {found.failed[0][1].removeprefix(f'{image.absolute()}: ')}")
    row: FloatArray = found.rows[0][0][0]
    return row


def _request(store: Store, trusted: frozenset[str]) -> CacheRequest:
    """The extractor of a cache, if it is today what it was and takes images."""
    store = uncut(store)
    recipe = store.recipe
    try:
        check_extracted(recipe, "an image")
        found, extractor = reproduced(recipe, trusted=trusted)
        request = CacheRequest(store.path, extractor, found, *numbers_in(recipe), runtime=runtime_in(recipe))
    except ExtractorError as error:
        raise ExtractorError(f"{store.path}: {error}") from error
    if request.precision == "int8":
        request = replace(request, quantized=request.int8_file)
    if isinstance(extractor, (AudioExtractor, ClipExtractor)):
        takes = "sound" if isinstance(extractor, AudioExtractor) else "whole files"
        raise ExtractorError(f"{store.path}: {found.name} takes {takes}, not images")
    for what, was, now in differences(plain(recipe.identity), plain(recipe_of(request).identity)):
        raise ExtractorError(
            f"{store.path} was made with {what}={was!r}; here it is {now!r}, so its rows and the image's cannot be"
            f" compared; see 'egotools rebuild {store.path} --dry-run'"
        )
    return request
