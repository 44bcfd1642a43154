"""The manifest that `extract` creates for a folder: kept up to date until somebody edits it."""

import os
from pathlib import Path

from egotools.config import file_digest, to_json
from egotools.errors import ManifestError
from egotools.files.disk import write_whole
from egotools.files.json_files import read_json
from egotools.manifests.folders import Listing, clips_of, list_folder
from egotools.manifests.table import read_manifest, write_manifest

NAME = "manifest.csv"
MADE = ".manifest.csv.made"  # next to it: the folder it was made from, and its digest at that time


def folder_manifest(folder: Path, out: Path) -> tuple[Path, bool, Listing]:
    """The manifest `out/manifest.csv` of a folder, whether it was written just now, and what was found.

    An existing manifest is used as long as it lists exactly the files of the folder, even if edited. If it does not, it
    is rewritten, unless somebody edited it.

    Raises:
        ManifestError: the folder cannot be listed; or an existing manifest was edited, or belongs to another folder,
            and lists other files.
    """
    path, place = out / NAME, os.path.abspath(folder)
    listing = list_folder(folder)
    clips = clips_of(listing.found)
    if os.path.lexists(path):
        there = {str(clip.path) for clip in read_manifest(path)}
        listed = {str(clip.path) for clip in clips}
        if there == listed:
            return path, False, listing
        if _made(out / MADE) != (place, file_digest(path)):
            raise ManifestError(
                f"{path} was edited or is of another folder: {len(listed - there)} files of {folder} are not in it,"
                f" {len(there - listed)} files in it are not in the folder; give --manifest {path}, or remove it"
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
