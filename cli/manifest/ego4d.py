"""`egotools manifest ego4d`."""

from pathlib import Path

import click

from egotools.datasets.ego4d import Ego4D

from .. import options
from ..groups import Command
from .writing import out, write_found


@click.command("ego4d", cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=options.FILE)
@options.from_fields(Ego4D)
@out
def ego4d(config: Ego4D, files: tuple[Path, ...], out: Path) -> None:
    """List Ego4D's clips with and without a change of state, or its actions, from its annotation files.

    Times count in whichever file there is: the whole video, the clip of some minutes, or the row alone. Rows whose
    video does not exist are counted and left out, with exit status 1.

    \b
    egotools manifest ego4d fho_oscc-pnr_train.json fho_oscc-pnr_val.json --task state-change --videos V --out c.csv
    egotools manifest ego4d fho_lta_train.json fho_lta_val.json --task anticipation --videos clips/ --out l.csv
    """
    write_found(out, config.clips(files))
