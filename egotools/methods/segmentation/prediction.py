"""What a network predicts for whole sequences. Axes: K slots, C classes, T rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from egotools.manifests.segments import Segment
from egotools.methods.segmentation.items import Asks, Items, every, predicted
from egotools.methods.segmentation.network import SegmentationNetwork
from egotools.methods.segmentation.predictions import Prediction
from egotools.methods.segmentation.slots import frame_labels, segments_of
from egotools.progress import Progress, no_progress
from egotools.stores.opening import open_store
from egotools.tables.sequences import FeatureSequence, pooled
from egotools.types import FloatArray


@dataclass(frozen=True)
class Slots:
    """How sequences become slots in prediction."""

    chunks: tuple[int, ...]  # rows of a slot; of several the probabilities are averaged
    slots: int
    batch_size: int
    frame_shift: int = 0


@torch.no_grad()
def predict_sequences(
    network: SegmentationNetwork,
    sequences: Sequence[FeatureSequence],
    caches: Sequence[Path],
    classes: Sequence[str],
    how: Slots,
    *,
    device: torch.device,
    is_refined: Asks = every,
    progress: Progress = no_progress,
) -> list[Prediction]:
    """Predicts whole sequences, each as if it were alone unless the network mixes the items of a batch.

    Args:
        network: on the device.
        sequences: with rows in the caches.
        caches: of the features.
        classes: their names, by number.
        how: sizes of chunks and batches.
        device: where the network is.
        is_refined: which views the refiner changes.
        progress: of sizes of chunks.
    """
    stores = [open_store(path) for path in caches]
    parts: list[list[tuple[FloatArray, int]]] = [[] for _ in sequences]
    for done, chunk in enumerate(how.chunks):
        progress("predicting", done, len(how.chunks))
        found = Items.of(
            sequences,
            chunk,
            classes=len(classes),
            padding=network.padding,
            slots=how.slots,
            device=device,
            is_refined=is_refined,
        )

        def read(number: int, chunk: int, found: Items = found) -> npt.NDArray[np.float32]:
            return pooled(stores, found.parts[number], chunk)

        for into, values in zip(parts, predicted(network, found, read, chunk, how.batch_size), strict=True):
            into.append((values, chunk))
    return [_prediction(each, values, classes, how) for each, values in zip(sequences, parts, strict=True)]


def _prediction(
    sequence: FeatureSequence, parts: Sequence[tuple[FloatArray, int]], classes: Sequence[str], how: Slots
) -> Prediction:
    found = segments_of(frame_labels(parts, len(sequence)), sequence.times, shift=how.frame_shift)
    columns = (found.labels.tolist(), found.starts.tolist(), found.ends.tolist())
    segments = tuple(
        Segment(sequence.id, start, end, classes[label], sequence.name)
        for label, start, end in zip(*columns, strict=True)
    )
    return Prediction(sequence.name, sequence.id, sequence.recording, sequence.view, segments)
