"""`egotools eval knn`."""

from pathlib import Path

import click

from egotools.config import options_of
from egotools.evaluate.knn import KNN
from egotools.evaluate.splits import Partition

from .. import options
from ..configuration import MethodCommand
from ..progress import Progress
from .probe import show


@click.command("knn", cls=MethodCommand)
@options.manifest
@options.features
@options.label
@options.reduce
@options.from_fields(KNN)
@options.from_fields(Partition, "partition")
@options.out
@options.telling
@options.as_json
def evaluate(
    config: KNN,
    partition: Partition,
    manifest: Path,
    features: tuple[Path, ...],
    label: str,
    reduce: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """A cosine vote among the nearest clips.

    With splits in the manifest, train votes on test; without, all other clips vote on each clip.

    \b
    egotools eval knn --features caches/mine/csn.lmdb --manifest m.csv --label action --k 1,5,20
    egotools eval knn --features caches/mine/csn.lmdb --manifest m.csv --label action --group video
    """
    from egotools.evaluate.knn import knn
    from egotools.evaluate.report import report, save
    from egotools.tables.table import read_table

    options.keep_for_us(out)
    with Progress(stage="reading and evaluating"):
        table = read_table(manifest, features, reduce=options.REDUCE[reduce], labels=partition.columns(label))  # type: ignore[arg-type]
        result = knn(table, label, config, partition=partition)
    arguments = {"label": label, "reduce": reduce, **options_of(config), **options_of(partition)}
    content = report("eval knn", arguments, result, manifest=manifest, features=features)
    if out is not None:
        save(out, content, result)
    show(content, out, as_json=as_json)
