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
    """List Ego4D's clips with and without a change of state, its actions, queries, moments, or steps of goals.

    Times count in whichever file there is: the whole video, the clip of some minutes, or the row alone. Rows whose
    video does not exist are counted and left out, with exit status 1. With --features rows name the released features
    of whole videos, which 'egotools cache import --from ego4d' reads, so that 'egotools derive cut' needs no video.

    \b
    egotools manifest ego4d fho_oscc-pnr_train.json fho_oscc-pnr_val.json --task state-change --videos V --out c.csv
    egotools manifest ego4d fho_lta_train.json fho_lta_val.json --task anticipation --videos clips/ --out l.csv
    egotools manifest ego4d moments_train.json moments_val.json --task moments --primary --videos V --out m.csv
    egotools manifest ego4d goalstep_val.json --task goalstep --features omnivore_video_swinl/ --out s.csv
    """
    write_found(out, config.clips(files))
