"""The manifest that `extract` creates for videos: kept up to date until somebody edits it."""

import os
from collections.abc import Sequence
from pathlib import Path

from egotools.config import file_digest, to_json
from egotools.errors import ManifestError
from egotools.files.disk import write_whole
from egotools.files.json_files import read_json
from egotools.manifests.folders import Listing, clips_of, list_places
from egotools.manifests.table import read_manifest, write_manifest
from egotools.texts import named

NAME = "manifest.csv"
MADE = ".manifest.csv.made"  # next to it: the folder it was made from, and its digest at that time


def folder_manifest(places: Sequence[Path], out: Path) -> tuple[Path, bool, Listing]:
    """The manifest `out/manifest.csv` of folders and files, whether it was written just now, and what was found.

    An existing manifest is used as long as it lists exactly the files that are found, even if edited. If it does not,
    it is rewritten, unless somebody edited it. Where files are named one by one, there may be more of them than
    before, not others: a cache beside it has the earlier ones.

    Raises:
        ManifestError: a place cannot be listed; or an existing manifest lists other files, and was edited, or is of
            another folder or of files that are no longer named.
    """
    path, listing = out / NAME, list_places(places)
    place, is_folder = os.path.abspath(listing.root), len(places) == 1 and os.path.isdir(places[0])
    clips = clips_of(listing.found)
    if os.path.lexists(path):
        there = {str(clip.path) for clip in read_manifest(path)}
        listed = {str(clip.path) for clip in clips}
        if there == listed:
            return path, False, listing
        if _made(out / MADE) != (place, file_digest(path)) or (there - listed and not is_folder):
            other, these = ("another folder", "the folder") if is_folder else ("other files", "these")
            raise ManifestError(
                f"{path} was edited or is of {other}: {len(listed - there)} files of {named([*map(str, places)], 3)}"
                f" are not in it, {len(there - listed)} files in it are not in {these};"
                f" give --manifest {path}, or remove it"
            )
    write_manifest(path, clips)
    write_whole(out / MADE, to_json({"folder": place, "digest": file_digest(path)}) + "\n")
    return path, True, listing


def _made(path: Path) -> tuple[object, object]:
    """The folder and the digest recorded when the manifest was last written; None where nothing is recorded."""
    try:
        said = read_json(path)
    except (OSError, ValueError):
        return None, None
    return (said.get("folder"), said.get("digest")) if isinstance(said, dict) else (None, None)
