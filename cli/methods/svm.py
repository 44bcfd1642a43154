"""`egotools eval svm`."""

from typing import Any

import click

from egotools.evaluate.splits import Partition
from egotools.evaluate.svm import SVM

from .. import options
from ..configuration import MethodCommand
from .cached import evaluate_cached


@click.command("svm", cls=MethodCommand)
@options.manifest
@options.features
@options.label
@options.reduce
@options.segments
@options.from_fields(SVM)
@options.from_fields(Partition, "partition")
@options.seed
@options.out
@options.telling
@options.as_json
def evaluate(config: SVM, partition: Partition, **asked: Any) -> None:  # Any: what click parsed
    """A linear support vector machine on standardized features, by scikit-learn.

    Splits, groups and hold-outs are those of 'eval probe'. C is chosen by cross-validation within the training rows.
    --preset storyboard is Memory Storyboard's: stochastic gradient descent on features as they are, over ten alpha.

    \b
    egotools eval svm --features caches/mine/csn.lmdb --manifest m.csv --label action
    egotools eval svm --features caches/mine/csn.lmdb --manifest m.csv --label action --c 0.01,0.1,1 --group video
    egotools eval svm --preset storyboard --features caches/mini/rc.lmdb --manifest mini.csv --label label
    """
    from egotools.evaluate.svm import svm

    evaluate_cached("svm", svm, config, partition, stage="reading and fitting", **asked)
