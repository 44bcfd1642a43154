from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from egotools.errors import RunError, TableError
from egotools.evaluate.splits import Partition, hold_out
from egotools.linear.lbfgs import minimize
from egotools.linear.softmax import fit_path, fit_sgd, gradient, objective
from egotools.methods.probe.classifier import Classifier
from egotools.methods.probe.probe import Probe, apply, probe
from egotools.tables.table import Table


def make_table(rng: np.random.Generator, clips: int = 90, classes: int = 3, *, noise: float = 0.5) -> Table:
    """Clips whose label shows in their features; three clips a video."""
    labels = np.arange(clips) % classes
    values = np.eye(classes, 6, dtype=np.float32)[labels] + noise * rng.normal(size=(clips, 6)).astype(np.float32)
    videos = np.arange(clips) // (3 * classes) * classes + labels
    return Table(
        np.array([f"clip{number:03}" for number in range(clips)]),
        50 + 10 * values,
        np.zeros((clips, 2)),
        {"label": np.array(list("xyzuvw"))[labels], "video": np.char.add("v", videos.astype(str))},
        np.array([""] * clips),
    )


def with_split(table: Table, *names: str) -> Table:
    """The splits of the clips, in turn by threes so that each has all classes."""
    split = np.array(names)[np.arange(len(table)) // 3 % len(names)]
    return Table(table.ids, table.values, table.times, table.labels, split)


def sklearn_objective(c: float, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> tuple[float, LogisticRegression]:
    """What scikit-learn minimizes, per row and divided by C, at its own converged solution."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer = LogisticRegression(C=c, max_iter=5000, tol=1e-7).fit(x, y)
    loss = -peer.predict_log_proba(x)[np.arange(len(y)), y].mean()
    return loss + np.square(peer.coef_).sum() / (2 * c * len(y)), peer


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("c", [0.01, 1.0])
def test_the_minimum_is_that_of_scikit_learn(rng: np.random.Generator, c: float, half: bool) -> None:
    y = rng.integers(0, 4, 400)
    x = (rng.normal(size=(400, 20)) + rng.normal(size=(4, 20))[y]).astype(np.float32)
    best, peer = sklearn_objective(c, x.astype(np.float64), y)
    (fit,) = fit_path(torch.from_numpy(x), torch.from_numpy(y), 4, c=[c], half=half)
    assert best * (1 - 1e-6) <= fit.objective <= best * (1 + 1e-3)
    agreeing = np.mean(fit.logits(torch.from_numpy(x)).argmax(1).numpy() == peer.predict(x))
    assert agreeing >= 0.99


def test_a_grid_gives_what_single_fits_give_in_the_order_asked_for(rng: np.random.Generator) -> None:
    y = torch.from_numpy(rng.integers(0, 3, 200))
    x = torch.from_numpy(rng.normal(size=(200, 10)).astype(np.float32)) + y[:, None]
    grid = fit_path(x, y, 3, c=[1.0, 0.01, 0.1])
    assert [fit.c for fit in grid] == [1.0, 0.01, 0.1]
    for fit in grid:
        (alone,) = fit_path(x, y, 3, c=[fit.c])
        assert fit.objective == pytest.approx(alone.objective, rel=1e-4, abs=1e-5)


def test_the_gradient_is_that_of_the_objective(rng: np.random.Generator) -> None:
    x, y = torch.from_numpy(rng.normal(size=(30, 4))).float(), torch.from_numpy(rng.integers(0, 3, 30))
    point = torch.from_numpy(rng.normal(size=(3, 5))).float()
    weight = point.double().requires_grad_()
    loss = torch.nn.functional.cross_entropy(x.double() @ weight[:, :-1].T + weight[:, -1], y)
    total = loss + 0.15 * weight[:, :-1].square().sum()
    (expected,) = torch.autograd.grad(total, weight)
    torch.testing.assert_close(gradient(x, y, 0.3, point).double(), expected, rtol=1e-5, atol=1e-6)
    assert objective(x, y, 0.3, point) == pytest.approx(total.item(), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_minimizer_finds_the_bottom_of_a_long_valley_however_wrong_its_guess(scale: float) -> None:
    steepness = torch.logspace(-2, 2, 8, dtype=torch.float64)

    def slopes(point: torch.Tensor) -> torch.Tensor:  # of sum(steepness * (point - 1)^2 / 2 + (point - 1)^4)
        return steepness * (point - 1) + 4 * (point - 1) ** 3

    start = torch.full((8,), 3.0, dtype=torch.float64)
    found = minimize(slopes, start, guess=lambda g: scale * g, largest=1e-9, gap=1e-14, steps=200)
    torch.testing.assert_close(found.point, torch.ones_like(start), rtol=0, atol=1e-6)
    assert found.evaluations < 200


def test_a_good_guess_of_the_curvature_saves_steps(rng: np.random.Generator) -> None:
    turn = torch.linalg.qr(torch.from_numpy(rng.normal(size=(20, 20))))[0]
    curvature = turn @ torch.diag(torch.logspace(-3, 3, 20, dtype=torch.float64)) @ turn.T
    start = torch.ones(20, dtype=torch.float64)
    limits: dict[str, Any] = {"largest": 1e-6, "gap": 1e-10, "steps": 500}
    blind = minimize(lambda point: curvature @ point, start, guess=lambda g: g, **limits)
    seeing = minimize(lambda point: curvature @ point, start, guess=torch.linalg.inv(curvature).mv, **limits)
    assert seeing.evaluations < 5 < blind.evaluations


def test_features_that_repeat_each_other_or_never_change_are_no_obstacle(rng: np.random.Generator) -> None:
    y = rng.integers(0, 5, 500)
    base = (rng.normal(size=(500, 6)) + rng.normal(size=(5, 6))[y]).astype(np.float32)
    x = np.concatenate([base, base, base @ rng.normal(size=(6, 20)), np.zeros((500, 3))], axis=1).astype(np.float32)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-6)
    for c in (1e-3, 1.0, 1e3):
        best, _ = sklearn_objective(c, x.astype(np.float64), y)
        (fit,) = fit_path(torch.from_numpy(x), torch.from_numpy(y), 5, c=[c])
        assert fit.objective == pytest.approx(best, rel=1e-3)


def test_sgd_comes_near_the_minimum(rng: np.random.Generator) -> None:
    y = torch.from_numpy(rng.integers(0, 3, 600))
    x = torch.from_numpy(rng.normal(size=(600, 8)).astype(np.float32)) + torch.eye(3, 8)[y]
    (best,) = fit_path(x, y, 3, c=[1.0])
    found = fit_sgd(x, y, 3, c=1.0, generator=torch.Generator().manual_seed(0))
    assert best.objective <= found.objective < best.objective * 1.02


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(rng: np.random.Generator, solver: Any) -> None:
    table = make_table(rng, noise=1.0)
    config = Probe(c=(0.1, 1.0), solver=solver, seeds=2)
    first, again, other = (probe(table, "label", config, seed=seed) for seed in (0, 0, 1))
    assert first.figures == again.figures
    assert first.predictions.to_csv() == again.predictions.to_csv()
    assert first.predictions.to_csv() != other.predictions.to_csv()


def test_features_of_any_scale_are_told_apart(rng: np.random.Generator) -> None:
    table = make_table(rng, noise=0.1)
    result = probe(table, "label", Probe())
    assert result.figures["accuracy"] == 1.0
    assert result.figures["accuracy_deviation"] == 0.0
    assert result.figures["majority"] == pytest.approx(1 / 3, abs=0.05)


def test_labels_that_do_not_show_are_not_learned(rng: np.random.Generator) -> None:
    table = make_table(rng, 300)
    noise = Table(
        table.ids, rng.normal(size=(300, 40)).astype(np.float32), table.times, table.labels, table.split
    )  # fmt: skip
    assert probe(noise, "label", Probe(c=(0.01,))).figures["accuracy"] < 0.5


def test_without_a_split_whole_videos_are_held_out(rng: np.random.Generator) -> None:
    table = make_table(rng)
    result = probe(table, "label", Probe(c=(1.0,), seeds=1))
    assert result.figures["protocol"] == "25% held out, video kept whole"
    judged = set(result.predictions.rows.labels["video"].tolist())
    rest = set(table.labels["video"][~np.isin(table.ids, result.predictions.rows.ids)].tolist())
    assert judged
    assert not judged & rest


def test_labels_that_name_the_video_hold_out_clips(rng: np.random.Generator) -> None:
    result = probe(make_table(rng), "video", Probe(c=(1.0,), seeds=1))
    assert result.figures["protocol"] == "25% held out, clip kept whole"
    assert result.figures["rows"] == 30  # of three clips each, one


def test_train_is_learned_val_chooses_and_test_is_judged(rng: np.random.Generator) -> None:
    table = with_split(make_table(rng), "train", "val", "test")
    result = probe(table, "label", Probe(c=(1e-6, 0.1)))
    assert result.figures["seeds"] == 1  # nothing is random
    assert result.figures["rows"] == result.figures["train_rows"] == 30
    assert result.predictions.rows.split.tolist() == ["test"] * 30
    spoiled = table.values.copy()
    spoiled[table.split == "test"] = 0
    unseen = Table(table.ids, spoiled, table.times, table.labels, table.split)
    again = probe(unseen, "label", Probe(c=(1e-6, 0.1))).classifier
    assert torch.equal(again.weight, result.classifier.weight)  # test rows reach neither fit, choice nor statistics


def test_without_val_the_best_c_is_found_on_a_part_of_train(rng: np.random.Generator) -> None:
    table = with_split(make_table(rng, noise=0.3), "train", "test")
    labels = table.labels["label"].copy()
    result = probe(table, "label", Probe(c=(1e-9, 0.1), seeds=2))
    assert result.figures["seeds"] == 2
    assert {entry["c"] for entry in result.figures["by_seed"]} <= {1e-9, 0.1}
    assert result.figures["accuracy"] > 0.9
    assert labels.tolist() == table.labels["label"].tolist()


def test_a_class_that_train_lacks_is_named_and_counts_as_errors(rng: np.random.Generator) -> None:
    table = with_split(make_table(rng, noise=0.1), "train", "test")
    known = (table.split == "test") | (table.labels["label"] != "z")
    result = probe(table.only(known), "label", Probe(c=(1.0,)))
    assert result.figures["accuracy"] == pytest.approx(2 / 3, abs=0.02)
    assert result.remarks == (
        "20 of 30 evaluated videos are on both sides, which flatters features; --group video keeps them apart",
        "1 class not among the training rows: all of these rows count as errors: 'z'",
    )
    assert result.classifier.classes == ("x", "y")


def test_a_class_with_one_clip_is_learned_and_named(rng: np.random.Generator) -> None:
    table = make_table(rng)
    single = table.only((table.labels["label"] != "z") | (np.arange(len(table)) == 2))
    result = probe(single, "label", Probe(c=(1.0,)))
    assert result.remarks == ("1 class with too few clips for both training and evaluation: 'z'",)


def test_rows_that_cannot_be_divided_are_refused(rng: np.random.Generator) -> None:
    table = make_table(rng)
    with pytest.raises(TableError, match="nothing can be held out"):
        probe(table, "video", Probe(), partition=Partition(group="video"))
    with pytest.raises(TableError, match="choose from train"):
        probe(with_split(table, "train"), "label", Probe())
    one = with_split(table, "train", "test")
    with pytest.raises(TableError, match="all training rows are of one class"):
        probe(one.only((one.split == "test") | (one.labels["label"] == "x")), "label", Probe())


@pytest.mark.parametrize("clips", [9, 6])
def test_few_clips_or_groups_a_class_still_let_c_be_chosen(rng: np.random.Generator, clips: int) -> None:
    table = make_table(rng, clips)
    halves = replace(table, labels={**table.labels, "half": np.array([str(at % 6) for at in range(clips)])})
    result = probe(halves, "label", Probe(c=(0.01, 1.0, 100.0)), partition=Partition(group="half"))
    assert {entry["c"] for entry in result.figures["by_seed"]} <= {0.01, 1.0, 100.0}


@pytest.mark.parametrize("options", [{"c": ()}, {"c": (0.0,)}, {"seeds": 0}, {"held_out": 1.0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--"):
        Probe(**options)


def test_held_out_groups_are_whole_stratified_and_leave_every_class_to_learn(rng: np.random.Generator) -> None:
    groups = rng.integers(0, 60, 600)
    labels = groups % 5
    held = hold_out(labels, groups, share=0.25, generator=rng)
    assert not set(groups[held]) & set(groups[~held])
    for number in range(5):
        assert 0.2 < held[labels == number].mean() < 0.4  # to the next whole group of some ten rows
    mixed = rng.integers(0, 5, 600)  # every group has every class
    assert set(mixed[~hold_out(mixed, groups, share=0.25, generator=rng)]) == set(range(5))


def test_a_saved_classifier_predicts_the_same_on_other_rows(rng: np.random.Generator, tmp_path: Path) -> None:
    table = make_table(rng)
    result = probe(table, "label", Probe(c=(1.0,)))
    (tmp_path / "p.safetensors").write_bytes(result.classifier.to_bytes())
    loaded = Classifier.load(tmp_path / "p.safetensors")
    fresh = make_table(np.random.default_rng(5))
    before, after = apply(result.classifier, fresh, "label"), apply(loaded, fresh, "label")
    assert "train_rows" not in {name for entry in after.figures["classes"] for name in entry}  # they are not here
    assert before.predictions.to_csv() == after.predictions.to_csv()
    assert after.figures["accuracy"] > 0.8


def test_features_of_another_width_are_refused(rng: np.random.Generator) -> None:
    table = make_table(rng)
    classifier = probe(table, "label", Probe(c=(1.0,), seeds=1)).classifier
    narrow = Table(table.ids, table.values[:, :4], table.times, table.labels, table.split)
    with pytest.raises(TableError, match="fitted on 6 features a row, these have 4"):
        apply(classifier, narrow, "label")


def test_a_file_that_is_no_probe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(RunError, match="holds no fitted probe"):
        Classifier.load(tmp_path / "p.safetensors")
