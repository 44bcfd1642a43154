"""The published constants of M3-S, and columns that are constant."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from published_scores import (
    CLIPS,
    IDS,
    SPLITS,
    complaint,
    group,
    judge,
    predicted,
    recipe,
    save_weights,
    shown,
    similarity,
    table_of,
    train,
    write_data,
)
from safetensors.numpy import load_file
from tabled import write_cache, write_table

from egotools.errors import TableError
from egotools.linear.standardize import Standardization
from egotools.lowlevel.m3s_row import FEATURES
from egotools.methods.memorability.normalizing import doubts, normalization
from egotools.methods.memorability.options import Normalizing, order_of
from egotools.methods.memorability.published import raw_columns, reference_constants
from egotools.metrics.regression import js_divergence, kl_divergence
from egotools.stores import Recipe
from egotools.tables.groups import Features, Group


@pytest.fixture
def data(tmp_path, rng):
    return write_data(tmp_path, rng)


SIMILARITIES = [
    ("memento10k", "kde", {}, "hrnet", 14.13289021, 0.82832219),
    ("memento10k", "kde", {}, "csn", 13.63923493, 0.98586239),
    ("memento10k", "cosine_mean", {}, "hrnet", -0.0013218, 0.31010361),
    ("memento10k", "cosine_threshold", {"threshold": 0.4}, "csn", 0.1211845, 0.01935108),
    ("memento10k", "cosine_threshold", {"threshold": 0.5}, "hrnet", 0.07275114, 0.01228284),
    ("memento10k", "cosine_threshold", {"threshold": 0.7}, "hrnet", 0.01857217, 0.00867206),
    ("memento10k", "fractional_mean", {"exponent": 0.5}, "csn", 68.8305914, 20.12121926),
    ("lamem", "kde", {}, "csn", 19.65490083, 0.7906878),
    ("lamem", "cosine_mean", {}, "csn", 0.02998678, 0.31463383),
    ("lamem", "cosine_threshold", {"threshold": 0.7}, "csn", 0.01965894, 0.0118553),
    ("lamem", "fractional_mean", {"exponent": 0.5}, "hrnet", 69.89468558, 18.0173414),
]


@pytest.mark.parametrize(("data_set", "method", "options", "features", "mean", "deviation"), SIMILARITIES)
def test_measures_of_similarity_have_the_references_constants(data_set, method, options, features, mean, deviation):
    identity = {**similarity(method, **options).identity, "inputs": {features: "0"}}
    made = group("similarity", 1, kind=method)
    found = reference_constants(Group("any", made.cache, 0, 1, None, identity, {}), data_set)
    assert (found[0].tolist(), found[1].tolist()) == ([mean], [deviation])


def test_training_by_published_constants_takes_those_of_similarities_too(data, rng):
    write_cache(data / "density.lmdb", IDS, 10 + rng.random((CLIPS, 1)), similarity("kde", components=10))
    shown(*train(data, "m3s", "density", more=("--norm", "reference")))
    kept = load_file(data / "run/normalization.safetensors")
    assert kept["mean"][15:].tolist() == [13.63923493]
    assert kept["deviation"][15:].tolist() == [0.98586239]
    config = json.loads((data / "run/config.json").read_text())
    assert config["origin"]["normalization"] == {"norm": "reference", "reference": "memento10k", "standardize": []}
    assert shown(*train(data, "m3s", out="fit"))["arguments"]["norm"] == "fit"


@pytest.mark.parametrize(
    ("made", "more", "said"),
    [
        (similarity("kde"), ("--reference", "videomem"), "no published constants of videomem for kde of csn"),
        (similarity("cosine_threshold", threshold=0.6), (), "cosine_threshold0.6 of csn"),
        (similarity("fractional_mean", exponent=1.0), (), "with other --components or --exponent"),
        (similarity("kde", components=5), (), "with other --components or --exponent"),
        (Recipe({"imported": {"x": "y"}}), (), "for this similarity of csn"),
    ],
)
def test_similarities_without_published_constants_are_one_line(data, rng, made, more, said):
    write_cache(data / "similarity-csn.lmdb", IDS, rng.random((CLIPS, 1)), made)
    error = complaint(*train(data, "m3s", "similarity-csn", more=("--norm", "reference", *more)))
    assert said in error
    assert "--norm fit" in error
    assert not (data / "run").exists()


def test_distances_to_prototypes_are_fitted_since_the_reference_has_no_constants_of_them(data, rng):
    values = 3 + 5 * rng.random((CLIPS, 4))
    write_cache(data / "similarity-csn.lmdb", IDS, values, similarity("euclidean_to_prototypes_classes"))
    shown(*train(data, "m3s", "similarity-csn", more=("--norm", "reference")))
    kept = load_file(data / "run/normalization.safetensors")
    np.testing.assert_allclose(kept["mean"][15:], values[:24].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(kept["deviation"][15:], values[:24].std(axis=0), rtol=1e-6)


def test_lamem_has_no_constants_of_deviations_and_says_so_in_one_line(data):
    more = ("--norm", "reference", "--reference", "lamem")
    error = complaint(*train(data, "more/m3s", more=more))
    assert "lamem: there are no constants for deviations over time; normalize by the training clips" in error
    save_weights(data / "w.tar", 28)
    assert "no constants for deviations" in complaint(*judge(data, "w.tar", "more/m3s", more=("--reference", "lamem")))
    shown(*train(data, "m3s", more=more))


@pytest.mark.parametrize("option", ["brightness", "contrast"])
def test_other_definitions_have_no_published_constants(data, rng, option):
    write_cache(data / "other/m3s.lmdb", IDS, 50 * rng.random((CLIPS, 15)), recipe("m3s", **{option: "value"}))
    error = complaint(*train(data, "other/m3s", more=("--norm", "reference")))
    assert f"was made with --{option} value" in error
    assert "--norm fit" in error
    save_weights(data / "w.tar", 15 + 852)
    assert f"--{option} value" in complaint(*judge(data, "w.tar", "other/m3s", more=("--zero-similarity",)))
    shown(*train(data, "other/m3s"))
    others = tuple(name for name in FEATURES if name != option)
    left_out = recipe("m3s", **{option: "value", "only": list(others)})
    write_cache(data / "without/m3s.lmdb", IDS, 50 * rng.random((CLIPS, 14)), left_out)
    shown(*train(data, "without/m3s", more=("--norm", "reference"), out="fewer"))


def test_a_run_that_was_trained_with_constants_of_other_definitions_is_doubted():
    old = (group(brightness="value"),)
    assert "brightness value" in doubts(old, Normalizing(norm="reference"))[0]
    assert doubts(old, Normalizing()) == doubts((group(),), Normalizing(norm="reference")) == []


def test_a_column_that_is_constant_over_the_training_clips_is_0_for_all_and_named(data, rng):
    values = 50 * rng.random((CLIPS, 15))
    values[:24, 12] = 7.0  # meanOF
    values[24:, 12] = 3000.0
    write_cache(data / "flat/m3s.lmdb", IDS, values, recipe("m3s"))
    report = shown(*train(data, "flat/m3s"))
    remark = next(each for each in report["remarks"] if "constant" in each)
    assert remark == (
        "1 of 15 columns of m3s are constant over the training clips (meanOF); they are taken as 0 for all clips"
    )
    line = ["eval", "memorability", "--run", data / "run", "--manifest", data / "m.csv", "--draws", 5]
    shown(*line, "--out", data / "out")
    before = predicted(data / "out")
    values[24:, 12] = -5.0
    write_cache(data / "again/m3s.lmdb", IDS, values, recipe("m3s"))
    shown(*line, "--features", data / "again/m3s.lmdb", "--out", data / "out")
    assert predicted(data / "out") == before
    assert np.ptp(before) > 0


def test_constant_columns_become_0_whatever_the_group_and_the_value(rng):
    values = rng.random((6, 4))
    values[:, 1], values[:4, 3] = 0.1, 0.0
    values[4:, 3] = 9.0
    features = Features(table_of(values), (group("own", 4, kind="kde"),))
    fitted, remarks = normalization(features, np.arange(4), Normalizing(standardize=("own",)))
    found = fitted(torch.from_numpy(values.astype(np.float32))).numpy()
    assert not found[:, [1, 3]].any()
    assert np.isfinite(found).all()
    assert "2 of 4 columns of own" in remarks[0]
    assert "(column 1, column 3); they are taken as 0" in remarks[0]


def test_the_columns_of_a_shorter_pca_of_hog_keep_their_names(rng):
    values = rng.random((4, 9))  # 4 components, then the other five
    values[:, [2, 6]] = 1.0
    _, remarks = normalization(Features(table_of(values), (group(width=9),)), np.arange(4), Normalizing())
    assert "2 of 9 columns of m3s are constant over the training clips (hog 2, meanOF)" in remarks[0]
    assert raw_columns(group(width=9), order_of("default")).tolist() == [*range(6), 8, 6, 7]
    assert raw_columns(group(width=16, deviations=True), FEATURES).tolist() == list(range(16))


@pytest.mark.parametrize("only", [["sharpness"], ["contrast", "contrast"], "contrast", 7])
def test_raw_features_of_a_strange_recipe_are_columns_by_number_and_have_no_constants(rng, only):
    values = rng.random((4, 3))
    values[:, 2] = 1.0
    odd = group(width=3, only=only)
    _, remarks = normalization(Features(table_of(values), (odd,)), np.arange(4), Normalizing())
    assert "(column 2)" in remarks[0]
    with pytest.raises(TableError, match="m3s"):
        reference_constants(odd, "memento10k")


@pytest.mark.parametrize("kind", ["ridge", "svr"])
def test_columns_that_are_constant_are_nothing_to_baselines_and_named(data, rng, kind):
    values = rng.random((CLIPS, 3))
    values[:24, 1], values[24:, 1] = 0.25, 1e6
    write_cache(data / "own.lmdb", IDS, values)
    line = ["eval", "memorability", "--baseline", kind, "--manifest", data / "m.csv", "--draws", 5]
    found = shown(*line, "--features", data / "own.lmdb")
    assert any("1 of 3 columns of own" in remark and "(column 1)" in remark for remark in found["remarks"])
    values[24:, 1] = 0.25
    write_cache(data / "flat/own.lmdb", IDS, values)
    assert shown(*line, "--features", data / "flat/own.lmdb")["mse"] == found["mse"]


def test_a_normalization_of_before_gives_what_it_gave():
    kept = Standardization(torch.tensor([7.0, 0.0]).double(), torch.tensor([1.0, 1.0]).double())
    assert kept(torch.tensor([[9.0, 2.0]])).tolist() == [[2.0, 2.0]]


def test_divergences_of_scores_of_0_are_their_limits():
    target, guess = np.array([0.0, 0.5]), np.array([0.25, 0.5])
    assert kl_divergence(target, guess) == np.inf
    assert kl_divergence(guess, target) == pytest.approx(0.0)  # 0 * ln 0 is 0
    assert kl_divergence(np.zeros(2), np.zeros(2)) == 0
    middle = 0.125
    assert js_divergence(target, guess) == pytest.approx(0.25 * np.log(0.25 / middle) / 2)


def test_a_score_of_exactly_0_is_remarked(data, rng):
    scores = [0.0 if number in (25, 33) else 0.5 + number / 100 for number in range(CLIPS)]
    write_table(data / "m.csv", IDS, {"memorability": scores}, SPLITS)
    report = shown(*train(data, "m3s"))
    assert any("kl is infinite, since 1 of 8 evaluated clips has a score of 0" in each for each in report["remarks"])
    assert report["last"]["js"] > 0
    line = ["eval", "memorability", "--run", data / "run", "--manifest", data / "m.csv", "--draws", 5]
    judged = shown(*line)
    assert any("kl is infinite, since 1 of 8" in each for each in judged["remarks"])
    assert np.isfinite(judged["spearman"])
