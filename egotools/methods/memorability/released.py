"""Published weights on features: which columns they take, in which order, and how these are normalized."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from egotools.errors import WeightsError
from egotools.methods.memorability.options import Normalizing
from egotools.methods.memorability.published import Layout, in_our_order, made_with, published_layout, raw_features
from egotools.methods.memorability.task import layout_of, read_network
from egotools.nn.mlp import FIRST, ScoreMLP, score_mlp_of
from egotools.stores.opening import open_store
from egotools.tables.groups import RAW, SIMILARITY, Group, kind_of
from egotools.weights.pca import PICKLES

USUAL: dict[str, dict[str, object]] = {  # options of the features that the weights were trained on
    RAW: {"frames": 45},
    "hrnet": {"frames": 1},
    "csn": {"frames": 45, "architecture": "ip_csn_152"},
}


@dataclass(frozen=True, eq=False)
class Released:
    """A network of the columns that there are, in our order, and how these are to be normalized."""

    network: ScoreMLP
    normalizing: Normalizing
    remarks: tuple[str, ...]


def without_similarity(caches: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The caches that hold no similarity, and the names of those that do."""
    kinds = {path: kind_of(open_store(path)) for path in caches}
    kept = [path for path in caches if not kinds[path].startswith(SIMILARITY)]
    return kept, [path.stem for path in caches if path not in kept]


def fit_released(
    weights: str,
    groups: Sequence[Group],
    normalizing: Normalizing,
    *,
    zero_similarity: bool,
    raw_order: str | None = None,
) -> Released:
    """What a published checkpoint makes of feature groups.

    Args:
        weights: what `--weights` takes.
        groups: in the order of their columns.
        normalizing: what is asked for; by default the published constants, of the data that the width tells.
        zero_similarity: whether all columns beyond the groups' are 0: they are then taken out of the network.
        raw_order: of the raw features in the checkpoint, where it is another than the published runs'.

    Raises:
        WeightsError: no such weights, or of other columns: what is missing is named.
        TableError: another order of other features.
    """
    network = read_network(weights)
    width, columns = network.widths[0], groups[-1].stop
    published = published_layout(width)
    _check_fit(weights, width, groups, published, zero_similarity)
    tensors = in_our_order(network, groups, raw_order, source=weights).state_dict()
    tensors[FIRST] = tensors[FIRST][:, :columns]
    data_set = normalizing.reference or (published.data_set if published else None)
    chosen = replace(normalizing, norm=normalizing.norm or "reference", reference=data_set)
    remarks = []
    if columns < width:
        remarks.append(
            f"all {width - columns} similarity columns of {weights} are taken as 0: of the clusters that they stand for"
            " nothing was released"
        )
    elif published and published.similarity and (own := [g.name for g in groups if "derivation" in g.identity]):
        remarks.append(
            f"{', '.join(own)}: clusters of another run mean nothing to published weights; --zero-similarity"
        )
    if published:
        remarks += _unusual(groups)
    if chosen.norm == "reference":
        remarks += _of_constants(weights, width, groups, published, normalizing)
    return Released(score_mlp_of(tensors, source=weights), chosen, tuple(remarks))


def _check_fit(
    weights: str, width: int, groups: Sequence[Group], published: Layout | None, zero_similarity: bool
) -> None:
    lacking = width - groups[-1].stop
    if lacking == 0 and not (zero_similarity and published and published.similarity):
        return
    hint, is_fitting = "", lacking > 0
    if published is not None:
        there = {group.kind: group.width for group in groups if group.tier != SIMILARITY}
        absent = [name for name in published.groups if name not in there]
        is_fitting = there == dict(published.groups) and lacking == published.similarity
        if absent:
            hint = f"; --features with {' and '.join(absent)} must be among them"
        elif not is_fitting:
            wanted = [f"{name} {count}" for name, count in published.groups.items()]
            hint = f"; they are {', '.join([*wanted, f'similarities {published.similarity}'])}"
    if is_fitting and not zero_similarity:
        hint = "; --zero-similarity takes what they lack as 0"
    if not is_fitting or not zero_similarity:
        raise WeightsError(f"{weights} takes {width} columns, and {layout_of(groups)}{hint}")


def _unusual(groups: Sequence[Group]) -> list[str]:
    """Features that were made otherwise than those which the weights were trained on."""
    found = []
    for group in groups:
        for name, usual in USUAL.get(group.kind, {}).items():
            if (value := made_with(group).get(name, usual)) != usual:
                found.append(f"{group.name} was made with {name}={value}; published weights know {usual}")
    return found


def _of_constants(
    weights: str, width: int, groups: Sequence[Group], published: Layout | None, asked: Normalizing
) -> list[str]:
    """What a person should know of the published constants that are taken."""
    raw = next((group for group in groups if group.kind == RAW), None)
    told = published.data_set if published else None
    if raw is None:
        return []
    remarks = []
    if told and asked.reference not in (None, told):
        remarks.append(f"{weights} has the width of {told}'s weights, and --reference {asked.reference} was given")
    if not told and asked.reference is None:
        remarks.append(
            f"{width} columns do not tell on which data {weights} was trained; m3s is normalized by the constants of"
            f" {asked.data_set} (--reference)"
        )
    place = raw.origin.get("weights")
    if published and "hog" in raw_features(raw) and isinstance(place, str) and not place.lower().endswith(PICKLES):
        remarks.append(f"hog went through {place}; published weights know the components of their own PCA (a .pickle)")
    return remarks
