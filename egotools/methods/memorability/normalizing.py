"""The normalization of a network's columns, fitted to the training clips or as published.

Axes: N clips, D columns of all groups together, or of one.
"""

from collections.abc import Sequence

import torch

from egotools.errors import TableError
from egotools.linear.standardize import Standardization, fit_standardization
from egotools.methods.memorability.options import Normalizing
from egotools.methods.memorability.published import (
    has_constants,
    other_definitions,
    raw_layout,
    reference_constants,
)
from egotools.methods.memorability.reference import DataSet
from egotools.tables.groups import RAW, SIMILARITY, Features, Group
from egotools.texts import named
from egotools.types import IntArray

NAMED = 5  # columns that a remark names


def normalization(features: Features, train: IntArray, config: Normalizing) -> tuple[Standardization, list[str]]:
    """The normalization that is asked for, by the training clips (their numbers), and remarks on empty columns.

    Raises:
        TableError: an unknown group to standardize; a group that is the same for all training clips; constants that the
            reference does not have.
    """
    names = [group.name for group in features.groups]
    if unknown := [name for name in config.standardize if name not in names]:
        raise TableError(f"--standardize {unknown[0]}: no such features; there are {', '.join(names)}")
    columns = features.groups[-1].stop
    mean, deviation = torch.zeros(columns, dtype=torch.float64), torch.ones(columns, dtype=torch.float64)
    remarks = []
    for group in features.groups:
        span = slice(group.start, group.stop)
        fitted = fit_standardization(torch.from_numpy(features.table.values[train, span]), torch.float64)
        constant = fitted.deviation.isinf().nonzero().flatten().tolist()
        if len(constant) == group.width and group.classes is None:
            raise TableError(
                f"{group.cache}: all {group.width} columns are the same for all {len(train)} training clips:"
                " they say nothing; leave that cache out"
            )
        source = _source(group, config)
        if len(constant) and group.classes is None:
            remarks.append(_constant(group, constant, are_zeros=source == "fit"))
        if source == "fit":
            mean[span], deviation[span] = fitted.mean, fitted.deviation
        elif source == "reference":
            mean[span], deviation[span] = map(torch.from_numpy, reference_constants(group, config.data_set))
    return Standardization(mean, deviation), remarks


def published_normalization(groups: Sequence[Group], data_set: DataSet) -> Standardization:
    """The published constants of features, of which there are no training clips here.

    Raises:
        TableError: there are none for what a group holds.
    """
    columns = groups[-1].stop
    mean, deviation = torch.zeros(columns, dtype=torch.float64), torch.ones(columns, dtype=torch.float64)
    for group in groups:
        if _source(group, Normalizing("reference")) == "reference":
            span = slice(group.start, group.stop)
            mean[span], deviation[span] = map(torch.from_numpy, reference_constants(group, data_set))
    return Standardization(mean, deviation)


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


def _constant(group: Group, columns: Sequence[int], *, are_zeros: bool) -> str:
    names = named([_name(group, column) for column in columns], NAMED)
    fate = "; they are taken as 0 for all clips" if are_zeros else ""
    return (
        f"{len(columns)} of {group.width} columns of {group.name} are constant over the training clips ({names}){fate}"
    )


def _name(group: Group, column: int) -> str:
    """A column as people know it: the raw feature, or its number from 0."""
    if group.kind == RAW:
        for part in raw_layout(group):
            if part.start <= column < part.stop:
                number = f" {column - part.start}" if part.stop - part.start > 1 else ""
                return f"{part.feature}{number}{' (deviation)' if part.statistic == 'deviation' else ''}"
    return f"column {column}"
