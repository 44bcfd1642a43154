"""What the published weights of M3-S take: which columns, and by which constants these are normalized.

Axes: D columns of a group.

Source:
    M3-S, DOI 10.1109/CVPR52729.2023.01035, the configuration of its code. The constants of raw features are in
    `rawfeatures.normalization`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from egotools.errors import TableError
from egotools.lowlevel.m3s_row import FEATURES, HOG_COMPONENTS, Part, layout
from egotools.methods.memorability.options import order_of
from egotools.methods.memorability.reference import DataSet, reference_normalization
from egotools.nn.mlp import FIRST, ScoreMLP, score_mlp_of
from egotools.tables.groups import RAW, Group

Floats = npt.NDArray[np.float64]

WIDTHS = {RAW: (15, 28), "hrnet": (720,), "csn": (2048,)}  # columns of each group, in the order of the weights
CLUSTERS: dict[int, DataSet] = {852: "memento10k", 699: "videomem"}  # columns of the similarities, and of which data
COMPONENTS, EXPONENT = 10, 0.5  # with which similarities were measured
# Mean and deviation by method, of HRNet's features and of CSN's. LaMem's are commented out in the reference's code.
SIMILARITIES: dict[DataSet, dict[str, dict[str, tuple[float, float]]]] = {
    "memento10k": {
        "kde": {"hrnet": (14.13289021, 0.82832219), "csn": (13.63923493, 0.98586239)},
        "cosine_mean": {"hrnet": (-0.0013218, 0.31010361), "csn": (0.00517577, 0.30699529)},
        "cosine_threshold0.4": {"hrnet": (0.11885661, 0.01205031), "csn": (0.1211845, 0.01935108)},
        "cosine_threshold0.5": {"hrnet": (0.07275114, 0.01228284), "csn": (0.08137358, 0.0165468)},
        "cosine_threshold0.7": {"hrnet": (0.01857217, 0.00867206), "csn": (0.02951553, 0.01397899)},
        "fractional_mean": {"hrnet": (69.89534288, 16.76528599), "csn": (68.8305914, 20.12121926)},
    },
    "videomem": {},  # clusters only
    "lamem": {
        "kde": {"hrnet": (13.80319794, 1.02861296), "csn": (19.65490083, 0.7906878)},
        "cosine_mean": {"hrnet": (0.0050153, 0.31809763), "csn": (0.02998678, 0.31463383)},
        "cosine_threshold0.4": {"hrnet": (0.11902919, 0.01178971), "csn": (0.13627782, 0.0382218)},
        "cosine_threshold0.5": {"hrnet": (0.07281225, 0.01277754), "csn": (0.08305019, 0.0288385)},
        "cosine_threshold0.7": {"hrnet": (0.01887391, 0.01056589), "csn": (0.01965894, 0.0118553)},
        "fractional_mean": {"hrnet": (69.89468558, 18.0173414), "csn": (61.35022618, 38.17735851)},
    },
}
# Options of m3s that change what a feature is: its constants go with this value only.
DEFINITIONS = {"brightness": "row0", "contrast": "gray"}


@dataclass(frozen=True)
class Layout:
    """The columns that weights of the reference take: of each group, and of the similarities together (0: none)."""

    groups: Mapping[str, int]
    similarity: int

    @property
    def data_set(self) -> DataSet | None:
        """Whose clusters these are, and so whose constants the weights need; None where no width tells."""
        return CLUSTERS.get(self.similarity)


def published_layout(width: int) -> Layout | None:
    """The layout of weights that take so many columns; None for those of no training of the reference.

    >>> published_layout(3482)
    Layout(groups={'m3s': 15, 'hrnet': 720, 'csn': 2048}, similarity=699)
    """
    for *columns, similarity in product(*((0, *widths) for widths in WIDTHS.values()), (0, *CLUSTERS)):
        if sum(columns) + similarity == width:
            return Layout({name: count for name, count in zip(WIDTHS, columns, strict=True) if count}, similarity)
    return None


def reference_constants(group: Group, data_set: DataSet) -> tuple[Floats, Floats]:
    """Mean and deviation [D] of the reference, of raw features or of a measure of similarity.

    Raises:
        TableError: it has none for what the group holds.
    """
    return _raw_constants(group, data_set) if group.kind == RAW else _similarity_constants(group, data_set)


def has_constants(group: Group) -> bool:
    """Whether the reference would have had constants for such a group: for distances to prototypes it has none."""
    return not _method(group).endswith("classes")


def other_definitions(group: Group) -> list[str]:
    """The options of raw features by which these are not what the reference's constants and weights are of."""
    options = made_with(group)
    return [
        f"--{name} {options[name]}"
        for name, usual in DEFINITIONS.items()
        if group.kind == RAW and name in raw_features(group) and options.get(name, usual) != usual
    ]


def raw_features(group: Group) -> tuple[str, ...]:
    """The raw features that a group holds."""
    only = made_with(group).get("only")
    return tuple(map(str, only)) if isinstance(only, (list, tuple)) and only else FEATURES


def raw_layout(group: Group) -> list[Part]:
    """Which columns of a group of raw features are whose; hog has as many as its PCA has components.

    Empty where the group has other columns than its recipe says.
    """
    features, deviations = raw_features(group), has_deviations(group)
    if not set(features) <= set(FEATURES) or len(set(features)) < len(features):
        return []
    others = layout(features, deviations=deviations)[-1].stop - HOG_COMPONENTS * (1 + deviations) * ("hog" in features)
    components = (group.width - others) // (1 + deviations) if "hog" in features else 0
    parts = layout(features, deviations=deviations, hog_components=components)
    return parts if parts[-1].stop == group.width and components >= 0 else []


def has_deviations(group: Group) -> bool:
    """Whether raw features stand with their deviations over time."""
    return bool(made_with(group).get("deviations", group.width == sum(WIDTHS[RAW][1:])))


def made_with(group: Group) -> Mapping[str, Any]:  # Any: JSON values
    """The options by which a group's recipe says it was made; none of what was imported."""
    options = group.identity.get("options")
    return options if isinstance(options, Mapping) else {}


def _method(group: Group) -> str:
    return str(made_with(group).get("method", ""))


def _raw_constants(group: Group, data_set: DataSet) -> tuple[Floats, Floats]:
    if others := other_definitions(group):
        raise TableError(
            f"{group.cache} was made with {' '.join(others)}; the published constants and weights are of the"
            " usual definitions: extract it without that, or normalize by the training clips (--norm fit)"
        )
    try:
        mean, deviation = reference_normalization(data_set, raw_features(group), deviations=has_deviations(group))
    except ValueError as error:
        raise TableError(f"{group.cache}: {error}; normalize by the training clips (--norm fit)") from error
    if len(mean) != group.width:
        raise TableError(f"{group.cache}: {group.width} columns, the reference has constants for {len(mean)}")
    return mean, deviation


def _similarity_constants(group: Group, data_set: DataSet) -> tuple[Floats, Floats]:
    options, method = made_with(group), _method(group)
    name = f"{method}{options.get('threshold', '')}" if method == "cosine_threshold" else method
    names = " ".join([group.name, *group.identity.get("inputs", ())])
    features = next((each for each in ("hrnet", "csn") if each in names), "other features")
    is_usual = (options.get("components", COMPONENTS), options.get("exponent", EXPONENT)) == (COMPONENTS, EXPONENT)
    known = SIMILARITIES[data_set].get(name, {})
    if features not in known or group.width != 1 or not is_usual:
        raise TableError(
            f"{group.cache}: there are no published constants of {data_set} for {name or 'this similarity'} of"
            f" {features}{'' if is_usual else ' with other --components or --exponent'};"
            " normalize by the training clips (--norm fit)"
        )
    mean, deviation = known[features]
    return np.array([mean]), np.array([deviation])


def in_our_order(network: ScoreMLP, groups: Sequence[Group], raw_order: str | None, *, source: str) -> ScoreMLP:
    """A network of a checkpoint, its columns of raw features as ours stand.

    Raises:
        TableError: the order names other features than the groups have.
    """
    raw = next((group for group in groups if group.kind == RAW), None)
    if raw_order is None or raw is None:
        return network
    tensors = network.state_dict()
    columns = torch.arange(network.widths[0])
    columns[raw.start : raw.stop] = raw.start + torch.from_numpy(raw_columns(raw, order_of(raw_order)))
    return score_mlp_of({**tensors, FIRST: tensors[FIRST][:, columns]}, source=source)


def raw_columns(group: Group, order: Sequence[str]) -> npt.NDArray[np.int64]:
    """Where each column [D] of a group of raw features stands among columns in another order of the features.

    Raises:
        TableError: the order names other features than the group has.
    """
    parts = raw_layout(group)
    if sorted(order) != sorted({part.feature for part in parts}):
        raise TableError(
            f"{group.cache} has {', '.join(dict.fromkeys(part.feature for part in parts)) or f'{group.width} columns'};"
            f" --raw-order is {', '.join(order)}: it must name the same"
        )
    begin, at = {}, 0
    for feature in order:
        begin[feature] = at
        at += sum(part.stop - part.start for part in parts if part.feature == feature)
    first = {part.feature: part.start for part in reversed(parts)}
    columns = [np.arange(part.start, part.stop) - first[part.feature] + begin[part.feature] for part in parts]
    return np.concatenate(columns)
