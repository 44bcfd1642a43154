"""Pre-training against recorded runs of the reference's own loop, and what each quirk changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import assembly
import fill
import numpy as np
import pytest
import torch
from torch import nn

from egotools.losses.view_invariance import invariance_weight
from egotools.methods.two_stream.options import REFERENCE, TwoStream
from egotools.methods.two_stream.training import (
    Batch,
    Items,
    TwoStreams,
    batch_of,
    batches,
    measure,
    optimizer_for,
    pretrain,
)
from egotools.stores import Recipe
from egotools.training.how import How
from egotools.training.runs import Run

COUNTS = (20, 13, 7)
CASES = {
    "view-invariance": "ssl_our_method_small",
    "simple-3d": "ssl_ablation_simple_3d_small",
    "sync-kd": "ssl_sync_kd_small",
}
CPU = torch.device("cpu")


def as_published(objective: Any, **options: Any) -> TwoStream:
    """The reference preset but for what the goldens were made with: one batch an epoch, no dropout, no zoom."""
    given = {name: value for name, value in REFERENCE.items() if name != "seed"}
    given |= {"chunk": 1, "slots": 20, "zoom": 0.0, "dropout": 0.0, "epochs": 3, **options}
    return TwoStream(objective, **given)


def recorded_items(counts: tuple[int, ...] = COUNTS) -> Items:
    """Ego and exo of three items; rows beyond the recorded counts are zeros."""
    views = [fill.input_of(name, 3, 20, 64).numpy() for name in ("src", "tgt")]
    for values in views:
        for item, count in enumerate(COUNTS):
            values[item, count:] = 0
    return Items(counts, lambda item, _: [values[item, : counts[item]] for values in views])


def filled(config: TwoStream) -> TwoStreams:
    """The networks with the recorded parameters, each by its own key names."""
    shapes, model = assembly.golden(CASES[config.objective])[0]["state_dict"], TwoStreams(64, config)
    model.refiner.load_state_dict(fill.state_dict(shapes.get("refiner", shapes)))
    if model.stream is not None:
        model.stream.load_state_dict(fill.state_dict(shapes["synth"]))
    return model


def parts(model: TwoStreams) -> dict[str, nn.Module]:
    return {"refiner": model.refiner} | ({} if model.stream is None else {"synth": model.stream})


@pytest.mark.parametrize("objective", CASES)
def test_three_epochs_are_those_of_the_reference(objective, tmp_path):
    config, arrays = as_published(objective), assembly.golden(CASES[objective])[1]
    model, run = filled(config), Run.begin(tmp_path / "run", Recipe({}))
    pretrain(model, recorded_items(), recorded_items(), config, seed=0, run=run)
    close = {"rtol": 2e-3, "atol": 1e-4}
    losses = ("reconstruction", "invariance") if model.stream else ("val_raw_distance", "distillation")
    lines = run.metrics()
    found = [[line[name] for name in losses] for line in lines]
    first = int(model.stream is None)  # that of the views as they are is over padded slots in the reference
    np.testing.assert_allclose(np.array(found)[:, first:], arrays["train_log"][:, first:], **close)
    validated = "val_reconstruction" if model.stream else "val_distillation"
    np.testing.assert_allclose([line[validated] for line in lines], arrays["test_return"], **close)
    for name, part in parts(model).items():
        after = [[each.mean(), each.std(), each.norm()] for each in (v.double() for v in part.state_dict().values())]
        np.testing.assert_allclose(after, arrays[f"params_after_{name}"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("objective", CASES)
def test_gradients_of_the_first_step_are_those_of_the_reference(objective):
    config, arrays = as_published(objective), assembly.golden(CASES[objective])[1]
    model, items = filled(config).train(), recorded_items()
    batch = batch_of([items.chunks(item, 1) for item in range(3)], config, 0, CPU)
    model(batch)["loss"].backward()
    for name, part in parts(model).items():
        norms = [each.grad.double().norm() for each in part.parameters() if each.grad is not None]
        np.testing.assert_allclose(norms, arrays[f"grad_l2_{name}"], rtol=2e-3, atol=1e-4)


def test_what_validation_prints_is_what_the_reference_prints():
    config, arrays = as_published("view-invariance"), assembly.golden("ssl_our_method_small")[1]
    figures = measure(filled(config), recorded_items((20, 20, 20)), config, epoch=0, how=How())
    assert figures["reconstruction"] == pytest.approx(arrays["test_loss_recon_initial"], rel=1e-4)
    assert figures["absolute"] == pytest.approx(arrays["test_loss_invar_l1_initial"], rel=1e-4)
    assert [invariance_weight(e) for e in arrays["lambda_epochs"].tolist()] == pytest.approx(arrays["lambda_values"])


# Options of ours, on small networks and drawn items.

SMALL = TwoStream(size="small", epochs=2, batch_size=2, chunk=2, slots=8, zoom=0.5, dropout=0.1, learning_rate=1e-3)


def drawn_items(views: int = 2, count: int = 5, width: int = 16) -> Items:
    random = np.random.default_rng(0)
    lengths = [int(each) for each in random.integers(6, 16, count)]
    rows = [[random.normal(size=(length, width)).astype(np.float32) for _ in range(views)] for length in lengths]

    def chunks(item: int, chunk: int) -> list[np.ndarray]:
        return [np.stack([part.max(0) for part in np.split(v, range(chunk, len(v), chunk))]) for v in rows[item]]

    return Items(lengths, chunks)


def model_of(config: TwoStream, seed: int = 0) -> TwoStreams:
    torch.manual_seed(seed)
    return TwoStreams(16, config)


def test_the_learning_rates_fall_by_steps_of_epochs_for_both_networks(tmp_path):
    config = replace(SMALL, epochs=3, batch_size=5, rate_step=2, learning_rate=1e-5, stream_rate=1e-6)
    groups = optimizer_for(model_of(config), config).param_groups
    assert [group["lr"] for group in groups] == [1e-5, 1e-6]
    run = Run.begin(tmp_path / "run", Recipe({}))
    pretrain(model_of(config), drawn_items(), drawn_items(), config, seed=0, run=run)
    assert [line["learning_rate"] for line in run.metrics()] == [1e-5, 1e-5, 5e-6]


def test_items_without_padding_have_the_losses_of_padded_ones_whose_padding_is_masked():
    items = drawn_items()
    joined, padded, kept = SMALL, replace(SMALL, trim_padding=False), replace(SMALL, mask_padding=False)
    assert (joined.joins_items, padded.joins_items, kept.joins_items) == (True, False, False)
    model = model_of(SMALL).eval()
    losses = {}
    for name, config in (("joined", joined), ("padded", padded), ("kept", kept)):
        model._config = config
        batch = batch_of([items.chunks(item, 2) for item in (0, 1, 2)], config, 0, CPU)
        losses[name] = model(batch)["loss"].item()
    assert losses["joined"] == pytest.approx(losses["padded"], rel=1e-5)
    assert losses["kept"] != pytest.approx(losses["padded"], rel=1e-3)


@pytest.mark.parametrize("axis", ["none", "time"])
def test_only_the_published_axis_lets_items_of_a_batch_change_each_other(axis):
    items = drawn_items()
    for chosen, alike in ((axis, True), ("batch", False)):
        config = replace(SMALL, attention_axis=chosen, trim_padding=False)
        model = model_of(config).eval()
        alone, together = (batch_of([items.chunks(i, 2) for i in which], config, 0, CPU) for which in ([0], [0, 1]))
        count = len(items.chunks(0, 2)[0])
        with torch.no_grad():
            one, two = (model.refined(batch)[0][0, :count] for batch in (alone, together))
        assert torch.allclose(one, two, atol=1e-6) == alike


def test_the_offset_of_the_views_is_in_training_only():
    model, items = model_of(replace(SMALL, dropout=0.0)), drawn_items()
    batch = batch_of([items.chunks(0, 2)], SMALL, 0, CPU)
    with torch.no_grad():
        training, validating = model.train()(batch), model.eval()(batch)
        model._config = replace(SMALL, view_offset=0.0)
        assert model.train()(batch)["reconstruction"] == validating["reconstruction"]
    assert training["reconstruction"] != validating["reconstruction"]
    assert training["invariance"] == validating["invariance"]


def test_both_views_get_the_same_zoom_and_chunks_and_every_epoch_another():
    items, config = drawn_items(), replace(SMALL, chunk=4)
    seen: list[tuple[int, int]] = []

    def chunks(item: int, chunk: int) -> list[np.ndarray]:
        seen.append((item, chunk))
        return list(items.chunks(item, chunk))

    found = [*batches(0, items=Items(items.lengths, chunks), config=config, seed=0, device=CPU)]
    assert [batch.epoch for batch in found] == [0] * 3 + [1] * 3
    assert all(batch.views.shape[:2] == (2, 1) for batch in found)
    assert {item for item, _ in seen[:5]} == {item for item, _ in seen[5:]} == set(range(5))
    assert seen[:5] != seen[5:]
    assert {chunk for _, chunk in seen} > {4}
    later = [*batches(4, items=items, config=config, seed=0, device=CPU)]
    assert all(torch.equal(one.views, other.views) for one, other in zip(found[4:], later, strict=True))


def test_a_third_view_is_drawn_in_pairs_or_adds_the_losses_of_all_pairs():
    items = drawn_items(views=3)
    config = replace(SMALL, third="v4", dropout=0.0, epochs=4, zoom=0.0)
    views = torch.from_numpy(np.stack(items.chunks(0, 2)))
    pairs = set()
    for batch in batches(
        0, items=Items([6], lambda *_: items.chunks(0, 2)), config=replace(config, epochs=40), seed=0, device=CPU
    ):
        pairs.add(tuple(next(at for at in range(3) if torch.equal(view[0], views[at])) for view in batch.views))
    assert pairs == {(0, 1), (0, 2), (1, 2)}
    model, every = model_of(config).train(), replace(config, triple="sum")
    batch = next(iter(batches(0, items=items, config=every, seed=0, device=CPU)))
    assert len(batch.views) == 3
    by_pair = [model(Batch(batch.views[[*pair]], None, 0))["loss"] for pair in sorted(pairs)]
    torch.testing.assert_close(model(batch)["loss"], sum(by_pair))
    torch.testing.assert_close(model.eval()(batch)["invariance"], model.train()(batch)["invariance"] / 3)


def test_an_interrupted_pretraining_ends_in_the_same_bits(tmp_path, monkeypatch):
    from egotools.training.checkpoint import Checkpoint

    items, val = drawn_items(), drawn_items(count=2)
    config = replace(SMALL, attention_axis="time", epochs=3)

    def trained(folder: Path) -> tuple[TwoStreams, Any]:
        model = model_of(config)
        run = Run.begin(folder, Recipe({}))
        return model, pretrain(model, items, val, config, seed=0, run=run, how=How(log_every=1))

    whole, figures = trained(tmp_path / "whole")
    log = Run.log

    def interrupted(self: Run, line: Any) -> None:
        log(self, line)
        if line["step"] == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "log", interrupted)
    monkeypatch.setattr(Checkpoint, "save_if_due", Checkpoint.save)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run")
    monkeypatch.undo()
    resumed, again = trained(tmp_path / "run")
    assert (again.before, again.last, again.best) == (figures.before, figures.last, figures.best)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "run")]
    assert lines[0] == lines[1]


def test_the_best_epoch_has_the_lowest_reconstruction(tmp_path):
    run, config = Run.begin(tmp_path / "run", Recipe({})), replace(SMALL, epochs=4, learning_rate=0.3)
    found = pretrain(model_of(config), drawn_items(), drawn_items(), config, seed=0, run=run)
    values = [line["val_reconstruction"] for line in run.metrics()]
    assert found.best["reconstruction"] == min(values)
    assert found.best["epoch"] == 1 + int(np.argmin(values))
    assert found.last["reconstruction"] == values[-1]


def test_figures_of_views_are_those_of_their_definition():
    items, model = drawn_items(), model_of(SMALL)
    figures = measure(model, items, SMALL, epoch=0, how=How())
    one, other = (np.concatenate([items.chunks(i, 2)[v] for i in range(5)]).astype(np.float64) for v in range(2))
    assert figures["raw_distance"] == pytest.approx(np.square(one - other).mean(), rel=1e-5)
    variance = (one.var(0).mean() + other.var(0).mean()) / 2
    assert figures["raw_variance"] == pytest.approx(variance, rel=1e-5)
    assert figures["raw_relative_distance"] == pytest.approx(np.square(one - other).mean() / (2 * variance), rel=1e-5)
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert figures["raw_cosine"] == pytest.approx(cosines.mean(), abs=1e-6)
    assert model.training


def test_bf16_trains_and_keeps_parameters_in_float32():
    model = model_of(SMALL)
    found = pretrain(model, drawn_items(), drawn_items(), SMALL, seed=0, how=How(precision="bf16"))
    assert np.isfinite(found.last["loss"])
    assert {value.dtype for value in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objective": "sync-kd", "third": "v4"}, "--third"),
        ({"student": "v3"}, "different views, not v3, v3"),
        ({"third": "e4"}, "different views"),
        ({"zoom": 1.5}, "--zoom"),
        ({"dropout": 1.0}, "--dropout"),
        ({"chunk": 0}, "--chunk"),
        ({"epochs": 0}, "--epochs"),
        ({"span_round": -1}, "--span-round"),
    ],
)
def test_options_that_make_no_sense_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        TwoStream(**options)
