"""Clusters training rows, and assigns other rows to the clusters: t-SNE, DBSCAN and a classifier, as in M3-S.

Axes: N training rows, M others, C coordinates.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from egotools.derive.measures import Floats, Integers, Network
from egotools.processes import compute_alone_if_forked

Noise = Literal["last", "zero", "own"]
Embed = Callable[[Floats], Floats]  # [N, C] to [N, 3]
Classify = Callable[[Floats], Integers]  # [M, C] to labels [M]
Learn = Callable[[Floats, Integers], Classify]  # from rows and their labels

NOISE = -1  # the label of rows in no cluster
NONE = -1  # the index for no column: a one-hot vector of zeros
FEWEST = 5  # neighbors that make a row the core of a cluster, including itself
PERPLEXITY = 30.0
EPOCHS = 500


@dataclass(frozen=True, eq=False)
class Grouping:
    """The cluster of each row as the index of a column: `width` columns, -1 for none."""

    labels: Integers  # [N] DBSCAN labels of the training rows
    index: Integers  # [N + M]
    width: int
    classify: Classify


def group(train: Floats, others: Floats, *, embed: Embed, learn: Learn, eps: float, noise: Noise) -> Grouping:
    """Clusters training rows, and assigns other rows to the clusters by a classifier.

    Args:
        train: [N, C].
        others: [M, C].
        embed: returns the points [N, 3] to cluster.
        learn: returns the classifier; rows in no cluster are a class of their own to it.
        eps: maximum distance of neighbors.
        noise: rows in no cluster share the column of the last cluster, have none, or have their own.

    Source:
        theodumont/modular-memorability, gen_features.py; there, noise is `last` (the index -1 of an array).
    """
    compute_alone_if_forked()
    from sklearn.cluster import DBSCAN  # imported here because it takes a second to import

    labels = DBSCAN(eps=eps, min_samples=FEWEST).fit_predict(embed(train)).astype(np.int64)
    classify = learn(train, labels)
    everything = np.concatenate([labels, classify(others)])
    index, width = columns_of(everything, int(labels.max()) + 1, noise)
    return Grouping(labels, index, width, classify)


def columns_of(labels: Integers, clusters: int, noise: Noise) -> tuple[Integers, int]:
    """The column of each label, and how many there are; at least one, which stays empty if there is no cluster."""
    if not clusters:
        return np.full(len(labels), NONE), 1
    column = {"last": clusters - 1, "zero": NONE, "own": clusters}[noise]
    return np.where(labels == NOISE, column, labels), clusters + (noise == "own")


def tsne(seed: int) -> Embed:
    """t-SNE to three dimensions with the defaults of scikit-learn 0.24."""

    def embed(train: Floats) -> Floats:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits  # installed with scikit-learn

        model = TSNE(
            3,
            perplexity=perplexity_of(len(train)),
            early_exaggeration=12.0,
            learning_rate=200.0,
            n_iter_without_progress=300,
            min_grad_norm=1e-7,
            metric="euclidean",
            init="random",
            method="barnes_hut",
            angle=0.5,
            random_state=seed,
            max_iter=1000,
        )
        with threadpool_limits(1, "openmp"):  # multithreaded sums differ from run to run, and so would the clusters
            return np.asarray(model.fit_transform(train), np.float64)

    return embed


def perplexity_of(rows: int) -> float:
    """30, or less if t-SNE would refuse it for so few rows."""
    return min(PERPLEXITY, (rows - 1) / 3)


def network(seed: int, remarks: list[str]) -> Learn:
    """scikit-learn's MLPClassifier with at most 500 epochs; adds a remark if it did not converge."""

    def learn(train: Floats, labels: Integers) -> Network:
        classes = np.unique(labels)
        if len(classes) == 1:
            return Network((), (), classes)
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model = MLPClassifier(max_iter=EPOCHS, random_state=seed).fit(train, labels)
        if any(issubclass(each.category, ConvergenceWarning) for each in caught):
            remarks.append(f"the classifier of clusters was still learning after {EPOCHS} epochs, as in the reference")
        return Network(tuple(model.coefs_), tuple(model.intercepts_), classes)

    return learn
