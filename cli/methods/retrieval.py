"""`egotools eval retrieval`."""

from pathlib import Path

import click

from egotools.config import options_of
from egotools.evaluate.retrieval import Retrieval
from egotools.evaluate.splits import Partition

from .. import options
from ..configuration import MethodCommand
from ..progress import Progress
from .probe import show


@click.command("retrieval", cls=MethodCommand)
@options.manifest
@options.features
@options.label
@options.reduce
@options.from_fields(Retrieval)
@options.from_fields(Partition, "partition")
@options.out
@options.telling
@options.as_json
def evaluate(
    config: Retrieval,
    partition: Partition,
    manifest: Path,
    features: tuple[Path, ...],
    label: str,
    reduce: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """R@k: the share of clips with one of the same class among their k nearest.

    With splits in the manifest, the clips of test are looked for among those of train; without, each clip among all
    others. Clips of one --group never retrieve each other.

    \b
    egotools eval retrieval --features caches/w/memdpc.lmdb --manifest w.csv --label video --k 1,5,10,20,50
    egotools eval retrieval --features caches/u/memdpc.lmdb --manifest u.csv --label label --out retrieval/
    """
    from egotools.evaluate.report import report, save
    from egotools.evaluate.retrieval import retrieval
    from egotools.tables.table import read_table

    options.keep_for_us(out)
    with Progress(stage="reading and evaluating"):
        table = read_table(manifest, features, reduce=options.REDUCE[reduce], labels=partition.columns(label))  # type: ignore[arg-type]
        result = retrieval(table, label, config, partition=partition)
    arguments = {"label": label, "reduce": reduce, **options_of(config), **options_of(partition)}
    content = report("eval retrieval", arguments, result, manifest=manifest, features=features)
    if out is not None:
        save(out, content, result)
    show(content, out, as_json=as_json)
