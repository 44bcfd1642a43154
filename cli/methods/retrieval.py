"""`egotools eval retrieval`."""

from typing import Any

import click

from egotools.evaluate.retrieval import Retrieval
from egotools.evaluate.splits import Partition

from .. import options
from ..configuration import MethodCommand
from .cached import evaluate_cached


@click.command("retrieval", cls=MethodCommand)
@options.manifest
@options.features
@options.label
@options.reduce
@options.segments
@options.from_fields(Retrieval)
@options.from_fields(Partition, "partition")
@options.out
@options.telling
@options.as_json
def evaluate(config: Retrieval, partition: Partition, **asked: Any) -> None:  # Any: what click parsed
    """R@k: the share of clips with one of the same class among their k nearest.

    With splits in the manifest, the clips of test are looked for among those of train; without, each clip among all
    others. Clips of one --group never retrieve each other.

    \b
    egotools eval retrieval --features caches/w/memdpc.lmdb --manifest w.csv --label video --k 1,5,10,20,50
    egotools eval retrieval --features caches/u/memdpc.lmdb --manifest u.csv --label label --out retrieval/
    """
    from egotools.evaluate.retrieval import retrieval

    evaluate_cached("retrieval", retrieval, config, partition, **asked)
