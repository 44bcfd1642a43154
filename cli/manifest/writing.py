"""Writing a manifest, and saying what it holds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from egotools.datasets.clips import DatasetClips
from egotools.manifests.partition import check_fractions
from egotools.manifests.segments import write_segments
from egotools.manifests.table import write_manifest
from egotools.types import Clip

from .. import options
from ..display import failure, name_some, note

source = click.argument("manifest_file", metavar="MANIFEST", type=options.PATH)
out = click.option("--out", required=True, type=options.FILE, help="CSV to write.")


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


def write_found(out: Path, found: DatasetClips) -> None:
    """Writes the clips of a dataset, and its segments beside; missing files, refused rows: exit status 1."""
    write(out, found.clips)
    if found.segments is not None:
        beside = out.with_name(f"{out.stem}.segments.csv")
        write_segments(beside, found.segments)
        sequences = len({(segment.id, segment.sequence) for segment in found.segments})
        note(f"{beside}: {counted(len(found.segments), 'segment')} of {counted(sequences, 'sequence')}")
    for remark in found.remarks:
        note(f"  {remark}")
    name_some("files that do not exist, their clips are left out", found.missing, tell=failure)
    name_some("rows that cannot be used, left out", found.refused, tell=failure)
    if found.missing or found.refused:
        raise click.exceptions.Exit(1)


def write(out: Path, clips: Sequence[Clip]) -> None:
    write_manifest(out, clips)
    splits = Counter(clip.split for clip in clips)
    parts = ", ".join(f"{name} {count}" for name, count in splits.items() if name)
    note(f"{out}: {counted(len(clips), 'clip')}" + (f" ({parts})" if parts else ""))


def counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
