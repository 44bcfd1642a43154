"""`egotools eval knn`."""

from typing import Any

import click

from egotools.evaluate.knn import KNN
from egotools.evaluate.splits import Partition

from .. import options
from ..configuration import MethodCommand
from .cached import evaluate_cached


@click.command("knn", cls=MethodCommand)
@options.manifest
@options.features
@options.label
@options.reduce
@options.segments
@options.from_fields(KNN)
@options.from_fields(Partition, "partition")
@options.out
@options.telling
@options.as_json
def evaluate(config: KNN, partition: Partition, **asked: Any) -> None:  # Any: what click parsed
    """A vote among the nearest clips.

    With splits in the manifest, train votes on test; without, all other clips vote on each clip. --preset storyboard is
    Memory Storyboard's vote: Euclidean, unweighted, over ten k.

    \b
    egotools eval knn --features caches/mine/csn.lmdb --manifest m.csv --label action --k 1,5,20
    egotools eval knn --features caches/mine/csn.lmdb --manifest m.csv --label action --group video
    egotools eval knn --preset storyboard --features caches/mini/rc.lmdb --manifest mini.csv --label label
    """
    from egotools.evaluate.knn import knn

    evaluate_cached("knn", knn, config, partition, **asked)
