"""What was found, as a report and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from egotools.config import digest, plain
from egotools.evaluate.find import Finding, Found, Moment
from egotools.evaluate.queries import Query
from egotools.provenance import command_line, versions
from egotools.stores.store import Store
from egotools.tables.table import manifest_digest

COLUMNS = ("query", "rank", "similarity", "id", "start", "end", "path")
DIGITS = 6  # of written cosines and seconds


def report(store: Store, found: Found, finding: Finding, manifest: Path | None = None) -> dict[str, Any]:
    """What was found, in JSON (hence Any), with remarks and provenance."""
    inputs: dict[str, Any] = {"features": {"path": str(store.path), "recipe": digest(store.recipe.identity)}}
    if manifest is not None:
        inputs["manifest"] = {"path": str(manifest), "digest": manifest_digest(manifest)}
    asked = zip(found.queries, found.moments, strict=True)
    return {
        "command": command_line(),
        "rows": found.rows,
        "clips": found.clips,
        "queries": [_answer(query, moments) for query, moments in asked],
        "remarks": list(found.remarks),
        "arguments": plain(finding),
        "inputs": inputs,
        "versions": versions(),
    }


def to_csv(found: Found) -> str:
    """A line for each moment: the query, its rank from 1, cosine, clip, seconds of the file, and the file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for query, moments in zip(found.queries, found.moments, strict=True):
        for rank, moment in enumerate(moments, 1):
            cells = (round(cell, DIGITS) if isinstance(cell, float) else cell for cell in _entry(rank, moment).values())
            writer.writerow([query.name, *cells])
    return text.getvalue()


def _answer(query: Query, moments: tuple[Moment, ...]) -> dict[str, Any]:
    shows: Mapping[str, Any] = {} if query.shows is None else {"clip": query.shows._asdict()}
    listed = [
        {**_entry(rank, each), "labels": dict(each.video.labels) if each.video is not None else {}}
        for rank, each in enumerate(moments, 1)
    ]
    return {"kind": query.kind, "query": query.name, **shows, "moments": listed}


def _entry(rank: int, moment: Moment) -> dict[str, Any]:
    return {
        "rank": rank,
        "similarity": moment.similarity,
        "id": moment.id,
        "start": moment.start,
        "end": moment.end,
        "path": "" if moment.video is None else str(moment.video.path),
    }
