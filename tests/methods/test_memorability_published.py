"""The published weights of M3-S: which columns, whose constants, which order, what is refused."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from published_scores import (
    CLIPS,
    IDS,
    WIDTHS,
    complaint,
    expected,
    group,
    invoke,
    judge,
    predicted,
    recipe,
    save_weights,
    shown,
    train,
    values_of,
    write_data,
)
from tabled import write_cache

from egotools.lowlevel.m3s_row import FEATURES
from egotools.methods.memorability.options import order_of
from egotools.methods.memorability.published import published_layout, raw_columns
from egotools.methods.memorability.reference import reference_normalization
from egotools.stores import Recipe


@pytest.fixture
def data(tmp_path, rng):
    return write_data(tmp_path, rng)


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
