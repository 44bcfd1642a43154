"""The published constants and weights of M3-S: which columns, whose constants, which order, what is refused."""

from __future__ import annotations

import csv
import json
from itertools import product

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from egotools.cli.main import root
from safetensors.numpy import load_file
from tabled import write_cache, write_table

from egotools.errors import TableError
from egotools.linear.standardize import Standardization
from egotools.lowlevel.m3s_row import FEATURES
from egotools.methods.memorability.normalizing import doubts, normalization
from egotools.methods.memorability.options import Normalizing, order_of
from egotools.methods.memorability.published import published_layout, raw_columns, reference_constants
from egotools.methods.memorability.reference import reference_normalization
from egotools.metrics.regression import js_divergence, kl_divergence
from egotools.nn.mlp import ScoreMLP
from egotools.stores import Recipe
from egotools.tables.groups import Features, Group
from egotools.tables.table import Table, read_table

CLIPS = 40
IDS = [f"clip/{number}" for number in range(CLIPS)]
SPLITS = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
WIDTHS = {"m3s": 15, "hrnet": 720, "csn": 2048}


def invoke(*words):
    return CliRunner().invoke(root, [str(word) for word in words])


def shown(*words):
    """The JSON that a command prints."""
    result = invoke(*words, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def complaint(*words):
    """The one line of an error."""
    result = invoke(*words)
    assert result.exit_code == 1, result.output
    assert type(result.exception).__module__ == "egotools.errors", result.exception
    assert "\n" not in str(result.exception)
    return str(result.exception)


def recipe(name, **options):
    return Recipe({"extractor": name, "options": options})


def similarity(method, **options):
    return Recipe({"derivation": "similarity", "options": {"method": method, **options}, "inputs": {"csn": "0"}})


@pytest.fixture
def data(tmp_path, rng):
    """A manifest with scores, and caches of the published widths."""
    write_table(tmp_path / "m.csv", IDS, {"memorability": rng.random(CLIPS).round(4)}, SPLITS)
    for name, width in WIDTHS.items():
        scale = 50.0 if name == "m3s" else 1.0
        write_cache(tmp_path / f"{name}.lmdb", IDS, scale * rng.random((CLIPS, width)), recipe(name))
    write_cache(tmp_path / "more/m3s.lmdb", IDS, 50 * rng.random((CLIPS, 28)), recipe("m3s", deviations=True))
    return tmp_path


def save_weights(path, width):
    """A checkpoint of that many columns whose scores differ from clip to clip; the network."""
    torch.manual_seed(0)
    network = ScoreMLP(width, (4,))
    torch.save(network.state_dict(), path)
    return network


def judge(data, weights, *names, more=()):
    caches = [word for name in names for word in ("--features", data / f"{name}.lmdb")]
    line = ["eval", "memorability", "--weights", data / weights, "--manifest", data / "m.csv", "--draws", 5]
    return [*line, *caches, *more]


def train(data, *names, more=(), out="run"):
    caches = [word for name in names for word in ("--features", data / f"{name}.lmdb")]
    line = ["train", "memorability", "--manifest", data / "m.csv", "--hidden", 4, "--epochs", 1]
    return [*line, *caches, *more, "--out", data / out]


def predicted(folder):
    rows = csv.DictReader((folder / "predictions.csv").read_text().splitlines())
    return [float(row["predicted"]) for row in rows]


def expected(network, *parts):
    """Scores of the columns that the network is to see."""
    with torch.no_grad():
        return network(torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))).squeeze(1).numpy()


def values_of(data, name):
    return read_table(data / "m.csv", [data / f"{name}.lmdb"], split="test").values.astype(np.float64)


def group(name="m3s", width=15, classes=None, kind="m3s", **options):
    from pathlib import Path

    identity = recipe(kind, **options) if kind == "m3s" else similarity(kind, **options)
    return Group(name, Path(f"{name}.lmdb"), 0, width, classes, identity.identity, {})


def table_of(values):
    count = len(values)
    ids = np.array([str(number) for number in range(count)])
    return Table(ids, values.astype(np.float32), np.zeros((count, 2)), {}, np.full(count, "train"))


def test_every_width_of_the_reference_says_its_groups_and_no_two_are_alike():
    seen = set()
    for raw, hrnet, csn, clusters in product((0, 15, 28), (0, 720), (0, 2048), (0, 852, 699)):
        width = raw + hrnet + csn + clusters
        assert width not in seen
        seen.add(width)
        found = published_layout(width)
        names = {"m3s": raw, "hrnet": hrnet, "csn": csn}
        assert found.groups == {name: count for name, count in names.items() if count}
        assert found.similarity == clusters
        assert found.data_set == {852: "memento10k", 699: "videomem", 0: None}[clusters]
    assert published_layout(26) is None


@pytest.mark.parametrize(("clusters", "data_set"), [(852, "memento10k"), (699, "videomem")])
def test_the_width_of_published_weights_says_whose_constants_they_need(data, clusters, data_set):
    network = save_weights(data / "w.tar", 2783 + clusters)
    report = shown(*judge(data, "w.tar", *WIDTHS, more=("--zero-similarity", "--out", data / "out")))
    mean, deviation = reference_normalization(data_set)
    raw = (values_of(data, "m3s") - mean) / deviation
    wanted = expected(network, raw, values_of(data, "hrnet"), values_of(data, "csn"), np.zeros((8, clusters)))
    np.testing.assert_allclose(predicted(data / "out"), wanted, atol=2e-6)
    assert np.ptp(wanted) > 1e-3
    assert {name: report["arguments"][name] for name in ("norm", "reference", "standardize")} == {
        "norm": "reference",
        "reference": data_set,
        "standardize": [],
    }
    assert any(f"all {clusters} similarity columns" in remark for remark in report["remarks"])


def test_constants_that_are_asked_for_are_taken_and_the_remark_says_what_the_width_tells(data):
    network = save_weights(data / "w.tar", 2783 + 699)
    more = ("--zero-similarity", "--reference", "lamem", "--out", data / "out")
    report = shown(*judge(data, "w.tar", *WIDTHS, more=more))
    mean, deviation = reference_normalization("lamem")
    raw = (values_of(data, "m3s") - mean) / deviation
    wanted = expected(network, raw, values_of(data, "hrnet"), values_of(data, "csn"), np.zeros((8, 699)))
    np.testing.assert_allclose(predicted(data / "out"), wanted, atol=2e-6)
    assert report["arguments"]["reference"] == "lamem"
    assert any("the width of videomem's weights, and --reference lamem" in remark for remark in report["remarks"])


def test_a_width_that_tells_nothing_is_remarked(data):
    save_weights(data / "w.tar", 2783)
    report = shown(*judge(data, "w.tar", *WIDTHS))
    assert report["arguments"]["reference"] == "memento10k"
    assert any("2783 columns do not tell" in remark for remark in report["remarks"])


@pytest.mark.parametrize("name", ["similarity-hrnet", "clusters"])
def test_similarities_of_ones_own_are_left_out_with_zeros_in_all_their_columns(data, name):
    network = save_weights(data / "w.tar", 3635)
    own = Recipe({"derivation": "similarity"}, {"learned": {"classes": 434}})
    write_cache(data / f"{name}.lmdb", IDS[:-1], np.arange(CLIPS - 1)[:, None], own)  # one clip has none
    more = ("--zero-similarity", "--out", data / "out")
    report = shown(*judge(data, "w.tar", *WIDTHS, name, more=more))
    mean, deviation = reference_normalization("memento10k")
    raw = (values_of(data, "m3s") - mean) / deviation
    wanted = expected(network, raw, values_of(data, "hrnet"), values_of(data, "csn"), np.zeros((8, 852)))
    np.testing.assert_allclose(predicted(data / "out"), wanted, atol=2e-6)
    assert any(f"{name}: left out" in remark for remark in report["remarks"])


def test_similarities_of_another_run_without_zeros_are_remarked(data):
    save_weights(data / "w.tar", 15 + 852)
    for name, classes in (("similarity-hrnet", 434), ("similarity-csn", 418)):
        cache = Recipe({"derivation": "similarity"}, {"learned": {"classes": classes}})
        write_cache(data / f"{name}.lmdb", IDS, np.arange(CLIPS)[:, None], cache)
    report = shown(*judge(data, "w.tar", "m3s", "similarity-hrnet", "similarity-csn"))
    assert any("clusters of another run mean nothing" in remark for remark in report["remarks"])
    assert "similarities only" in complaint(*judge(data, "w.tar", "similarity-csn", more=("--zero-similarity",)))


def test_columns_that_would_stand_beside_their_weights_are_refused(data, rng):
    save_weights(data / "w.tar", 3635)
    zero = ("--zero-similarity",)
    error = complaint(*judge(data, "w.tar", "more/m3s", "hrnet", "csn", more=zero))
    assert "the features have 2796: m3s 28, hrnet 720, csn 2048; they are m3s 15, hrnet 720" in error
    for width in (5, 852):  # the latter would stand in the similarities' place
        write_cache(data / f"own{width}.lmdb", IDS, rng.random((CLIPS, width)))
        error = complaint(*judge(data, "w.tar", *WIDTHS, f"own{width}", more=zero))
        assert f"own{width} {width}; they are m3s 15" in error


def test_features_that_were_made_otherwise_than_those_of_the_weights_are_remarked(data, rng):
    save_weights(data / "w.tar", 720 + 852)
    write_cache(data / "other/hrnet.lmdb", IDS, rng.random((CLIPS, 720)), recipe("hrnet", frames=5))
    report = shown(*judge(data, "w.tar", "other/hrnet", more=("--zero-similarity",)))
    assert "hrnet was made with frames=5; published weights know 1" in report["remarks"]


def test_weights_with_deviations_take_their_constants(data):
    network = save_weights(data / "w.tar", 28 + 699)
    shown(*judge(data, "w.tar", "more/m3s", more=("--zero-similarity", "--out", data / "out")))
    mean, deviation = reference_normalization("videomem", deviations=True)
    wanted = expected(network, (values_of(data, "more/m3s") - mean) / deviation, np.zeros((8, 699)))
    np.testing.assert_allclose(predicted(data / "out"), wanted, atol=2e-6)


@pytest.mark.parametrize("order", ["default", "hog,brightness,contrast,blurriness,size_orig,meanOF"])
def test_weights_of_the_references_default_order_see_their_columns_in_that_order(data, order):
    network = save_weights(data / "w.tar", 15 + 852)
    more = ("--zero-similarity", "--raw-order", order, "--out", data / "out")
    shown(*judge(data, "w.tar", "m3s", more=more))
    mean, deviation = reference_normalization("memento10k")
    raw = (values_of(data, "m3s") - mean) / deviation  # hog brightness contrast meanOF blurriness size_orig
    raw = raw[:, [*range(12), 13, 14, 12]]
    np.testing.assert_allclose(predicted(data / "out"), expected(network, raw, np.zeros((8, 852))), atol=2e-6)
    published = invoke(*judge(data, "w.tar", "m3s", more=("--zero-similarity", "--raw-order", "published")))
    assert published.exit_code == 0
    assert published.stdout != invoke(*judge(data, "w.tar", "m3s", more=more)).stdout


def test_an_order_with_deviations_moves_each_with_its_mean():
    columns = raw_columns(group(width=28, deviations=True), order_of("default"))
    assert columns.tolist() == [*range(24), 27, 24, 25, 26]  # meanOF last, blurriness before size_orig
    assert raw_columns(group(width=28, deviations=True), FEATURES).tolist() == list(range(28))


def test_an_order_of_other_features_is_one_line(data):
    save_weights(data / "w.tar", 15 + 852)
    more = ("--zero-similarity", "--raw-order", "hog,brightness")
    assert "--raw-order is hog, brightness: it must name the same" in complaint(*judge(data, "w.tar", "m3s", more=more))
    for words in (("--raw-order", "sharpness"), ("--raw-order", "hog,hog")):
        assert invoke(*judge(data, "w.tar", "m3s", more=words)).exit_code == 2
    line = ["eval", "memorability", "--run", data / "run", "--manifest", data / "m.csv", "--raw-order", "default"]
    assert "--raw-order is for --weights" in invoke(*line).output


def test_a_training_that_begins_with_published_weights_takes_their_order_and_constants(data, rng):
    network = save_weights(data / "w.tar", 15 + 699)
    cache = Recipe({"derivation": "similarity"}, {"learned": {"classes": 699}})
    write_cache(data / "similarity-csn.lmdb", IDS, np.arange(CLIPS)[:, None], cache)
    more = ("--init", data / "w.tar", "--raw-order", "default", "--norm", "reference", "--learning-rate", 1e-12)
    report = shown(*train(data, "m3s", "similarity-csn", more=more))
    assert report["arguments"]["reference"] == "videomem"
    line = ["eval", "memorability", "--run", data / "run", "--manifest", data / "m.csv", "--draws", 5]
    shown(*line, "--out", data / "out")
    mean, deviation = reference_normalization("videomem")
    raw = ((values_of(data, "m3s") - mean) / deviation)[:, [*range(12), 13, 14, 12]]
    np.testing.assert_allclose(predicted(data / "out"), expected(network, raw, np.eye(CLIPS, 699)[32:]), atol=1e-5)
    result = invoke(*train(data, "m3s", more=("--raw-order", "default"), out="x"))
    assert "--raw-order is for --init" in result.output


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
