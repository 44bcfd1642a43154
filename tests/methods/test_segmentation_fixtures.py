"""Head training and postprocessing against recorded outputs of the published code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import assembly
import fill
import numpy as np
import pytest
import torch

from egotools.methods.segmentation.network import Batch, Refining, SegmentationNetwork
from egotools.methods.segmentation.slots import frame_labels, segments_of
from egotools.metrics.segmentation import runs, scores
from egotools.nn.c2f_tcn import C2FTCN
from egotools.nn.view_invariance import Refiner
from egotools.stores import Recipe, Source, open_writer
from egotools.tables.sequences import FeatureSequence, Reading, items, pooled_labels, read_sequences
from egotools.training.fit import fit
from egotools.training.optimizers import optimizer_of
from egotools.types import Rows

COUNTS = torch.tensor([400, 333, 120, 37])
METRICS = ("edit", "mof", "f1@10", "f1@25", "f1@50")


def network_of(note: dict[str, Any]) -> SegmentationNetwork:
    made, shapes = note["constructor"], note["state_dict"]
    head = C2FTCN(made["feature_size"], made["num_class"])
    head.load_state_dict(fill.state_dict(shapes["head"]))
    if made["refiner"] is None:
        return SegmentationNetwork(head, padding="full")
    refiner = Refiner(64, dropout=0.0)
    refiner.load_state_dict(fill.state_dict(shapes["refiner"]))
    return SegmentationNetwork(head, Refining(refiner, "batch", has_dropout=True), padding="full")


@pytest.mark.parametrize(
    "case",
    [
        "our_method",
        *(pytest.param(case, marks=pytest.mark.slow) for case in ("baseline", "ablation", "sync_kd")),
    ],
)
def test_three_steps_of_training_are_those_of_the_published_code(case):
    note, arrays = assembly.golden(f"downstream_{case}_small")
    mask = torch.arange(400) < COUNTS[:, None]
    batch = Batch(
        fill.input_of("features", 4, 400, 64) * mask[:, :, None],
        torch.from_numpy(arrays["labels"].astype(np.int64)),
        mask,
        torch.ones(4, dtype=torch.bool),
    )
    network, made = network_of(note), note["constructor"]
    optimizer = optimizer_of(network, "adam", lr=made["lr"], weight_decay=made["weight_decay"])
    log = []

    class Logged(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
            found = network(batch)
            log.append([float(value.detach()) for value in found.values()])
            return found

    fit(Logged(), lambda _: iter([batch] * 3), optimizer, None, steps=3)
    found, recorded = np.array(log), arrays["train_log"]
    np.testing.assert_allclose(found[0, [0, 3]], recorded[0], rtol=1e-4)
    np.testing.assert_allclose(found[1:, 0], recorded[1:, 0], rtol=3e-2)
    np.testing.assert_allclose(found[1:, 3], recorded[1:, 1], atol=3e-2)
    np.testing.assert_allclose(found[0], arrays["train_printed"][0], atol=1e-3)
    if made["lr"] < 1e-2:  # beyond, rounding decides
        with torch.no_grad():
            last = network.probabilities(batch).numpy()[:, :, ::2]
        expected = arrays["final_ensemble__slice"]
        assert np.linalg.norm(last - expected) < 0.2 * np.linalg.norm(expected)
        state = network.head.state_dict()
        norms = [float(state[name].double().norm()) for name in note["state_dict"]["head"]]
        np.testing.assert_allclose(norms, arrays["final_state"][:, 0], rtol=0.02, atol=0.02)


def write_times(path: Path) -> Path:
    """All clips of the small data set, with rows that say nothing."""
    with open_writer(path, Recipe({"imported": {"content": "times"}})) as writer:
        for clip, (first, end) in assembly.made()["frames"].items():
            starts = np.arange(first - 1, end - 1) / assembly.FPS
            times = np.stack([starts, starts + 1 / assembly.FPS], axis=1)
            writer.append(clip, Rows(np.zeros((end - first, 1), np.float32), times))
            writer.finish(clip, Source(""))
        writer.commit()
    return path


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> list[FeatureSequence]:
    folder = tmp_path_factory.mktemp("assembly")
    manifest, segments = assembly.write_lists(folder)
    return read_sequences(
        manifest,
        [write_times(folder / "tsm.lmdb")],
        segments,
        classes=assembly.CLASSES,
        splits=["train"],
        reading=Reading(frame_shift=1, shared_span=True),
    ).sequences


def recorded_probabilities(
    case: str, sequence: FeatureSequence, slots: int, chunk: int, number: int | None
) -> np.ndarray:
    """The probabilities [K, C] of all items of a sequence that the case was recorded with."""
    name = f"{sequence.name}%{sequence.id.rpartition('/')[2]}" + ("" if number is None else f"@{number}")
    parts = []
    for item in items(sequence, slots * chunk):
        start = round(item.times[0, 0] * assembly.FPS) + 1
        logits = fill.normal(f"input/logits/{case}/{name}/{start}", (202, slots))
        labels = pooled_labels(item.labels, chunk, 202)
        logits[labels, np.arange(len(labels))] += 4
        parts.append(torch.from_numpy(logits).softmax(0).numpy().T[: len(labels)])
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("case", "slots", "chunks", "cut"),
    [
        ("val_max8", 8, (20,), "slots"),
        ("val_max1200", 1200, (20,), "slots"),
        ("test20_max8", 8, (20,), "rows"),
        ("testaug_max8", 8, (10, 17, 24), "rows"),
        ("testaug_max1200", 1200, (10, 17, 24), "rows"),
    ],
)
def test_slots_become_the_frames_and_figures_of_the_published_code(sequences, case, slots, chunks, cut):
    arrays = {name.removeprefix(f"{case}_"): value for name, value in assembly.golden("postprocess")[1].items()}
    found = {}
    for each in sequences:
        parts = [
            (recorded_probabilities(case, each, slots, chunk, None if cut == "slots" else number), chunk)
            for number, chunk in enumerate(chunks)
        ]
        labels = frame_labels(parts, len(each), cut=cut)[: len(each)]
        found[f"{each.name}_{each.id.rpartition('/')[2]}.txt"] = labels, each
    assert sorted(found) == arrays["files"].tolist()
    ordered = [found[name] for name in sorted(found)]
    np.testing.assert_array_equal(np.concatenate([labels for labels, _ in ordered]), arrays["pred"])
    np.testing.assert_array_equal(np.concatenate([each.labels for _, each in ordered]), arrays["gt"])
    in_rows = scores([(runs(labels), runs(each.labels)) for labels, each in ordered], average="corpus")
    in_seconds = scores(
        [(segments_of(labels, each.times), segments_of(each.labels, each.times)) for labels, each in ordered],
        average="corpus",
    )
    for figures in (in_rows, in_seconds):
        np.testing.assert_allclose([figures[name] for name in METRICS], arrays["metrics"], rtol=1e-9)
