"""`egotools derive`: caches derived from caches."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from egotools.derive.lookup import BUILT_IN, find_derivation
from egotools.errors import EgotoolsError

from . import display, options
from .groups import Command, LazyGroup
from .log import output
from .progress import Progress

if TYPE_CHECKING:
    from egotools.derive.deriving import Derived, Made

EXAMPLE = "egotools derive {name} --features caches/a/resnet18.lmdb --out caches/{name}"
EXAMPLES = {
    "cut": "egotools derive cut --features caches/a/resnet18.lmdb --manifest segments.csv --out caches/cut",
    "resample": "egotools derive resample --features caches/a/color.lmdb --hz 10 --out caches/hz10",
    "similarity": "egotools derive similarity --features caches/m/hrnet.lmdb --features caches/m/csn.lmdb "
    "--manifest m.csv --out caches/m",
}
common = options.together(
    click.option(
        "--features",
        required=True,
        multiple=True,
        type=options.PATH,
        help="Cache to derive from; repeatable, each gives a cache of its own.",
    ),
    click.option("--out", required=True, type=options.FOLDER, help="Folder of the caches."),
    click.option("--name", "cache_name", help="Name of the new cache; by default from the input's."),
    click.option("--store", type=click.Choice(["lmdb", "hdf5"]), default="lmdb", show_default=True),
    options.telling,
    options.as_json,
)


class Derivations(LazyGroup):
    """Derivations, looked up by name; each becomes a command whose flags are the fields of its class."""

    title = "Derivations ('egotools derive NAME --help' shows the options of one)"

    def get_command(self, context: click.Context, name: str) -> click.Command:
        try:
            kind = find_derivation(name)
        except EgotoolsError as error:
            context.fail(str(error))

        def run(config: Any, **given: Any) -> None:  # Any: what the flags parse to
            _derive(name, config, **given)

        text = f"{cleandoc(kind.__doc__ or '')}\n\n\b\n{EXAMPLES.get(name, EXAMPLE).format(name=name)}"
        return click.command(name, cls=Command, help=text)(common(options.from_fields(kind)(run)))


@click.group(cls=Derivations, table=BUILT_IN)
def derive() -> None:
    """Make caches from caches, without reading a video.

    A cache that is up to date is left as it is. 'egotools rebuild' follows inputs that have changed.

    \b
    egotools derive pool --features caches/a/resnet18.lmdb --out caches/pooled --statistics mean,std
    """


def _derive(
    name: str, config: Any, features: tuple[Path, ...], out: Path, cache_name: str | None, store: str, as_json: bool
) -> None:
    from egotools.derive.deriving import Derived

    suffix = ".h5" if store == "hdf5" else ".lmdb"
    names = [cache_name or config.naming.format(input=path.stem) for path in features]
    if twice := next((each for each in names if names.count(each) > 1), None):
        raise click.UsageError(f"two caches would be called {twice}; derive them one at a time, with another --name")
    wanted = [
        Derived(out / f"{each}{suffix}", name, config, {path.stem: path})
        for each, path in zip(names, features, strict=True)
    ]
    output().log_into([out])
    made, errors = _make_each(wanted)
    if as_json:
        display.show_json([*made, *({"cache": cache, "error": error} for cache, error in errors.items())])
    elif made:
        rows = [[str(item.cache), item.clips, item.rows, item.width, _what(item)] for item in made]
        display.show_table(["cache", "clips", "rows", "D", ""], rows)
    for item in made:
        for remark in item.remarks:
            display.note(f"{item.cache}: {remark}")
        failed = [f"{id!r}: {why}" for id, why in item.failed.items()]
        display.name_some(f"{item.cache}: clips failed", failed, tell=display.failure)
    for error in errors.values():
        display.failure(f"failed: {error}")
    click.get_current_context().exit(1 if errors or any(item.failed for item in made) else 0)


def _make_each(wanted: Sequence[Derived]) -> tuple[list[Made], dict[Path, str]]:
    """The caches that were made or are up to date, and why the others were not made."""
    from egotools.derive.deriving import derive as make
    from egotools.provenance import command_line

    made, errors = [], {}
    with Progress() as progress:
        for each in wanted:
            try:
                made.append(make(each, origin={"command": command_line()}, progress=progress))
            except EgotoolsError as error:
                errors[each.cache] = str(error)
    return made, errors


def _what(made: Made) -> str:
    return "made" if made.is_new else "there already: nothing to do"
