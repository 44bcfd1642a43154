"""Principal components: fitted exactly or by seeded random projections, with signs that do not depend on luck.

Axes: N rows, D features, C components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import linalg

Floats = npt.NDArray[np.floating[Any]]  # any float width
Doubles = npt.NDArray[np.float64]
Solver = Literal["auto", "exact", "randomized"]

MOST_EXACT = 2000  # rows or columns: the exact way takes seconds up to here, and minutes not far beyond
POWER_ITERATIONS = 7
SPARE = 10  # random directions beyond the components asked for
BLOCK = 512  # columns or rows that are copied at a time


@dataclass(frozen=True, eq=False)
class PCA:
    """A fitted projection. With `whiten` every component is divided by its deviation."""

    mean: npt.NDArray[np.float64]  # [D]
    components: npt.NDArray[np.float64]  # [C, D] orthonormal
    explained_variance: npt.NDArray[np.float64]  # [C] of the rows that it was fitted on, divided by N - 1
    whiten: bool = True

    def __post_init__(self) -> None:
        count, width = self.components.shape if self.components.ndim == 2 else (-1, -1)
        if self.mean.shape != (width,) or self.explained_variance.shape != (count,):
            raise ValueError(
                f"a PCA has components [C, D], a mean [D] and variances [C], not {self.components.shape}, "
                f"{self.mean.shape} and {self.explained_variance.shape}"
            )
        if not all(np.isfinite(each).all() for each in (self.mean, self.components, self.explained_variance)):
            raise ValueError("a PCA holds no NaN and no infinite values")
        if self.whiten and not (self.explained_variance > 0).all():
            raise ValueError("a component without variance cannot be whitened; ask for fewer components")

    def project(self, rows: Floats) -> npt.NDArray[np.float32]:
        """[N, D] to [N, C] float32.

        Raises:
            ValueError: rows of another width.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ValueError(f"the PCA was fitted on rows of {len(self.mean)} values, these are {rows.shape}")
        centred = rows.astype(np.float32, copy=False) - self.mean.astype(np.float32)
        found = centred @ self.components.T.astype(np.float32)
        if self.whiten:
            found /= np.sqrt(self.explained_variance).astype(np.float32)
        return found


def fit_pca(
    rows: Floats,
    components: int,
    *,
    whiten: bool = False,
    solver: Solver = "auto",
    seed: int = 0,
    overwrite: bool = False,
    fewer: bool = False,
) -> PCA:
    """The directions of largest variance; of each, the entry of largest magnitude is positive.

    Args:
        rows: [N, D], N at least 2.
        components: at most N - 1 and D.
        whiten: whether projected components are to have variance 1.
        solver: `exact` needs the smaller of N and D squared in memory; `randomized` refines random directions in
            seven passes and is as good where variances fall off; `auto` is exact up to 2000.
        seed: of the random directions.
        overwrite: whether `rows` may be centred in place, which saves a copy of it.
        fewer: whether fewer components will do where the rows vary in fewer directions; one at least.

    Raises:
        ValueError: too few rows for that many components, rows that vary in fewer directions, or values that are not
            finite.
    """
    count, width = rows.shape
    most = min(count - 1, width)
    if not 1 <= components <= most:
        raise ValueError(f"{count} rows of {width} values have 1 to {most} components, not {components}")
    mean = rows.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise ValueError("rows with NaN or infinite values have no principal components")
    centred = rows if overwrite else rows.copy()
    centred -= mean.astype(centred.dtype)
    if solver == "exact" or (solver == "auto" and min(count, width) <= MOST_EXACT):
        found, variances, least = _exact(centred, components)
    else:
        found, variances, least = _randomized(centred, components, np.random.default_rng(seed))
    enough = _directions(variances, least, fewer=fewer)
    found, variances = found[:enough], variances[:enough]
    largest = np.abs(found).argmax(axis=1)
    found *= np.sign(found[np.arange(enough), largest])[:, None]
    return PCA(mean, found, variances / (count - 1), whiten)


def _exact(centred: Floats, components: int) -> tuple[Doubles, Doubles, float]:
    """Components [C, D], their squared singular values [C], from the products of rows or of columns; the least of them.

    What is below the least is rounding.
    """
    tall = len(centred) > centred.shape[1]
    products = _products(centred.T if tall else centred)
    size = len(products)
    squares, vectors = linalg.eigh(products, subset_by_index=(size - components, size - 1))
    squares, vectors = squares[::-1], vectors[:, ::-1]
    least = 1e-12 * float(products.trace())
    if tall:
        return np.ascontiguousarray(vectors.T), squares, least
    return _times(vectors.T, centred) / np.sqrt(np.maximum(squares, 1e-300))[:, None], squares, least


def _randomized(centred: Floats, components: int, generator: np.random.Generator) -> tuple[Doubles, Doubles, float]:
    """The same from random directions, refined by passing through the rows and back."""
    size = min(components + SPARE, *centred.shape)
    directions = generator.standard_normal((centred.shape[1], size), dtype=np.float32)
    for _ in range(POWER_ITERATIONS):
        directions = _orthonormal(centred.T @ _orthonormal(centred @ directions))
    basis = _orthonormal(centred @ directions)
    _, values, vectors = linalg.svd((basis.T @ centred).astype(np.float64), full_matrices=False)
    squares = values[:components] ** 2
    return vectors[:components], squares, 1e-10 * float((values**2).sum())


def _orthonormal(columns: Floats) -> npt.NDArray[np.float32]:
    basis, _ = linalg.qr(columns.astype(np.float64), mode="economic")
    return basis.astype(np.float32)  # type: ignore[no-any-return]


def _products(rows: Floats) -> npt.NDArray[np.float64]:
    """Of each row with each other, summed in float64."""
    total = np.zeros((len(rows), len(rows)))
    for at in range(0, rows.shape[1], BLOCK):
        part = rows[:, at : at + BLOCK].astype(np.float64)
        total += part @ part.T
    return total


def _times(left: npt.NDArray[np.float64], rows: Floats) -> npt.NDArray[np.float64]:
    found = np.empty((len(left), rows.shape[1]))
    for at in range(0, rows.shape[1], BLOCK):
        found[:, at : at + BLOCK] = left @ rows[:, at : at + BLOCK].astype(np.float64)
    return found


def _directions(squares: Doubles, least: float, *, fewer: bool) -> int:
    """How many of the components with these squared singular values are more than rounding."""
    enough = int((squares > max(least, 1e-300)).sum())
    if enough < len(squares) and not (fewer and enough):
        raise ValueError(f"the rows vary in {enough} directions, not in {len(squares)}; ask for fewer components")
    return enough
