"""`egotools eval svm`."""

from pathlib import Path

import click

from egotools.config import options_of
from egotools.evaluate.splits import Partition
from egotools.evaluate.svm import SVM

from .. import options
from ..configuration import MethodCommand
from ..progress import Progress
from .probe import show


@click.command("svm", cls=MethodCommand)
@options.manifest
@options.features
@options.label
@options.reduce
@options.from_fields(SVM)
@options.from_fields(Partition, "partition")
@options.seed
@options.out
@options.telling
@options.as_json
def evaluate(
    config: SVM,
    partition: Partition,
    manifest: Path,
    features: tuple[Path, ...],
    label: str,
    reduce: str,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """A linear support vector machine on standardized features, by scikit-learn.

    Splits, groups and hold-outs are those of 'eval probe'. C is chosen by cross-validation within the training rows.

    \b
    egotools eval svm --features caches/mine/csn.lmdb --manifest m.csv --label action
    egotools eval svm --features caches/mine/csn.lmdb --manifest m.csv --label action --c 0.01,0.1,1 --group video
    """
    from egotools.evaluate.report import report, save
    from egotools.evaluate.svm import svm
    from egotools.tables.table import read_table

    options.keep_for_us(out)
    with Progress(stage="reading and fitting"):
        table = read_table(manifest, features, reduce=options.REDUCE[reduce], labels=partition.columns(label))  # type: ignore[arg-type]
        result = svm(table, label, config, partition=partition, seed=seed)
    arguments = {"label": label, "reduce": reduce, "seed": seed, **options_of(config), **options_of(partition)}
    content = report("eval svm", arguments, result, manifest=manifest, features=features)
    if out is not None:
        save(out, content, result)
    show(content, out, as_json=as_json)
