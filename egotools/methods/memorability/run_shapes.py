"""What the JSON files of a run of M3-S must be (`egotools.files.json_files`). Any: JSON values."""

from __future__ import annotations

from typing import Any, TypedDict

from egotools.stores.recipe_shape import RecipeShape
from egotools.tables.matching import Record


class GroupShape(RecipeShape):
    """A group of columns."""

    name: str
    cache: str
    start: int
    stop: int
    classes: int | None


class MemberShape(TypedDict):
    """One network."""

    fold: str
    seed: int
    last: dict[str, Any]
    best: dict[str, Any]


class FeaturesShape(TypedDict):
    """`features.json`."""

    groups: list[GroupShape]
    records: dict[str, Record]
    members: list[MemberShape]
    judged: dict[str, list[str]]


class IdentityShape(TypedDict):
    """Of `config.json`; the fields of the options' dataclasses are compared with their own types."""

    method: str
    target: str
    seed: int


class OriginShape(TypedDict, total=False):
    """Of `config.json`."""

    init: str | None
    folds: str | None


class ConfigShape(TypedDict):
    """`config.json`."""

    identity: IdentityShape
    origin: OriginShape


class EpochShape(TypedDict):
    """What an epoch was worth: null is not finite."""

    epoch: float
    spearman: float | None
    pearson: float | None
    kendall: float | None
    mse: float | None
    mae: float | None
    r2: float | None
    spearman_deviation_over_seeds: float | None
    spearman_deviation_over_folds: float | None


class _Arguments(TypedDict):
    target: str


class ReportShape(TypedDict):
    """`report.json`, as far as it is shown."""

    protocol: str
    remarks: list[str]
    arguments: _Arguments
    last: EpochShape
    best: EpochShape
