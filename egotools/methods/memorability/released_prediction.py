"""Scores of new videos by published weights: the features that these take are computed straight from the files."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egotools.errors import EgotoolsError, WeightsError
from egotools.extraction.request import CacheRequest, Resources
from egotools.extractors.lookup import find_extractor
from egotools.lowlevel.m3s_row import HOG_COMPONENTS
from egotools.methods.memorability.normalizing import published_normalization
from egotools.methods.memorability.options import Normalizing, Sources
from egotools.methods.memorability.prediction import Prediction, scored
from egotools.methods.memorability.published import WIDTHS, Layout, published_layout
from egotools.methods.memorability.released import fit_released
from egotools.methods.memorability.task import Member, read_network
from egotools.methods.new_videos import extracted, stored_rows
from egotools.progress import Progress, no_progress
from egotools.stores.opening import open_store
from egotools.tables.groups import RAW, Group
from egotools.weights.pca import pca_path, read_pca
from egotools.weights.tensors import random_seed

CODE = "https://github.com/theodumont/modular-memorability"


def predict_released(
    weights: Path,
    videos: Sequence[Path],
    sources: Sources = Sources(),  # noqa: B008 - frozen
    *,
    resources: Resources = Resources(),  # noqa: B008 - frozen
    progress: Progress = no_progress,
) -> Prediction:
    """Computes the features that published weights take, in one decoding pass, and scores each video.

    Which features, and whose constants normalize them, follows from the number of columns. Similarities are 0, for the
    clusters were not released.

    Args:
        weights: a published checkpoint.
        videos: files.
        sources: where the weights of the feature networks are.
        resources: what this machine gives.
        progress: told of videos and rows.

    Raises:
        WeightsError: no such weights, of other columns than the reference's, or something that they need is missing:
            all of it is named, and where to fetch it.
    """
    place = str(weights)
    width = read_network(place).widths[0]
    layout = published_layout(width)
    if layout is None or not layout.groups:
        raise WeightsError(
            f"{place} takes {width} columns, which no weights of M3-S have (the released ones: 3635, 3482);"
            " a run of your own is given with --run"
        )
    data_set = sources.reference or layout.data_set
    with tempfile.TemporaryDirectory(prefix="egotools-") as temporary:
        wanted = wanted_of(layout, sources, Path(temporary), crop=data_set == "videomem")
        check_there(place, layout, sources, wanted)
        found = extracted(
            videos, wanted, lambda clips: [stored_rows(each.cache, clips) for each in wanted], resources, progress
        )
        if not found.videos:
            return Prediction((), found.failed, 1, found.remarks)
        groups = _groups(wanted)
    asked = Normalizing(reference=sources.reference)
    released = fit_released(place, groups, asked, zero_similarity=True, raw_order=sources.raw_order)
    normalization = published_normalization(groups, released.normalizing.data_set)
    member = Member("", 0, released.network, normalization, {}, {})
    remarks = (*_untrained(sources, layout), *released.remarks, *found.remarks)
    return Prediction(scored(found, found.columns, [member], resources), found.failed, 1, remarks)


def wanted_of(layout: Layout, sources: Sources, folder: Path, *, crop: bool) -> list[CacheRequest]:
    """The extractors of a layout's groups, in their order; of VideoMem the networks see the centre of a frame."""
    resize = {"resize": "256"} if crop else {}
    options: dict[str, dict[str, Any]] = {  # Any: values of fields
        RAW: {"pca": sources.pca, "deviations": layout.groups.get(RAW) == WIDTHS[RAW][1]},
        "hrnet": {"weights": sources.hrnet_weights, **resize},
        "csn": {"weights": sources.csn_weights, **resize},
    }
    found = {name: find_extractor(name) for name in layout.groups}
    return [CacheRequest(folder / f"{name}.lmdb", each.built(**options[name]), each) for name, each in found.items()]


def check_there(place: str, layout: Layout, sources: Sources, wanted: Sequence[CacheRequest]) -> None:
    """Refuses to begin without all that is needed.

    Raises:
        WeightsError: names everything that is missing, and where to fetch it.
    """
    missing = []
    if RAW in layout.groups and sources.pca is None:
        missing.append(f"hog: --pca FILE, the pca_hog.pickle of {layout.data_set or 'its data'} (pickle.tar of {CODE})")
    elif sources.pca is not None and (count := len(read_pca(pca_path(sources.pca)).components)) != HOG_COMPONENTS:
        missing.append(f"a PCA of hog with {HOG_COMPONENTS} components; {sources.pca} has {count}")
    for each in wanted:
        name, extractor = each.found.cache_name, each.extractor
        if name == RAW and sources.pca is None:
            continue
        try:
            extractor.weights_digest()  # type: ignore[union-attr]  # all three have one
        except EgotoolsError as error:
            option = "--pca" if name == RAW else f"--{name}-weights"
            missing.append(f"{name} ({option}): {error}")
    if missing:
        raise WeightsError(f"{place} cannot score videos yet, it needs {'; '.join(missing)}")


def _groups(wanted: Sequence[CacheRequest]) -> tuple[Group, ...]:
    groups, start = [], 0
    for each in wanted:
        store = open_store(each.cache)
        stop = start + store.width
        identity, origin = store.recipe.identity, store.recipe.origin
        groups.append(Group(each.found.cache_name, each.cache, start, stop, None, identity, origin))
        start = stop
    return tuple(groups)


def _untrained(sources: Sources, layout: Layout) -> list[str]:
    given = {"hrnet": sources.hrnet_weights, "csn": sources.csn_weights}
    return [
        f"{name}: {weights} is an untrained network, for trials only"
        for name, weights in given.items()
        if name in layout.groups and random_seed(weights) is not None
    ]
