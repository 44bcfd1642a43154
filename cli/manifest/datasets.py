"""`egotools manifest table`, and a command for each dataset."""

from inspect import cleandoc
from pathlib import Path
from typing import Any

import click

from egotools.datasets.names import find_dataset

from .. import options
from ..groups import Command
from .writing import out, write_found

root_folder = click.argument("root", type=options.PATH)


def dataset_command(name: str) -> click.Command:
    """The command that lists a dataset; its flags are the fields of the dataset's class."""
    kind = find_dataset(name)

    def run(config: Any, root: Path, out: Path) -> None:  # Any: a Dataset with the options that were given
        write_found(out, config.clips(root))

    text = f"List {cleandoc(kind.__doc__ or name)}"
    return click.command(name, cls=Command, help=text)(root_folder(options.from_fields(kind)(out(run))))


@click.command()
@click.argument("table", metavar="FILE", type=options.PATH)
@click.option("--id", "id_column", required=True, metavar="NAME", help="Column of ids.")
@click.option("--split", "split_column", metavar="NAME", help="Column of splits.  [default: split, if there is one]")
@out
def table(table: Path, id_column: str, split_column: str | None, out: Path) -> None:
    """List rows that have features only, from a .npz or a CSV: no file, every column a label.

    Of a .npz the arrays with one number or text a row are columns; numbers are written so that they read back to the
    bit, NaN is left empty. 'egotools cache import' makes the cache of such features.

    \b
    egotools manifest table trecvid2020_train.npz --id video_id --out t.csv
    egotools manifest table scores.csv --id video_id --split fold --out t.csv
    """
    from egotools.datasets.table import clips_of_table

    write_found(out, clips_of_table(table, id=id_column, split=split_column))
