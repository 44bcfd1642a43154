"""What a report says of a run, or of the folder of an evaluation: options, figures, curves, pictures, its clips."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from egotools.config import finite
from egotools.errors import RunError
from egotools.files import html
from egotools.files.disk import open_file, walk
from egotools.reports.figures import cell, figures, rows
from egotools.stores.store import Recipe
from egotools.stores.summary import recipe_lines
from egotools.texts import counted
from egotools.training.curves import lines_picture
from egotools.training.learned_from import stated
from egotools.training.runs import METRICS, REPORT, Run

LAST = ("arguments", "inputs", "versions")  # of report.json: what made it
TOGETHER = 3  # panels of a picture
LARGEST = 8_000_000  # bytes of a picture in the page
MOST = 40  # pictures
DRAWABLE = 1e18  # beyond, figures are left out
PNG = b"\x89PNG\r\n\x1a\n"


def section(folder: Path) -> tuple[str, list[str]]:
    """The HTML, and what could not be read."""
    problems: list[str] = []
    files = sorted(_files(folder, problems))
    pictures = [place / name for place, name in files if name.endswith(".png")]
    run = Run(folder, Recipe({}))
    parts: list[Callable[[], str]] = [partial(_report, run)]
    parts += [partial(_curves, place, folder) for place, name in files if name == METRICS]
    parts += [partial(_picture, path, folder) for path in pictures[:MOST]]
    parts += [partial(_learned, run), partial(_recipe, run)] if Run.exists(folder) else []
    texts = []
    for part in parts:
        try:
            texts.append(part())
        except RunError as error:
            problems.append(str(error))
    if len(pictures) > MOST:
        texts.append(html.element("p", f"{len(pictures) - MOST} more pictures are in {folder}", "small"))
    return "\n".join([*(html.element("p", problem, "bad") for problem in problems), *texts]), problems


def _recipe(there: Run) -> str:
    run = Run.open(there.path)
    lines = [(name, cell(value)) for name, value in recipe_lines(run.recipe).items()]
    return html.element("h3", "options and inputs") + rows(lines)


def _report(run: Run) -> str:
    if not run.is_done:
        return html.element("p", f"not done: there is no {REPORT} yet", "bad")
    content = finite(run.read(REPORT))
    shown = {name: value for name, value in content.items() if name not in (*LAST, "remarks")}
    said = content.get("remarks")
    remarks = html.remarks([str(each) for each in said]) if isinstance(said, list) else ""
    made = {} if Run.exists(run.path) else {name: content[name] for name in LAST if name in content}
    return html.element("h3", "figures") + remarks + figures(shown) + figures(made)


def _learned(run: Run) -> str:
    found = stated(run)
    if found is None:
        return ""
    lines = [(fold or "-", len(each.ids), each.group, len(each.groups) or None) for fold, each in found.items()]
    return html.element("h3", "what it learned from") + rows(lines, ("fold", "clips", "kept together", "groups"))


def _curves(place: Path, folder: Path) -> str:
    """Pictures of the figures of `metrics.jsonl` by step; a table where its lines are of no steps."""
    lines = Run(place, Recipe({})).metrics(dict[str, Any])
    heading = html.element("h3", f"{(place / METRICS).relative_to(folder)}: {counted(len(lines), 'line')}")
    if not lines or not all(type(line.get("step")) is int and _is_figure(line["step"]) for line in lines):
        columns = list(dict.fromkeys(column for line in lines for column in line))
        return heading + rows([[cell(line.get(column)) for column in columns] for line in lines], columns)
    numbers = [{name: value for name, value in line.items() if _is_figure(value)} for line in lines]
    panels = list(_panels(numbers).items())
    drawn = [dict(panels[at : at + TOGETHER]) for at in range(0, len(panels), TOGETHER)]
    return heading + "".join(html.picture(lines_picture(numbers, each, ""), ", ".join(each)) for each in drawn)


def _is_figure(value: object) -> bool:
    """Whether a value can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < DRAWABLE


def _panels(lines: Sequence[Mapping[str, float]]) -> dict[str, list[str]]:
    """The names of figures, by their last word, or that they are seconds: losses with losses."""
    panels: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for line in lines for name in line):
        if name not in ("step", "epoch"):
            word = "seconds" if name.startswith("seconds_") else name.rpartition("_")[2]
            panels.setdefault(word, []).append(name)
    return panels


def _files(folder: Path, problems: list[str]) -> Iterator[tuple[Path, str]]:
    """The files at and below a folder; links that lead out of it are not followed."""
    unlisted: list[str] = []
    for place, names in walk(folder, [], unlisted=unlisted):
        yield from ((place, name) for name in names)
    problems += unlisted


def _picture(path: Path, folder: Path) -> str:
    try:
        with open_file(path) as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    if not content.startswith(PNG):
        raise RunError(f"{path} is not a PNG picture")
    if len(content) > LARGEST:
        return html.element("p", f"{path} is left out: it is larger than {LARGEST // 1_000_000} MB", "small")
    return html.picture(content, str(path.relative_to(folder)))
