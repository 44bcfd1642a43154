"""What a report says of a cache: its counts, its recipe, and the clips that failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from egotools.errors import ManifestError, StoreError
from egotools.extraction.failures import FailedClip, failures_path, read_failures
from egotools.files import html
from egotools.reports.figures import cell, rows
from egotools.stores.store import Recipe
from egotools.stores.summary import Summary, open_any, recipe_lines, sealed, summarize

OVERVIEW = ("cache", "clips", "rows", "D", "dtype", "seconds", "bytes", "failed clips", "extractor")


@dataclass(frozen=True)
class CacheFacts:
    """A cache, or as far as it can be read."""

    path: Path
    summary: Summary | None = None
    recipe: Recipe | None = None
    seconds: float = 0.0  # of video or sound that the clips' rows span
    empty: int = 0  # clips without rows
    failed: dict[str, FailedClip] | None = None  # None: the list cannot be read
    problems: tuple[str, ...] = ()


def facts_of(path: Path) -> CacheFacts:
    """Reads header, index and times of a cache, and the list of its failures, but no rows; problems are collected."""
    problems = []
    failed: dict[str, FailedClip] | None = None
    try:
        failed = read_failures(sealed(path))
    except ManifestError as error:
        problems.append(str(error))
    try:
        store, seconds, empty = open_any(path), 0.0, 0
        for id in store:
            times = store.stored(id).times
            seconds += float(times[:, 1].max() - times[:, 0].min()) if len(times) else 0.0
            empty += not len(times)
        return CacheFacts(path, summarize(path), store.recipe, seconds, empty, failed, tuple(problems))
    except StoreError as error:
        return CacheFacts(path, failed=failed, problems=(str(error), *problems))


def overview(found: Sequence[CacheFacts]) -> str:
    """One line a cache."""
    lines: list[list[object]] = []
    for each in found:
        failed, summary = None if each.failed is None else len(each.failed), each.summary
        if summary is None:
            lines.append([each.path, *[None] * 6, failed, "cannot be read"])
            continue
        counts = [summary.clips, summary.rows, summary.width, summary.dtype, round(each.seconds), summary.bytes]
        lines.append([each.path, *counts, failed, cell(summary.extractor)])
    return html.table(lines, OVERVIEW)


def section(facts: CacheFacts) -> str:
    """All that is known of one cache."""
    parts = [html.element("p", problem, "bad") for problem in facts.problems]
    if facts.summary is not None and facts.recipe is not None:
        parts.append(rows(_counts(facts, facts.summary)))
        lines = [(name, cell(value)) for name, value in recipe_lines(facts.recipe).items()]
        parts += [html.element("h3", "recipe"), rows(lines)]
    if facts.failed:
        parts.append(html.element("h3", f"clips that failed: {len(facts.failed)}"))
        parts.append(html.element("p", f"from {failures_path(sealed(facts.path))}", "small"))
        failed = [
            (id, each.source.start, each.source.end, cell(each.reason), cell(each.source.path))
            for id, each in facts.failed.items()
        ]
        parts.append(rows(failed, ("clip", "start (s)", "end (s)", "reason", "file")))
    return "\n".join(parts)


def _counts(facts: CacheFacts, summary: Summary) -> list[tuple[str, object]]:
    written = summary.committed and datetime.fromtimestamp(summary.committed).astimezone().isoformat(" ", "seconds")
    said: list[tuple[str, object]] = [
        ("path", summary.path.absolute()),
        ("format", summary.format),
        ("clips", summary.clips),
        ("clips without rows", facts.empty),
        ("rows", summary.rows),
        ("width", summary.width),
        ("dtype", summary.dtype),
        ("bytes", summary.bytes),
        ("seconds that rows span", facts.seconds),
        ("written", written),
    ]
    return [*said, *([("being written by", summary.writer)] if summary.writer else [])]
