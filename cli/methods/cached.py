"""What evaluations of cached features by split have in common: `eval knn`, `retrieval` and `svm`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egotools.config import options_of
from egotools.evaluate.splits import Partition

from .. import options
from ..progress import Progress
from .probe import show

if TYPE_CHECKING:
    from egotools.evaluate.classification import Result


def evaluate_cached(
    name: str,
    evaluator: "Callable[..., Result]",
    config: object,
    partition: Partition,
    *,
    manifest: Path,
    features: Sequence[Path],
    label: str,
    reduce: str,
    segments: Path | None,
    out: Path | None,
    as_json: bool,
    stage: str = "reading and evaluating",
    preset: str | None = None,
    **more: Any,  # Any: further arguments of the evaluator, such as a seed
) -> None:
    """Reads the table, evaluates it, keeps report, predictions and picture in `out`, and shows the figures."""
    from egotools.evaluate.report import report, save
    from egotools.tables.table import read_table

    rows = options.reduce_of(reduce, segments)
    options.keep_for_us(out)
    with Progress("rows", stage) as progress:
        table = read_table(manifest, features, reduce=rows, labels=partition.columns(label), segments=segments)
        result = evaluator(table, label, config, partition=partition, progress=progress, **more)
    named = {} if preset is None else {"preset": preset}
    asked = {"label": label, "reduce": rows or "none"}
    arguments = {**named, **asked, **more, **options_of(config), **options_of(partition)}
    content = report(f"eval {name}", arguments, result, manifest=manifest, features=features, segments=segments)
    if out is not None:
        save(out, content, result)
    show(content, out, as_json=as_json)
