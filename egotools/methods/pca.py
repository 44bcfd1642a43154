"""Principal components from files to files: fitted on cached features, kept as a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from egotools.config import check_positive, option, options_of
from egotools.errors import TableError
from egotools.linear.pca import PCA, fit_pca
from egotools.methods.records import write_records
from egotools.tables.matching import numbered_inputs
from egotools.tables.table import Table, read_table
from egotools.training.runs import Run, once, provenance_of, run_recipe
from egotools.weights.pca import pca_bytes
from egotools.weights.run_files import PCA_FILE

Content = dict[str, Any]  # a report; Any: JSON values

USUAL = 10  # components, as in M3-S


class Shown(TypedDict):
    """`report.json`, as far as it is shown."""

    remarks: list[str]
    components: int
    width: int
    rows: int
    clips: int
    explained_in_all: float | None


@dataclass(frozen=True)
class Components:
    """How principal components are fitted."""

    components: int | None = option(None, "Number of components to keep; by default 10, or fewer if there are fewer.")
    whiten: bool = option(False, "Divide each component by its standard deviation, as M3-S does.")
    solver: Literal["auto", "exact", "randomized"] = option(
        "auto", "Solver; auto is exact up to 2000 rows or columns, and randomized beyond."
    )

    def __post_init__(self) -> None:
        check_positive(self, "components")

    @property
    def wanted(self) -> int:
        """How many directions are asked for."""
        return USUAL if self.components is None else self.components


def train_pca(
    folder: Path, manifest: Path, features: Sequence[Path], config: Components, *, split: str | None, seed: int = 0
) -> tuple[Content, bool]:
    """Fits a PCA on all rows of a split's clips and keeps it as a run in `folder`, with `pca.npz`.

    Args:
        folder: of the run.
        manifest: which clips.
        features: caches; several are concatenated, if their rows have the same times.
        config: how it is fitted.
        split: whose clips; None: all.
        seed: of the randomized solver.

    Returns:
        The report, and whether it is new: a run that is done with the same options is left as it is.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        TableError: too few rows for the components that are asked for, or rows that do not vary.
    """
    arguments = {"split": split, "seed": seed, **options_of(config), "components": config.wanted}
    recipe = run_recipe("pca", arguments, manifest, features, numbered_inputs(features))

    def make(run: Run) -> Content:
        table = read_table(manifest, features, reduce=None, split=split, labels=())
        clips, rows = len(np.unique(table.ids)), len(table)
        pca, remarks = _fitted(table, features, config, seed)
        write_records(run, features)
        run.write(PCA_FILE, pca_bytes(pca))
        return {
            "command": "train pca",
            **_figures(pca),
            "rows": rows,
            "clips": clips,
            "remarks": [*table.remarks, *remarks],
            **provenance_of(arguments, manifest, features),
        }

    return once(folder, recipe, make, Shown)


def _fitted(table: Table, features: Sequence[Path], config: Components, seed: int) -> tuple[PCA, list[str]]:
    """The PCA of a table's rows, which are centred in place; whether it has fewer components than were asked for."""
    count, width = table.values.shape
    components = min(config.wanted, max(count - 1, 1), width) if config.components is None else config.wanted
    try:
        pca = fit_pca(
            table.values,
            components,
            whiten=config.whiten,
            solver=config.solver,
            seed=seed,
            overwrite=True,
            fewer=True,
        )
    except ValueError as error:
        raise TableError(f"{', '.join(map(str, features))}: {error}") from error
    found = len(pca.components)
    if found == config.wanted:
        return pca, []
    return pca, [f"{found} principal components instead of {config.wanted}: {count} rows vary in no more directions"]


def _figures(pca: PCA) -> Content:
    """How much of the variance the components explain."""
    assert pca.total_variance, "it was fitted on rows that vary"
    shares = pca.explained_variance / pca.total_variance
    return {
        "components": len(shares),
        "width": len(pca.mean),
        "explained_variance": pca.explained_variance.tolist(),
        "explained_share": shares.tolist(),
        "explained_in_all": float(shares.sum()),
    }
