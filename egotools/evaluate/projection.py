"""Rows of features as points of a plane: principal components, t-SNE, UMAP. Axes: N rows, D features, C components.

t-SNE and UMAP run in one thread: sums in another order would move all points, whatever the seed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from egotools.config import option
from egotools.errors import MissingExtra, TableError
from egotools.linear.pca import PCA, fit_pca
from egotools.types import FloatArray

Floats = npt.NDArray[np.float64]
Method = Literal["pca", "tsne", "umap"]

TITLES: dict[Method, str] = {"pca": "principal components", "tsne": "t-SNE", "umap": "UMAP"}
KEPT = 50  # principal components that t-SNE and UMAP are given, as is usual
LARGE = 5000  # rows from which on openTSNE is faster than scikit-learn
FEWEST = 4  # rows of t-SNE and UMAP, which arrange neighbors
EXTRA = "map"


@dataclass(frozen=True)
class Projecting:
    """How rows become points. The defaults draw two maps: one keeps large distances, the other small ones."""

    method: tuple[Method, ...] = option(("pca", "tsne"), "How rows become points; repeatable.")
    perplexity: float = option(30.0, "About how many neighbors t-SNE keeps near; lowered where rows are few.")
    neighbors: int = option(15, "How many neighbors UMAP keeps near; lowered where rows are few.")
    standardize: bool = option(False, "Scale each feature to mean 0 and deviation 1 first, as the probe does.")
    center: bool = option(
        False, "Subtract the mean and scale rows to length one first, so that distances rank as in 'eval retrieval'."
    )

    def __post_init__(self) -> None:
        if not self.method:
            raise ValueError("--method must be given at least once")
        if not 1 <= self.perplexity < float("inf"):
            raise ValueError(f"--perplexity must be 1 or more, not {self.perplexity:g}")
        if self.neighbors < 2:
            raise ValueError(f"--neighbors must be 2 or more, not {self.neighbors}")


@dataclass(frozen=True, eq=False)
class Projection:
    """The points of one method, and what it says of them; Any: JSON values."""

    method: Method
    points: Floats  # [N, 2]
    axes: tuple[str, str]  # what the axes are called; empty where coordinates mean nothing
    facts: Mapping[str, Any]
    remarks: tuple[str, ...] = field(default=())


def check_installed(config: Projecting) -> None:
    """Raises MissingExtra if a method needs a library that is not installed."""
    if "umap" in config.method and not _is_installed("umap"):
        raise MissingExtra("umap-learn", None)  # in no extra: it compiles for a minute


def projected(values: FloatArray, config: Projecting, *, seed: int) -> list[Projection]:
    """The points of each method, in their order. Equal seeds give equal points, on one machine.

    Args:
        values: [N, D] float32, finite; not changed.
        config: the methods.
        seed: of the randomized PCA, and of t-SNE and UMAP.

    Raises:
        TableError: fewer than two rows, fewer than four for methods that arrange neighbors, or rows that are all equal.
        MissingExtra: a method's library is not installed.
    """
    check_installed(config)
    if len(values) < 2:
        raise TableError("there is one row only; a map needs at least 2 (--reduce none makes every window a row)")
    methods = dict.fromkeys(config.method)
    few = [TITLES[each] for each in methods if each != "pca"] if len(values) < FEWEST else []
    if few and "pca" not in methods:
        raise TableError(
            f"{len(values)} rows are too few for {' and '.join(few)}, which need {FEWEST}; try --method pca"
        )
    pca, scores = _components(_scaled(values, config), seed)
    found = []
    for method in methods:
        if method == "pca":
            missing = tuple(f"left out: {each}, which needs {FEWEST} rows or more" for each in few)
            found.append(_of_components(pca, scores, missing))
        elif not few:
            found.append(_arranged(method, pca, scores, config, seed))
    return found


def _scaled(values: FloatArray, config: Projecting) -> FloatArray:
    if config.standardize:
        import torch  # here, since most maps need none

        from egotools.linear.standardize import fit_standardization

        rows = torch.from_numpy(values)
        values = fit_standardization(rows)(rows).numpy()
    if config.center:
        from egotools.evaluate.knn import normalized
        from egotools.evaluate.retrieval import centered

        values = normalized(centered(values))
    return values


def _components(values: FloatArray, seed: int) -> tuple[PCA, FloatArray]:
    """Up to 50 principal components, and the rows in them, [N, C] float32."""
    count, width = values.shape
    try:
        pca = fit_pca(values, min(KEPT, count - 1, width), seed=seed, fewer=True)
    except ValueError as error:
        if np.ptp(values, axis=0).any():
            raise TableError(f"no principal components of these rows: {error}") from error
        raise TableError(f"all {count} rows are equal: there is nothing to draw") from error
    return pca, pca.project(values)


def _shares(pca: PCA) -> list[float]:
    """The share of the variance that each component explains."""
    assert pca.total_variance, "it was fitted on rows that vary"
    return [float(share) for share in pca.explained_variance / pca.total_variance]


def _of_components(pca: PCA, scores: FloatArray, remarks: tuple[str, ...]) -> Projection:
    shares = [*_shares(pca)[:2], 0.0][:2]
    axes = (f"component 1 ({shares[0]:.1%} of the variance)", f"component 2 ({shares[1]:.1%})")
    if scores.shape[1] < 2:
        remarks = ("the rows vary in one direction only: the second component is 0", *remarks)
    facts = {"library": _named("scikit-learn"), "components": 2, "explained_share": sum(shares), "by_axis": shares}
    return Projection("pca", _plane(scores), axes, facts, remarks)


def _arranged(method: Method, pca: PCA, scores: FloatArray, config: Projecting, seed: int) -> Projection:
    """Points of t-SNE or UMAP, of the principal components, which begin at the first two."""
    asked = config.perplexity if method == "tsne" else config.neighbors
    most = (len(scores) - 1) / 3 if method == "tsne" else len(scores) - 1
    used = min(asked, most)
    name = "perplexity" if method == "tsne" else "neighbors"
    lowered: tuple[str, ...] = (
        (f"--{name} {asked:g} lowered to {used:.4g}: there are {len(scores)} rows",) if used < asked else ()
    )
    begin = _plane(scores)
    begin *= 1e-4 / begin[:, 0].std()  # as scikit-learn and openTSNE scale it
    if scores.shape[1] < 2:
        begin[:, 1] = 1e-4 * np.random.default_rng(seed).normal(size=len(begin))  # or they would stay on a line
    is_large = method == "tsne" and len(scores) > LARGE
    if method == "umap":
        points, facts = _umap(scores, begin, int(used), seed)
    elif is_large and _is_installed("openTSNE"):
        points, facts = _open_tsne(scores, begin, used, seed)
    else:
        points, facts = _tsne(scores, begin, used, seed)
        if is_large:
            lowered += (f"openTSNE is faster beyond {LARGE} rows: pip install 'egotools[{EXTRA}]'",)
    facts |= {name: used, "components": scores.shape[1], "explained_share": sum(_shares(pca))}
    return Projection(method, points.astype(np.float64), ("", ""), facts, lowered)


def _plane(scores: FloatArray) -> Floats:
    """The first two components [N, 2]; 0 for a second one that does not exist."""
    plane = np.zeros((len(scores), 2))
    plane[:, : scores.shape[1]] = scores[:, :2]
    return plane


def _tsne(scores: FloatArray, begin: Floats, perplexity: float, seed: int) -> tuple[FloatArray, dict[str, Any]]:
    from sklearn.manifold import TSNE  # here, for scikit-learn is slow to import
    from threadpoolctl import threadpool_limits

    tsne = TSNE(perplexity=perplexity, init=begin.astype(np.float32), random_state=seed % 2**32)
    with threadpool_limits(1):
        points = tsne.fit_transform(scores)
    return points, {"library": _named("scikit-learn"), "divergence": float(tsne.kl_divergence_)}


def _open_tsne(scores: FloatArray, begin: Floats, perplexity: float, seed: int) -> tuple[FloatArray, dict[str, Any]]:
    from openTSNE import TSNE

    tsne = TSNE(perplexity=perplexity, initialization=begin, random_state=seed % 2**32, n_jobs=1)
    found = tsne.fit(scores)
    return np.array(found), {"library": _named("openTSNE"), "divergence": float(found.kl_divergence)}


def _umap(scores: FloatArray, begin: Floats, neighbors: int, seed: int) -> tuple[FloatArray, dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # that it would do more with TensorFlow
        from umap import UMAP

    reducer = UMAP(n_neighbors=neighbors, init=begin.astype(np.float32), random_state=seed % 2**32, n_jobs=1)
    return reducer.fit_transform(scores), {"library": _named("umap-learn")}


def _is_installed(module: str) -> bool:
    return find_spec(module) is not None


def _named(library: str) -> str:
    return f"{library} {version(library)}"
