"""Similarity of each clip to the training clips, from one cache of features. Axes: N clips, D features, K values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from egotools.config import check_positive, option
from egotools.derive.clusters import PERPLEXITY, columns_of, group, network, perplexity_of, tsne
from egotools.derive.fitted import Arrays, Learned, read_arrays, read_learned
from egotools.derive.measures import MEASURES, Floats, Network, Training
from egotools.errors import ManifestError, StoreError
from egotools.linear.pca import PCA, fit_pca
from egotools.manifests.table import column_of, read_manifest
from egotools.stores.copying import intact
from egotools.stores.pooling import mean, span
from egotools.stores.store import Store
from egotools.texts import alike, composed, split_name, tidy
from egotools.types import Clip, FloatArray, Rows

EPS = {"hrnet": 1.25, "csn": 0.9}  # DBSCAN's radius for the features of M3-S
SEPARATOR = ";"  # between the labels of one clip
NAMED = 3  # clips named in a remark


@dataclass(frozen=True)
class Similarity:
    """How similar each clip is to the training clips, as in M3-S: one row per clip.

    A clip is represented by the mean of its rows, projected to whitened principal components of the training clips.
    With dbscan its one value is the index of its cluster, -1 for none, which training turns into a one-hot vector. The
    fitted model is kept next to the cache, so that 'predict' can place new videos.
    """

    version: ClassVar[int] = 1
    naming: ClassVar[str] = "similarity-{input}"

    method: Literal[
        "dbscan",
        "kde",
        "cosine_mean",
        "cosine_threshold",
        "fractional_mean",
        "euclidean_to_prototypes_classes",
        "fractional_to_prototypes_classes",
    ] = option("dbscan", "Cluster, or the measure to compute.")
    manifest: Path | None = option(None, "CSV that lists the training clips.  [required]")  # noqa: RUF009 - frozen
    split: str = option("train", "Split of the training clips.")
    noise: Literal["last", "zero", "own"] = option(
        "last", "dbscan: clips of no cluster share the last one's column, have none, or have one of their own."
    )
    eps: float | None = option(None, "dbscan: neighborhood radius; by default 0.9 for csn, otherwise 1.25 (hrnet).")
    threshold: float = option(0.5, "cosine_threshold: minimum cosine of similar clips.")
    exponent: float = option(0.5, "fractional_*: power of the distance.")
    labels: str = option("action_labels", "*_to_prototypes_classes: manifest column, labels separated by ';'.")
    components: int = option(10, "Principal components.")
    seed: int = option(0, "Seed of t-SNE and of the classifier.")

    def __post_init__(self) -> None:
        if self.manifest is None:
            raise ValueError("--manifest is needed: it lists the training clips")
        check_positive(self, "eps", "exponent", "components")

    def learn(self, inputs: Mapping[str, Store]) -> Learned:
        """Fits the model on the one input; returns it, and the values of all clips.

        Raises:
            StoreError: too few training clips, or features that are not finite or vary too little.
            ManifestError: the manifest cannot be used.
        """
        ((name, store),) = inputs.items()
        remarks: list[str] = []
        clips = self._clips(store, remarks)
        ids = [*clips, *(id for id in store if composed(id) not in clips)]
        features, ids = _features(store, ids)
        train = np.array([id in clips and clips[id].split == split_name(self.split) for id in ids], bool)
        projection = self._projection(features[train], store, remarks)
        rows = _project(features, projection)
        if self.method == "dbscan":
            arrays, facts, values = self._clusters(rows, train, _eps(self.eps, name, store, remarks), remarks)
        else:
            arrays, facts, values = self._measures(rows, train, [clips[id] for id in ids if id in clips], remarks)
        kept = {"method": np.array(self.method), **projection, **arrays}
        facts = {"method": self.method, "training_clips": int(train.sum()), **facts}
        return Learned(_each(store, dict(zip(ids, values, strict=True))), kept, facts, tuple(remarks))

    def _clips(self, store: Store, remarks: list[str]) -> dict[str, Clip]:
        """The clips of the manifest with rows in the cache, training clips first."""
        assert self.manifest is not None  # checked by the constructor
        everything = [replace(clip, split=split_name(clip.split)) for clip in read_manifest(self.manifest)]
        remarks += alike({clip.split for clip in everything}, "splits")
        present = [clip for clip in everything if clip.id in store and len(store.stored(clip.id))]
        there = {clip.id for clip in present}
        if missing := [clip.id for clip in everything if clip.id not in there]:
            remarks.append(f"{len(missing)} clips of the manifest have no rows: {', '.join(missing[:NAMED])}")
        split = split_name(self.split)
        present.sort(key=lambda clip: clip.split != split)
        count = sum(clip.split == split for clip in present)
        if count < 2:
            raise StoreError(
                f"{store.path}: {count} clips of the split {self.split!r} of {self.manifest} have rows;"
                " at least 2 are needed"
            )
        return {clip.id: clip for clip in present}

    def _projection(self, train: Floats, store: Store, remarks: list[str]) -> dict[str, npt.NDArray[Any]]:
        """The principal components of the training clips; none if there are no more features than components."""
        count, width = train.shape
        if width <= self.components:
            return {}
        components = min(self.components, count - 1)
        if components < self.components:
            remarks.append(
                f"{components} principal components instead of {self.components}, for {count} training clips"
            )
        try:
            pca = fit_pca(train, components, whiten=True, solver="exact", fewer=True)
        except ValueError as error:
            raise StoreError(f"{store.path}: {count} training clips: {error} (--components)") from error
        if (found := len(pca.components)) < components:
            remarks.append(
                f"{found} principal components instead of {self.components}: the {count} training clips vary in no more"
                " directions"
            )
        return {"pca_mean": pca.mean, "pca_components": pca.components, "pca_variance": pca.explained_variance}

    def _clusters(
        self, rows: Floats, train: npt.NDArray[np.bool_], eps: float, remarks: list[str]
    ) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any], Floats]:
        count = int(train.sum())
        if (perplexity := perplexity_of(count)) < PERPLEXITY:
            remarks.append(f"perplexity {perplexity:.3g} instead of {PERPLEXITY:g}, for {count} training clips")
        learner = network(self.seed, remarks)
        found = group(rows[train], rows[~train], embed=tsne(self.seed), learn=learner, eps=eps, noise=self.noise)
        clusters = int(found.labels.max()) + 1
        if not clusters:
            remarks.append("no clusters were found; try a larger --eps")
        values = np.empty((len(rows), 1))
        values[np.concatenate([np.flatnonzero(train), np.flatnonzero(~train)]), 0] = found.index
        assert isinstance(found.classify, Network)  # fitted by `network`
        columns, _ = columns_of(found.classify.classes, clusters, self.noise)
        layers = zip(found.classify.weights, found.classify.biases, strict=True)
        arrays = {
            f"{kind}_{at}": each for at, pair in enumerate(layers) for kind, each in zip(KINDS, pair, strict=True)
        }
        noise = float((found.labels < 0).mean())
        facts = {"classes": found.width, "clusters": clusters, "noise_share": noise, "eps": eps}
        return {"columns": columns, **arrays}, facts, values

    def _measures(
        self, rows: Floats, train: npt.NDArray[np.bool_], clips: Sequence[Clip], remarks: list[str]
    ) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any], Floats]:
        measure = MEASURES[self.method]
        classes = self._classes(clips[: int(train.sum())]) if self.method.endswith("classes") else []
        remarks += alike(set().union(*classes), "labels")
        training = Training(rows[train], rows[: len(clips)], classes, self.threshold, self.exponent)
        arrays = measure.keep(training, remarks)
        names = {"names": arrays["names"].tolist()} if "names" in arrays else {}
        return arrays, names, measure.values(rows, arrays)

    def _classes(self, clips: Sequence[Clip]) -> list[set[str]]:
        texts = column_of(clips, self.labels)
        classes = [{tidy(label) for label in text.split(SEPARATOR)} - {""} for text in texts]
        if not any(classes):
            raise ManifestError(f"{self.manifest}: no training clip has a label in the column {self.labels!r}")
        return classes


KINDS = ("weight", "bias")


def assign(learned: Path | Arrays, features: FloatArray) -> npt.NDArray[np.float32]:
    """The values of a similarity cache for new clips.

    Args:
        learned: a cache of `egotools derive similarity`, the file of arrays next to it, or those arrays.
        features: [N, D], one row per clip, like the rows of the cache's input (their mean, if several).

    Returns:
        [N, K]; for dbscan the index of the cluster's column [N, 1], -1 for none.

    Raises:
        StoreError: the arrays cannot be read.
        ValueError: the features have another width.
    """
    if isinstance(learned, Path):
        learned = read_arrays(learned) if learned.suffix == ".npz" else read_learned(learned)
    rows = _project(features.astype(np.float64), learned)
    method = str(learned["method"])
    if method != "dbscan":
        return MEASURES[method].values(rows, learned).astype(np.float32)
    layers = [[learned[f"{kind}_{at}"] for at in range(len(learned)) if f"{kind}_{at}" in learned] for kind in KINDS]
    classify = Network(tuple(layers[0]), tuple(layers[1]), learned["columns"])
    return classify(rows).astype(np.float32)[:, np.newaxis]


def _project(features: Floats, learned: Arrays) -> Floats:
    """[N, D] to coordinates [N, C]; unchanged if there is no projection."""
    if "pca_mean" not in learned:
        return features
    pca = PCA(learned["pca_mean"], learned["pca_components"], learned["pca_variance"])
    return pca.project(features, np.float64)


def _features(store: Store, ids: Sequence[str]) -> tuple[Floats, list[str]]:
    """The mean row [D] of each clip with rows, and the ids of these clips."""
    clips = ((id, intact(store, id)) for id in ids)
    means = {id: mean(clip) for id, clip in clips if len(clip)}
    features = np.array(list(means.values()), np.float64)
    broken = [id for id, row in means.items() if not np.isfinite(row).all()]
    if broken:
        raise StoreError(
            f"{store.path}: {len(broken)} clips with NaN or infinite features, such as {broken[0]!r};"
            " extract these again, or remove them from the manifest"
        )
    return features, list(means)


def _eps(given: float | None, name: str, store: Store, remarks: list[str]) -> float:
    """The radius that M3-S uses for these features, unless one is given."""
    if given is not None:
        return given
    known = f"{store.recipe.identity.get('extractor', '')} {name}"
    for features, eps in EPS.items():
        if features in known:
            return eps
    remarks.append(f"--eps {EPS['hrnet']} is the value for hrnet; other features may need another one")
    return EPS["hrnet"]


def _each(store: Store, values: Mapping[str, Floats]) -> Iterator[tuple[str, Rows]]:
    """Every clip of a cache with its single float32 row; without a row if it had none."""
    width = len(next(iter(values.values())))
    for id in store:
        own = id if id in values else composed(id)
        if own in values:
            yield id, Rows(values[own][np.newaxis].astype(np.float32), span(store.stored(id).times))
        else:
            yield id, Rows(np.empty((0, width), np.float32), np.empty((0, 2)))
