"""The normalization of a network's columns, fitted to the training clips or as published.

Axes: N clips, D columns of all groups together, or of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from egotools.errors import TableError
from egotools.methods.memorability.options import Normalizing
from egotools.methods.memorability.published import (
    Floats,
    has_constants,
    other_definitions,
    raw_layout,
    reference_constants,
)
from egotools.methods.memorability.reference import DataSet
from egotools.tables.groups import RAW, SIMILARITY, Features, Group
from egotools.types import IntArray

FLOOR = 1e-12  # below, a deviation is none
ROUNDING = 1e-6  # of the mean: what float32 leaves of the deviation of equal numbers
NAMED = 5  # columns that a remark names


@dataclass(frozen=True, eq=False)
class Normalization:
    """(x - mean) / deviation of each column, both [D].

    What was constant over the training clips has an infinite deviation, so that it is 0 for all clips: the network has
    not learned what to make of any other value.
    """

    mean: Floats
    deviation: Floats

    def __call__(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[N, D] to the same."""
        columns = (self.mean != 0) | (self.deviation != 1)
        normalized = values.copy()
        normalized[:, columns] = (values[:, columns] - self.mean[columns]) / self.deviation[columns]
        return normalized


def normalization(features: Features, train: IntArray, config: Normalizing) -> tuple[Normalization, list[str]]:
    """The normalization that is asked for, by the training clips (their numbers), and remarks on empty columns.

    Raises:
        TableError: an unknown group to standardize; a group that is the same for all training clips; constants that the
            reference does not have.
    """
    names = [group.name for group in features.groups]
    if unknown := [name for name in config.standardize if name not in names]:
        raise TableError(f"--standardize {unknown[0]}: no such features; there are {', '.join(names)}")
    columns = features.groups[-1].stop
    mean, deviation = np.zeros(columns), np.ones(columns)
    remarks = []
    for group in features.groups:
        span = slice(group.start, group.stop)
        fitted = _fitted(features.table.values[train, span])
        constant = np.flatnonzero(np.isinf(fitted[1]))
        if len(constant) == group.width and group.classes is None:
            raise TableError(
                f"{group.cache}: all {group.width} columns are the same for all {len(train)} training clips:"
                " they say nothing; leave that cache out"
            )
        source = _source(group, config)
        if len(constant) and group.classes is None:
            remarks.append(_constant(group, constant, are_zeros=source == "fit"))
        if source == "fit":
            mean[span], deviation[span] = fitted
        elif source == "reference":
            mean[span], deviation[span] = reference_constants(group, config.data_set)
    return Normalization(mean, deviation), remarks


def published_normalization(groups: Sequence[Group], data_set: DataSet) -> Normalization:
    """The published constants of features, of which there are no training clips here.

    Raises:
        TableError: there are none for what a group holds.
    """
    mean, deviation = np.zeros(groups[-1].stop), np.ones(groups[-1].stop)
    for group in groups:
        if _source(group, Normalizing("reference")) == "reference":
            span = slice(group.start, group.stop)
            mean[span], deviation[span] = reference_constants(group, data_set)
    return Normalization(mean, deviation)


def doubts(groups: tuple[Group, ...], config: Normalizing) -> list[str]:
    """What is wrong with the normalization of a run that was trained before that was refused, in words."""
    if config.norm != "reference":
        return []
    found = [(group, " ".join(others)) for group in groups if (others := other_definitions(group))]
    return [
        f"{group.name} was made with {others} and normalized by published constants, which are of another definition;"
        " train it anew with --norm fit"
        for group, others in found
        if group.name not in config.standardize
    ]


def _source(group: Group, config: Normalizing) -> str:
    """Where mean and deviation of a group come from; raw features and measures of similarity are always normalized."""
    if group.name in config.standardize:
        return "fit"
    if group.kind != RAW and (group.tier != SIMILARITY or group.classes is not None):
        return "none"
    return "fit" if config.norm == "reference" and not has_constants(group) else config.norm or "fit"


def _fitted(values: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Mean and (population's) deviation [D] of rows [N, D]; the deviation of a constant column is infinite."""
    mean = values.mean(axis=0, dtype=np.float64)
    deviation = values.std(axis=0, dtype=np.float64)
    return mean, np.where(deviation <= np.maximum(FLOOR, ROUNDING * np.abs(mean)), np.inf, deviation)


def _constant(group: Group, columns: npt.NDArray[np.intp], *, are_zeros: bool) -> str:
    names = [_name(group, int(column)) for column in columns[:NAMED]]
    more = f" and {len(columns) - NAMED} more" if len(columns) > NAMED else ""
    fate = "; they are taken as 0 for all clips" if are_zeros else ""
    return (
        f"{len(columns)} of {group.width} columns of {group.name} are constant over the training clips"
        f" ({', '.join(names)}{more}){fate}"
    )


def _name(group: Group, column: int) -> str:
    """A column as people know it: the raw feature, or its number from 0."""
    if group.kind == RAW:
        for part in raw_layout(group):
            if part.start <= column < part.stop:
                number = f" {column - part.start}" if part.stop - part.start > 1 else ""
                return f"{part.feature}{number}{' (deviation)' if part.statistic == 'deviation' else ''}"
    return f"column {column}"
