"""`egotools report`."""

from pathlib import Path

import click

from egotools.texts import counted

from . import display, options
from .groups import Command


@click.command("report", cls=Command)
@click.argument("paths", metavar="RUN|CACHE|FOLDER", nargs=-1, required=True, type=options.PATH)
@click.option("--out", required=True, type=options.FILE, help="The page, such as report.html.")
@options.telling
def report(paths: tuple[Path, ...], out: Path) -> None:
    """Write one HTML file on a run, an evaluation's folder, or caches; exit status 1 if something cannot be read.

    It has counts, recipes and failed clips of caches (of a folder at any depth); options, figures, curves and pictures
    of runs. The file needs no other one and no network. Rows are not checked: that is 'egotools cache verify'.

    \b
    egotools report caches/e --out report.html
    egotools report runs/p reports/knn --out report.html
    """
    from egotools.reports.writing import write_report

    written = write_report(out, paths, remark=display.note)
    counts = [
        counted(vars(written)[f"{what}s"], what) for what in ("cache", "run", "result") if vars(written)[f"{what}s"]
    ]
    display.note(f"{out}: {', '.join(counts)}, {display.size(written.bytes)}")
    for problem in written.problems:
        display.failure(problem)
    if written.problems:
        click.get_current_context().exit(1)
