"""Training of temporal segmentation from the library: what a prediction depends on, resuming, refiners."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from acted import CLASSES, WIDTH, write_acted

from egotools.errors import TableError
from egotools.methods.segmentation.application import evaluate_segmentation
from egotools.methods.segmentation.items import Items, predicted
from egotools.methods.segmentation.network import Refining, SegmentationNetwork
from egotools.methods.segmentation.options import Applying, Data, Scoring, Training
from egotools.methods.segmentation.run import open_segmentation, train_segmentation
from egotools.methods.segmentation.slots import edges, frame_labels, segments_of
from egotools.methods.segmentation.training import new_head
from egotools.methods.two_stream.refiner import RefinerFacts, write_refiner
from egotools.nn.view_invariance import Refiner
from egotools.stores.opening import open_store
from egotools.stores.store import Recipe
from egotools.tables.sequences import UNLABELED, FeatureSequence, pooled, read_sequences
from egotools.training.how import How
from egotools.training.runs import Run

FAST = Training(width=8, epochs=3, batch_size=4, learning_rate=1e-2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_acted(tmp_path_factory.mktemp("acted"))


def train(data: Path, out: Path, config: Training = FAST, options: Data = Data(chunk=4), **more: Any) -> dict[str, Any]:  # noqa: B008
    content, _ = train_segmentation(
        out, data / "a.csv", data / "a.segments.csv", [data / "a.lmdb"], options, config, device="cpu", **more
    )
    return content


def write_run_of_refiner(folder: Path, *, width: int = WIDTH, **facts: Any) -> str:
    """A run of a pre-training, as far as it is read."""
    torch.manual_seed(1)
    told = RefinerFacts(width, 2, 4, 16, **facts)
    run = Run.begin(folder, Recipe({"method": "two-stream"}, {}))
    write_refiner(run, Refiner(width, told.layers, told.heads, told.feedforward, told.dropout), told)
    return f"run:{folder}"


def made_sequences(lengths: list[int]) -> list[FeatureSequence]:
    times = [np.stack([np.arange(n), np.arange(n) + 1.0], axis=1) for n in lengths]
    return [
        FeatureSequence(f"s{n}", f"s{n}", f"s{n}", "", "", 0, own, np.full(n, UNLABELED))
        for n, own in zip(lengths, times, strict=True)
    ]


def probabilities(network: SegmentationNetwork, lengths: list[int], batch_size: int) -> list[np.ndarray]:
    """What a network predicts for sequences of random features, each the same whatever the others are."""
    rng = {n: np.random.default_rng(n).normal(size=(n, WIDTH)).astype(np.float32) for n in lengths}
    sequences = made_sequences(lengths)
    found = Items.of(
        sequences, 1, classes=len(CLASSES), padding=network.padding, slots=1200, device=CPU, is_refined=lambda _: True
    )
    return predicted(network, found, lambda number, _: rng[len(sequences[number])], 1, batch_size)


def made_network(axis: Any, padding: Any = "trim") -> SegmentationNetwork:
    torch.manual_seed(2)
    refining = Refining(Refiner(WIDTH, 1, 4, 16), axis)
    network = SegmentationNetwork(new_head(WIDTH, len(CLASSES), 8, seed=3), refining, padding=padding)
    return network.eval()


@pytest.mark.parametrize("axis", ["none", "time"])
@pytest.mark.parametrize("padding", ["trim", "full"])
def test_a_prediction_does_not_depend_on_what_else_is_predicted(axis, padding):
    network, lengths = made_network(axis, padding), [500, 40, 390, 100, 41]
    together = probabilities(network, lengths, 64)
    alone = [probabilities(network, [length], 1)[0] for length in lengths]
    assert [len(each) for each in together] == lengths
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_with_attention_over_the_batch_it_does_as_published():
    network = made_network("batch")
    together, alone = probabilities(network, [400, 40], 64)[1], probabilities(network, [40], 64)[0]
    assert np.abs(together - alone).max() > 1e-5


def test_an_interrupted_training_ends_with_the_same_bits(data, tmp_path):
    init = write_run_of_refiner(tmp_path / "ssl", attention_axis="batch")
    config = replace(FAST, init=init, refiner_dropout=True)
    whole = train(data, tmp_path / "whole", config)

    def interrupting(stage: str, done: float, total: int, rows: int | None = None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "part", config, how=How(save_every=0), progress=interrupting)
    resumed = train(data, tmp_path / "part", config)
    assert resumed["last"] == whole["last"]
    assert resumed["best"] == whole["best"]
    for name in ("head.safetensors", "head.best.safetensors", "metrics.jsonl"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not [*(tmp_path / "part").glob("pooled*")]


def test_a_frozen_refiner_is_applied_once_to_each_item_where_that_is_the_same(data, tmp_path, monkeypatch):
    init = write_run_of_refiner(tmp_path / "ssl", attention_axis="none")
    calls = []
    real = Refining.alone
    monkeypatch.setattr(Refining, "alone", lambda self, values: calls.append(1) or real(self, values))
    kept = train(data, tmp_path / "kept", replace(FAST, init=init), Data(chunk=4, zoom=0))
    assert len(calls) == 8 + 4  # items of train and val, whatever the number of epochs
    monkeypatch.setattr(Refining, "is_of_slots", False)
    live = train(data, tmp_path / "live", replace(FAST, init=init), Data(chunk=4, zoom=0))
    assert len(calls) == 12
    assert kept["last"]["total"] == pytest.approx(live["last"]["total"])
    one, other = ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("kept", "live"))
    assert float(one[0].split('"loss": ')[1].split(",")[0]) == pytest.approx(
        float(other[0].split('"loss": ')[1].split(",")[0]), rel=1e-4
    )


def test_the_refiner_is_kept_as_it_was_and_in_no_checkpoint(data, tmp_path):
    init = write_run_of_refiner(tmp_path / "ssl", attention_axis="time")
    train(data, tmp_path / "run", replace(FAST, init=init, refiner_dropout=True))
    for name in ("refiner.safetensors", "refiner.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "ssl" / name).read_bytes()
    parts = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["parts"]
    assert all(name.startswith("head.") for name in parts["model"])
    trained = open_segmentation(tmp_path / "run")
    assert not trained.network.training
    assert not trained.network.mixes


def test_a_pretraining_by_distillation_refines_the_other_view_only(data, tmp_path):
    init = write_run_of_refiner(tmp_path / "ssl", attention_axis="none", objective="sync-kd", student="e1")
    train(data, tmp_path / "run", replace(FAST, init=init))
    train(data, tmp_path / "both", replace(FAST, init=init, refine_student=True))
    run, both = (open_segmentation(tmp_path / name) for name in ("run", "both"))
    assert (run.is_refined("v1"), run.is_refined("e1")) == (True, False)
    assert both.is_refined("e1")


@pytest.mark.parametrize(
    ("axis", "asked", "warns"), [("batch", None, False), ("batch", "none", True), ("none", None, False)]
)
def test_the_attention_of_the_pretraining_is_kept_or_its_change_is_said(data, tmp_path, axis, asked, warns):
    init = write_run_of_refiner(tmp_path / "ssl", attention_axis=axis)
    content = train(data, tmp_path / "run", replace(FAST, init=init, epochs=1, attention_axis=asked))
    assert any("--attention-axis" in remark for remark in content["remarks"]) == warns
    assert open_segmentation(tmp_path / "run").network.mixes == ((asked or axis) == "batch")


def test_a_bare_refiner_attends_to_single_slots_and_that_is_said(data, tmp_path):
    torch.manual_seed(0)
    tensors = {f"module.{name}": value for name, value in Refiner(32, 1, 32, 16).state_dict().items()}
    torch.save(tensors, tmp_path / "ssl_vic_epoch-250.pth")
    wide = write_acted(tmp_path / "wide", width=32)
    config = replace(FAST, init=str(tmp_path / "ssl_vic_epoch-250.pth"), epochs=1)
    content = train(wide, tmp_path / "run", config)
    assert any("trained with --attention-axis batch, and is used with none" in each for each in content["remarks"])
    with pytest.raises(TableError, match=r"refines features of width 32, the caches have 8"):
        train(data, tmp_path / "narrow", config)
    assert not (tmp_path / "narrow").exists()


def test_the_best_epoch_is_kept_beside_the_last(data, tmp_path):
    content = train(data, tmp_path / "run", replace(FAST, epochs=6, learning_rate=0.05))
    assert content["best"]["total"] >= content["last"]["total"]
    last, best = (open_segmentation(tmp_path / "run", weights=name).network for name in ("last", "best"))
    is_same = all(
        torch.equal(one, other)
        for one, other in zip(last.state_dict().values(), best.state_dict().values(), strict=True)
    )
    assert is_same == (content["best"]["epoch"] == content["last"]["epoch"])


def test_patience_ends_a_training_that_no_longer_gets_better(data, tmp_path):
    content = train(data, tmp_path / "run", replace(FAST, epochs=50, patience=1, learning_rate=1e-7))
    assert content["epochs"] < 50


def test_without_val_the_last_epoch_is_all_there_is(tmp_path):
    data = write_acted(tmp_path, splits=("train", "test"))
    content = train(data, tmp_path / "run")
    assert content["best"] is None
    assert any("nothing is validated" in remark for remark in content["remarks"])
    arguments = (data / "a.csv", data / "a.segments.csv", [], Applying(run=tmp_path / "run", weights="best"), Scoring())
    report, _, predictions = evaluate_segmentation(*arguments, device="cpu")
    assert any("its last epoch is evaluated" in remark for remark in report["remarks"])
    assert len(predictions) == 4


def test_probabilities_of_several_chunk_sizes_are_averaged_row_by_row():
    fine, coarse = np.eye(2)[[0, 1, 0, 1]], np.array([[0.9, 0.1], [0.4, 0.6]])
    assert frame_labels([(fine, 2)], 7).tolist() == [0, 0, 1, 1, 0, 0, 1]
    assert frame_labels([(fine * 0.6 + 0.2, 2), (coarse, 4)], 7).tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert len(frame_labels([(fine, 2)], 7, cut="slots")) == 8


def test_segments_end_where_rows_end_and_frames_come_back_exactly():
    frames = np.arange(7, 5000)
    times = np.stack([frames / 30, (frames + 1) / 30], axis=1)
    labels = np.random.default_rng(0).integers(0, 3, len(frames))
    found = segments_of(labels, times)
    starts, ends = (np.round(each * 30).astype(int) - 7 for each in (found.starts, found.ends))
    back = np.concatenate([np.full(e - s, label) for s, e, label in zip(starts, ends, found.labels, strict=True)])
    np.testing.assert_array_equal(back, labels)
    shifted = segments_of(labels, times, shift=1)
    np.testing.assert_array_equal(np.round(shifted.starts * 30), np.round(found.starts * 30) + 1)


def test_windows_that_overlap_meet_halfway():
    times = np.array([[0.0, 2.0], [0.5, 2.5], [1.0, 3.0]])
    np.testing.assert_allclose(edges(times), [0.75, 1.25, 1.75, 2.25])
    np.testing.assert_allclose(edges(times[:1]), [0.0, 2.0])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Training(width=7), "--width must be even"),
        (lambda: Training(attention_axis="time"), "--attention-axis is for a refiner"),
        (lambda: Training(epochs=0), "--epochs must be above 0"),
        (lambda: Data(zoom=2), "--zoom must be from 0 to 1"),
        (lambda: Applying(run=Path("r"), classes=Path("c")), "--classes is for --head"),
        (lambda: Applying(head=Path("h")), "--head needs --classes"),
        (lambda: Applying(chunks=(0,)), "--chunks must be above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_pooled_features_are_those_of_the_cache(data):
    found = read_sequences(data / "a.csv", [data / "a.lmdb"], data / "a.segments.csv").sequences
    assert {len(each) for each in found} == {80}
    assert pooled([open_store(data / "a.lmdb")], found[0], 80).shape == (1, WIDTH)
