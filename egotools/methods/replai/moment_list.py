"""Moments of interaction to look at: as a manifest, a clip around each, and as pictures of the sound that has them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from egotools.errors import ClipError, ManifestError, NoSound
from egotools.extraction.failures import read_failures
from egotools.extraction.frame_folders import names_of
from egotools.extractors.moments import clip_sound
from egotools.files.disk import write_whole
from egotools.lowlevel.moments import activity, deviations, frame_times, log_spectrogram
from egotools.media.audio import open_sound
from egotools.methods.replai.moments import absent_or_changed, kept_rows, open_moments
from egotools.plots import HeardMoments, moments_picture
from egotools.progress import Progress, no_progress
from egotools.stores import Store
from egotools.types import Clip

AROUND = 1.0  # seconds of a clip before and after its moment
COLUMNS = ("clip", "moment", "prominence", "activity")


@dataclass
class MomentList:
    """A clip around each moment, the ids of clips without any, and by id why others could not be used."""

    clips: list[Clip] = field(default_factory=list)
    none: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    pictures: int = 0


def list_moments(
    cache: Path,
    clips: Sequence[Clip],
    *,
    prominence: float = 1.0,
    margin: float = 0.0,
    pictures: Path | None = None,
    progress: Progress = no_progress,
) -> MomentList:
    """The moments of clips in a cache, as clips with the ids `<clip>/<number>` and their facts as labels.

    Args:
        cache: of the extractor `moments`.
        clips: those that are not in it, or have changed, fail; the others go on.
        prominence: the lowest that counts.
        margin: seconds of picture that a moment needs before and after it.
        pictures: a folder, which gets a PNG a clip with sound, called as the clip.
        progress: reports clips done.

    Raises:
        TableError: no cache of moments, or it has none of this prominence.
        ManifestError: a label column of the clips is called like one of `COLUMNS`.
        OutputError: a picture cannot be written.
    """
    store = open_moments(cache, prominence)
    if taken := sorted({name for clip in clips for name in clip.labels} & {*COLUMNS}):
        raise ManifestError(f"the manifest has a column {taken[0]!r} already, which the moments' would replace")
    absent, changed = absent_or_changed(store, clips)
    why = read_failures(store.path)
    lost = {id: f"not in {store.path}{f': {why[id].reason}' if id in why else ''}" for id in absent}
    found = MomentList(failed=lost | changed)
    names = names_of(clips) if pictures is not None else {}
    for number, clip in enumerate(clips):
        if clip.id not in found.failed:
            _add(found, store, clip, prominence, margin)
            if pictures is not None:
                _draw(found, store, clip, (prominence, margin), pictures / f"{names[clip.id]}.png")
        progress("listing moments", number + 1, len(clips))
    return found


def _add(found: MomentList, store: Store, clip: Clip, prominence: float, margin: float) -> None:
    rows = kept_rows(store, clip, prominence, margin)
    if not len(rows.values):
        found.none.append(clip.id)
    for number, ((moment, _), (high, active, shown)) in enumerate(
        zip(rows.times.tolist(), rows.values.tolist(), strict=True)
    ):
        facts = (clip.id, f"{moment:.6f}", f"{high:.4f}", f"{active:.4f}")
        found.clips.append(
            replace(
                clip,
                id=f"{clip.id}/{number:04d}",
                start=max(clip.start, round(moment - AROUND, 6)),
                end=min(clip.start + shown if clip.end is None else clip.end, round(moment + AROUND, 6)),
                labels={**clip.labels, **dict(zip(COLUMNS, facts, strict=True))},
            )
        )


def _draw(found: MomentList, store: Store, clip: Clip, chosen: tuple[float, float], path: Path) -> None:
    """Writes the picture of a clip, unless it has no sound; a clip whose sound cannot be read fails."""
    try:
        content = draw_moments(store, clip, *chosen)
    except NoSound:
        return
    except ClipError as error:
        found.failed[clip.id] = str(error)
        return
    if content:
        write_whole(path, content)
        found.pictures += 1


def draw_moments(store: Store, clip: Clip, prominence: float, margin: float) -> bytes:
    """The spectrogram and activity of a clip's sound, read again, with its moments; empty if there is none to see.

    Raises:
        NoSound: the file has none.
        ClipError: it cannot be read.
    """
    options = store.recipe.identity["options"]
    with closing(open_sound(clip.path, options.get("stream"))) as sound:
        samples, rate, first = clip_sound(sound, clip, options.get("rate"))
    spectra = log_spectrogram(samples, rate)
    if not spectra.size:
        return b""
    chosen = kept_rows(store, clip, prominence, margin).times[:, 0]
    rows = store[clip.id]
    heard = HeardMoments(
        spectra=np.stack([deviations(row) for row in spectra]),
        trace=activity(spectra),
        seconds=first + frame_times(np.arange(spectra.shape[1]), rate),
        highest=rate / 2,
        chosen=chosen,
        others=np.setdiff1d(rows.times[:, 0], chosen),
    )
    return moments_picture(heard, title=f"{clip.id}: {len(chosen)} of {len(rows.times)} moments")
