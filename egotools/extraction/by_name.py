"""Extraction as people write it in Python: videos and extractors by name, in one call."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from egotools.config import field_values, plain
from egotools.errors import OutputError
from egotools.extraction.engine import extract as run_engine
from egotools.extraction.failures import failures_path
from egotools.extraction.request import CacheRequest, Extraction, Precision, Resources, Runtime, check_runtime
from egotools.extractors.lookup import find_extractor
from egotools.extractors.names import ENCODERS, FoundExtractor
from egotools.manifests.folder_manifest import folder_manifest
from egotools.manifests.table import read_manifest
from egotools.progress import Progress, no_progress
from egotools.provenance import manifest_origin
from egotools.texts import counted, named
from egotools.types import Extractor

Named = tuple[str, Mapping[str, Any]]  # an extractor and its options; Any: values of fields

SUFFIX = {"lmdb": ".lmdb", "hdf5": ".h5"}  # of a cache, by --store
LONGEST_NAME = 200  # bytes: file systems take 255, and the files beside a cache have longer names
NAMED = 3  # failures in a warning


def extract(
    videos: Path | str | Sequence[Path | str],
    extractors: str | Sequence[str | Named],
    *,
    out: Path | str,
    store: Literal["lmdb", "hdf5"] = "lmdb",
    precision: Precision = "float32",
    dtype: Literal["float32", "float16"] = "float32",
    runtime: Runtime = "torch",
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    progress: Progress = no_progress,
    **options: Any,
) -> Extraction:
    """Decodes each clip once and caches the features of any number of extractors, as `egotools extract` does.

    Clips that a cache has already are not computed again. Those that cannot be read raise nothing: a warning counts
    them, and they are in the result's `failed` and in `<cache>.failed.csv`.

    >>> import egotools
    >>> made = egotools.extract("videos/", "resnet50", out="caches/a", fps=2)  # doctest: +SKIP
    >>> made.caches  # doctest: +SKIP
    [PosixPath('caches/a/resnet50.lmdb')]

    Args:
        videos: a manifest (a `.csv`), or a folder, a file, a pattern such as `videos/*.mp4`, or several of these,
            whose manifest is written to `out/manifest.csv`.
        extractors: the name of one, as on the command line, or several: names, and pairs of a name and its options.
        out: the folder of the caches.
        store: the format of the caches.
        precision: of networks; int8 needs the runtime openvino.
        dtype: of the rows on disk.
        runtime: what computes networks: torch; compile: torch, compiled for this CPU first; or openvino on the CPU
            (extra: openvino).
        device: `cpu`, `cuda`, `cuda:1`, ...; auto: a GPU if there is one.
        batch_size: windows per batch; None: what suits the device.
        workers: reading processes; None: what suits the machine.
        progress: is called with the state of the work.
        options: of the extractor, if only one is named (Any: values of its fields). `name` is the cache's name.

    Raises:
        ManifestError: there are no videos, or the manifest is not one.
        ExtractorError: an extractor is unknown.
        ValueError: an option is unknown or invalid, two exclude each other, or two extractors would write one cache.
        EgotoolsError: as `egotools.extraction.engine.extract`.
    """
    check_runtime(runtime, precision, device)
    folder = Path(out)
    asked = [built_by_name(name, given) for name, given in _pairs(extractors, options)]
    requests = [
        CacheRequest(folder / f"{name}{SUFFIX[store]}", extractor, found, precision, dtype, runtime=runtime)
        for name, found, extractor in asked
    ]
    check_caches(requests)
    manifest, remarks = _manifest(videos, folder)
    for each in requests:
        remarks += [f"{each.found.name}: {remark}" for remark in remarks_on(each.found, each.extractor)]
    result = run_engine(
        read_manifest(manifest),
        requests,
        resources=Resources(device, batch_size, workers),
        origin=manifest_origin(manifest),
        progress=progress,
    )
    for remark in (*remarks, *_problems(result)):
        warnings.warn(remark, stacklevel=2)
    return result


def built_by_name(name: str, options: Mapping[str, Any]) -> tuple[str, FoundExtractor, Extractor]:
    """An extractor by name with its options (Any: values of fields): the name of its cache, its class, and the value.

    Raises:
        ExtractorError: there is none of this name.
        ValueError: an option is unknown or invalid.
    """
    found = find_extractor(name)
    given = {**options}
    cache = str(given.pop("name", found.cache_name))
    known = [each.name for each in fields(found.kind) if each.init and each.name not in found.fixed]
    if unknown := [each for each in given if each not in known]:
        raise ValueError(f"{name} has no option {unknown[0]!r}; its options are {', '.join(known)} and name")
    try:
        return cache, found, found.built(**field_values(found.kind, plain(given)))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def check_caches(requests: Sequence[CacheRequest]) -> None:
    """Checks where caches are to be written, before anything is computed.

    Raises:
        OutputError: a file cannot be there.
        ValueError: two are the same.
    """
    seen = set()
    for each in requests:
        if (length := len(os.fsencode(each.cache.name))) > LONGEST_NAME:
            name = f"{each.cache.name[:20]}..."
            raise OutputError(f"{name}: the cache's name has {length} bytes, more than {LONGEST_NAME}")
        try:
            os.lstat(each.cache)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise OutputError(f"{each.cache}: cannot be a cache: {error.strerror}") from error
        if each.cache in seen:
            raise ValueError(f"two extractors would write {each.cache}; give one of them another --name")
        seen.add(each.cache)


def remarks_on(found: FoundExtractor, extractor: Extractor) -> list[str]:
    """What a user should know about an extractor with these options."""
    from egotools.weights.tensors import random_seed  # imported here because it loads torch

    model = ENCODERS.get(found.name)
    which = [] if model is None else [f"{model.model}, {model.license}"]
    weights = getattr(extractor, "weights", "")
    untrained = [] if random_seed(weights) is None else [f"{weights} is an untrained network, for trials only"]
    return [*which, *untrained, *getattr(extractor, "notes", list)()]


def _pairs(extractors: str | Sequence[str | Named], options: Mapping[str, Any]) -> list[Named]:
    if isinstance(extractors, str):
        return [(extractors, options)]
    if options:
        raise ValueError(
            f"{next(iter(options))} is an option of one extractor; of several, write it as (name, {{option: value}})"
        )
    if not extractors:
        raise ValueError("extract needs at least one extractor")
    return [(each, {}) if isinstance(each, str) else each for each in extractors]


def _manifest(videos: Path | str | Sequence[Path | str], out: Path) -> tuple[Path, list[str]]:
    """The manifest that was given, or that was made for the videos; and remarks on what is not in it."""
    places = [Path(videos)] if isinstance(videos, (str, Path)) else [Path(each) for each in videos]
    if not places:
        raise ValueError("extract needs at least one video")
    if len(places) == 1 and places[0].suffix.lower() == ".csv":
        return places[0], []
    manifest, _, listing = folder_manifest(places, out)
    remarks = [f"left out: {line}" for line in listing.left_out]
    if listing.refused:
        remarks.append(f"links that lead out of the folder left out: {named(listing.refused, NAMED)}")
    return manifest, remarks


def _problems(result: Extraction) -> Iterator[str]:
    """What a user must know who looks at nothing else."""
    for cache, failed in result.failed.items():
        if failed:
            reasons = named([f"{clip.id} ({reason})" for clip, reason in failed], NAMED)
            yield f"{cache}: {counted(len(failed), 'clip')} failed, listed in {failures_path(cache)}: {reasons}"
    for cache, changed in result.changed.items():
        if changed:
            yield (
                f"{cache}: {counted(len(changed), 'clip')} with rows of other times, or of a file that has changed "
                f"since: {named(changed, NAMED)}; 'egotools rebuild {cache}' recomputes them"
            )
