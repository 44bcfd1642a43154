"""One page on caches, runs and results of evaluations: `egotools report`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from egotools.errors import OutputError, StoreError
from egotools.files import html
from egotools.files.disk import write_whole
from egotools.provenance import command_line, surroundings
from egotools.reports import caches, runs
from egotools.reports.figures import rows
from egotools.stores.summary import dotted, find_caches, unsaid
from egotools.training.runs import REPORT, Run

SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Written:
    """What a page is about, and what of it could not be read."""

    caches: int
    runs: int
    results: int  # folders of evaluations
    bytes: int
    problems: tuple[str, ...]


def write_report(out: Path, paths: Sequence[Path], *, remark: Callable[[str], None] = unsaid) -> Written:
    """Writes the page, whole or not at all; what cannot be read is named in it, and the rest goes on.

    Args:
        out: the page.
        paths: runs, folders of evaluations, caches, and folders of caches at any depth.
        remark: receives remarks on folders that are skipped.

    Raises:
        StoreError: a path does not exist, or there is nothing to report on in it.
        OutputError: the page cannot be written, or is not called a page: it might replace a cache.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{out}: the name of the page must end in {' or '.join(SUFFIXES)}, as report.html does")
    folders = [path for path in dict.fromkeys(paths) if Run.exists(path) or (path / REPORT).is_file()]
    found: list[caches.CacheFacts] = []
    for path in dict.fromkeys(paths):
        if path not in folders:
            there = find_caches([path], remark=remark)
            if not there:
                raise StoreError(f"{path}: no run and no cache is in it, and no {REPORT}: nothing to report on")
            found += [caches.facts_of(cache) for cache in there]
    sections = [(str(folder), *runs.section(folder)) for folder in folders]
    sections += [(str(each.path), caches.section(each), list(each.problems)) for each in found]
    problems = tuple(problem for _, _, problems in sections for problem in problems)
    content = _page(paths, sections, caches.overview(found) if found else "")
    write_whole(out, content)
    count = sum(map(Run.exists, folders))
    return Written(len(found), count, len(folders) - count, len(content), problems)


def _page(paths: Sequence[Path], sections: Sequence[tuple[str, str, list[str]]], overview: str) -> bytes:
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    parts = [html.element("p", f"written on {now} by {command_line()}", "small"), overview]
    if len(sections) > 1:
        parts.append(html.links([title for title, _, _ in sections]))
    for number, (title, text, _) in enumerate(sections):
        parts += [html.heading(title, number), text]
    made = dotted(surroundings())
    parts += [html.element("h2", "versions that wrote this page"), rows(list(made.items()))]
    return html.page(f"Report on {', '.join(map(str, paths))}", "\n".join(parts))
