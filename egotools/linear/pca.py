"""Principal component analysis: exact, or by seeded random projections, with deterministic signs.

Axes: N rows, D features, C components.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]  # any float width
Doubles = npt.NDArray[np.float64]
Solver = Literal["auto", "exact", "randomized"]

MOST_EXACT = 2000  # rows or columns: up to here the exact solver takes seconds, soon beyond it minutes
MOST_DOUBLES = 1 << 28  # numbers of the rows (2 GiB) that the randomized solver gets in float64; more stay as they are
POWER_ITERATIONS = 7
SPARE = 10  # random directions in addition to the components


@dataclass(frozen=True, eq=False)
class PCA:
    """A fitted projection. With `whiten` every component is divided by its standard deviation."""

    mean: Doubles  # [D]
    components: Doubles  # [C, D] orthonormal
    explained_variance: Doubles  # [C] variances of the fitted rows, divided by N - 1
    whiten: bool = True
    total_variance: float | None = None  # of the fitted rows, over all directions; None: not known

    def __post_init__(self) -> None:
        count, width = self.components.shape if self.components.ndim == 2 else (-1, -1)
        if self.mean.shape != (width,) or self.explained_variance.shape != (count,):
            raise ValueError(
                f"a PCA needs components [C, D], a mean [D] and variances [C], not {self.components.shape}, "
                f"{self.mean.shape} and {self.explained_variance.shape}"
            )
        if not all(np.isfinite(each).all() for each in (self.mean, self.components, self.explained_variance)):
            raise ValueError("a PCA must not contain NaN or infinite values")
        if self.whiten and not (self.explained_variance > 0).all():
            raise ValueError("a component without variance cannot be whitened; request fewer components")

    def project(self, rows: Floats, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
        """[N, D] to [N, C], computed and returned in `dtype`, float32 or float64.

        Raises:
            ValueError: the rows have another width.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ValueError(f"the PCA was fitted on rows of {len(self.mean)} values, but these are {rows.shape}")
        centred = rows.astype(dtype, copy=False) - self.mean.astype(dtype)
        projected: npt.NDArray[Any] = centred @ self.components.T.astype(dtype)
        if self.whiten:
            projected /= np.sqrt(self.explained_variance).astype(dtype)
        return projected


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
    """The directions of largest variance, by scikit-learn; the largest entry of each is positive.

    Args:
        rows: [N, D], N at least 2.
        components: at most N - 1 and D.
        whiten: whether to scale projected components to variance 1.
        solver: `exact` needs the rows in float64 and the smaller of N and D squared in memory; `randomized` refines
            random directions in seven passes and is as accurate if variances decay; `auto` is exact up to 2000.
        seed: seed of the random directions.
        overwrite: whether `rows` may be centered in place, which saves a copy of it.
        fewer: whether to accept fewer components, at least one, if the rows vary in fewer directions.

    Raises:
        ValueError: too few rows for the components, rows that vary in fewer directions, or values that are not
            finite.
    """
    count, width = rows.shape
    most = min(count - 1, width)
    if not 1 <= components <= most:
        raise ValueError(f"{count} rows of {width} values allow 1 to {most} components, not {components}")
    mean = rows.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise ValueError("rows contain NaN or infinite values")
    centred = rows if overwrite else rows.copy()
    centred -= mean.astype(centred.dtype)
    total = sum(float(row @ row) for row in centred) / (count - 1)  # before the randomized solver overwrites them
    if solver == "exact" or (solver == "auto" and min(count, width) <= MOST_EXACT):
        directions, squares, least = _exact(centred.astype(np.float64, copy=False), components)
    else:
        directions, squares, least = _randomized(centred, components, seed)
    enough = _enough(squares, least, fewer=fewer)
    directions, squares = directions[:enough], squares[:enough]
    largest = np.abs(directions).argmax(axis=1)
    directions *= np.sign(directions[np.arange(enough), largest])[:, None]
    return PCA(mean, directions, squares / (count - 1), whiten, total)


def _exact(centred: Doubles, components: int) -> tuple[Doubles, Doubles, float]:
    """Components [C, D], their squared singular values [C], and the threshold below which they are rounding errors."""
    from sklearn import decomposition  # imported here because scikit-learn is slow to import

    least = 1e-12 * float(np.vdot(centred, centred))
    if len(centred) > centred.shape[1]:
        with np.errstate(invalid="ignore"):  # ratios of zero variance
            fit = decomposition.PCA(components, svd_solver="covariance_eigh").fit(centred)
        return fit.components_, fit.explained_variance_ * (len(centred) - 1), least
    # With fewer rows than columns, the Gram matrix of the rows gives the same directions, at a fraction of the cost.
    dual = decomposition.KernelPCA(components, kernel="precomputed", eigen_solver="dense").fit(centred @ centred.T)
    squares = dual.eigenvalues_
    return dual.eigenvectors_.T @ centred / np.sqrt(np.maximum(squares, 1e-300))[:, None], squares, least


def _randomized(centred: Floats, components: int, seed: int) -> tuple[Doubles, Doubles, float]:
    """Like `_exact`, from random directions, refined by power iterations; may overwrite the rows."""
    from sklearn import decomposition

    if centred.size <= MOST_DOUBLES:
        centred = centred.astype(np.float64, copy=False)  # components to 1e-6 and better; in float32 to 3e-6
    generator = np.random.RandomState(np.random.MT19937(seed))  # a plain integer seed must be below 2^32
    fit = decomposition.PCA(
        components,
        copy=False,
        svd_solver="randomized",
        iterated_power=POWER_ITERATIONS,
        n_oversamples=SPARE,
        power_iteration_normalizer="QR",
        random_state=generator,
    )
    with np.errstate(invalid="ignore"):
        fit.fit(centred)
    squares = np.square(fit.singular_values_, dtype=np.float64)
    return fit.components_.astype(np.float64), squares, 1e-10 * float(squares.sum())


def _enough(squares: Doubles, least: float, *, fewer: bool) -> int:
    """The number of components whose squared singular values exceed rounding errors."""
    enough = int((squares > max(least, 1e-300)).sum())
    if enough < len(squares) and not (fewer and enough):
        raise ValueError(f"the rows vary in {enough} directions, not in {len(squares)}; request fewer components")
    return enough
