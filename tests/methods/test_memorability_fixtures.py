"""M3-S from caches to scores against recorded outputs of the reference, and what it records of other inputs."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import fill
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from egotools.cli.main import root
from score_networks import CASES, features, shapes
from tabled import write_cache, write_table

from egotools.linear.pca import PCA, fit_pca
from egotools.losses.soft_rank import soft_rank
from egotools.lowlevel.blurriness import blurriness
from egotools.lowlevel.color import brightness, contrast
from egotools.lowlevel.hog import hog
from egotools.lowlevel.m3s_row import clip_row
from egotools.methods.memorability.normalizing import normalization, published_normalization
from egotools.methods.memorability.options import Normalizing
from egotools.methods.memorability.reference import reference_normalization
from egotools.nn.mlp import score_mlp_of
from egotools.stores import Recipe
from egotools.tables.groups import read_features

GOLDENS = fill.DATA / "memorability"
OF_BYTES = 20 * math.log(255)  # of blurriness, between bytes and numbers from 0 to 1


def golden(case, folder=GOLDENS):
    with np.load(folder / f"{case}.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def clip64():
    """What sixteen recorded frames of a clip give, and the reference's rows of it."""
    recorded = golden("raw_clip64")
    projection = PCA(
        0.1 * np.abs(fill.normal("input/pca/mean", (1764,)).astype(np.float64)),
        fill.normal("input/pca/components", (10, 1764)).astype(np.float64) / math.sqrt(1764),
        0.01 + 0.01 * np.abs(fill.normal("input/pca/variance", (10,)).astype(np.float64)),
    )
    frames = recorded["frames"]
    values = {
        "hog": projection.project(hog(frames)),
        "brightness": brightness(frames),
        "contrast": contrast(frames),
        "meanOF": np.array([123456.0]),
        "blurriness": blurriness(frames),
        "size_orig": np.array([234567.0]),
    }
    return values, recorded


def raw_cache(folder, row, **options):
    """A manifest of two clips with one row, and the m3s cache of it."""
    write_table(folder / "m.csv", ["a", "b"], {}, ["train", "val"])
    return write_cache(
        folder / "m3s.lmdb", ["a", "b"], np.stack([row, row]), Recipe({"extractor": "m3s", "options": options})
    )


@pytest.mark.parametrize("deviations", [False, True])
@pytest.mark.parametrize("data_set", ["Memento10k", "VideoMem"])
def test_cached_rows_are_normalized_to_what_the_reference_gives_its_network(tmp_path, clip64, data_set, deviations):
    values, recorded = clip64
    cache = raw_cache(tmp_path, clip_row(values, deviations=deviations), deviations=deviations)
    found = read_features(tmp_path / "m.csv", [cache])
    fitted = published_normalization(found.groups, data_set.lower())
    wanted = recorded[f"raw_{data_set}_mean{'_std' if deviations else ''}"]
    np.testing.assert_allclose(fitted(torch.from_numpy(found.table.values)).numpy()[0], wanted, rtol=1e-3, atol=1e-5)


def test_lamems_constants_are_those_of_its_images(tmp_path, clip64):
    values, _ = clip64
    row = clip_row({name: each[:1] for name, each in values.items()} | {"meanOF": np.zeros(1)})
    found = read_features(tmp_path / "m.csv", [raw_cache(tmp_path, row)])
    normalized = published_normalization(found.groups, "lamem")(torch.from_numpy(found.table.values)).numpy()[0]
    wanted = [
        *(values["hog"][0] / 0.99998889),
        (values["brightness"][0] - 96.39162514) / 38.53091113,
        (values["contrast"][0] - 57.84879775) / 15.49616822,
        0,
        (values["blurriness"][0] - 19.0881984) / 12.0214119,
        (234567 - 46811.95104444) / 60458.10262618,
    ]
    np.testing.assert_allclose(normalized, wanted, rtol=1e-5, atol=1e-6)


def test_memento10ks_blurriness_is_a_constant_in_its_published_normalization():
    mean, deviation = reference_normalization("memento10k")
    for value in (-100.0, 0.0, 25.0):
        assert (value - mean[13]) / deviation[13] == pytest.approx(-1.2082, abs=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_recorded_scores_come_out_of_caches_and_a_checkpoint(tmp_path, case):
    width, first = CASES[case]
    torch.save(fill.state_dict(shapes(width)), tmp_path / "m3s.tar")
    x, _ = features(width, first, 6)
    ids, values = list("abcdef"), x.numpy()
    write_table(tmp_path / "m.csv", ids, {"memorability": np.linspace(0.4, 0.9, 6)}, ["test"] * 6)
    starts = {"m3s": (0, 15), "hrnet": (15, 735), "csn": (735, 2783)}
    for name, (start, stop) in starts.items():
        write_cache(tmp_path / f"{name}.lmdb", ids, values[:, start:stop], Recipe({"extractor": name, "options": {}}))
    for name, start, stop in (("hrnet", 2783, 2783 + first), ("csn", 2783 + first, width)):
        learned = Recipe({"derivation": "similarity"}, {"learned": {"classes": stop - start}})
        numbers = values[:, start:stop].argmax(axis=1)[:, None]
        write_cache(tmp_path / f"similarity-{name}.lmdb", ids, numbers, learned)
    names = ("similarity-csn", "csn", "m3s", "similarity-hrnet", "hrnet")  # whatever the order of asking
    line = [
        "eval",
        "memorability",
        "--weights",
        tmp_path / "m3s.tar",
        "--manifest",
        tmp_path / "m.csv",
        "--norm",
        "none",
    ]
    line += [word for name in names for word in ("--features", tmp_path / f"{name}.lmdb")]
    result = CliRunner().invoke(root, [str(word) for word in (*line, "--draws", 2, "--out", tmp_path / "out")])
    assert result.exit_code == 0, (result.output, result.exception)
    rows = csv.DictReader((tmp_path / "out/predictions.csv").read_text().splitlines())
    recorded = golden(f"mlp_full_{case}")
    np.testing.assert_allclose([float(row["predicted"]) for row in rows], recorded["score"][:, 0], rtol=2e-5)


@pytest.mark.parametrize("case", CASES)
def test_scores_in_float64_are_the_references(case):
    width, first = CASES[case]
    network = score_mlp_of(fill.state_dict(shapes(width)), source="filled").double()
    with torch.no_grad():
        found = network(features(width, first, 6)[0].double()).numpy()
    np.testing.assert_allclose(found, golden(f"mlp_full_{case}")["score_f64"], rtol=1e-9)


def test_variances_and_lengths_of_coordinates_are_those_of_the_reference():
    def data(name, *shape):
        return fill.normal(f"input/{name}", shape).astype(np.float64)

    rows = 2 * data("centers", 8, 64)[np.arange(150) % 8] + 0.8 * data("noise", 150, 64)
    pca, recorded = fit_pca(rows[:120], 10, whiten=True), golden("similarity_simple")
    np.testing.assert_allclose(pca.explained_variance, recorded["pca_explained_variance"], rtol=1e-6)
    coordinates = (rows[:120] - pca.mean) @ pca.components.T / np.sqrt(pca.explained_variance)
    np.testing.assert_allclose(np.abs(coordinates), recorded["pca_train_abs"], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("case", ["raw_frame_ggsy", "raw_frame_znvh"])
def test_blurriness_of_numbers_from_0_to_1_is_that_of_bytes_but_for_a_constant_and_rounding(shared, case):
    recorded = golden(case, Path(shared / "goldens/memorability"))
    found = blurriness(recorded["frame"][None]) - OF_BYTES
    np.testing.assert_allclose(found, recorded["unit_blurriness"], atol=1)  # bytes of gray are rounded, theirs are not


# Soft ranks, beyond the recorded strengths


def slow_kl_rank(values, strength):
    """As in the l2 case, of logarithms of sums: v_i = min over a <= i of max over b >= i of LSE(s) - LSE(log w)."""
    scaled = np.asarray(values, np.float64) / strength
    order = np.argsort(-scaled, kind="stable")
    s, n = scaled[order], len(scaled)
    w = np.arange(n, 0, -1)

    def value(a, b):
        return np.logaddexp.reduce(s[a : b + 1]) - np.log(w[a : b + 1].sum())

    v = [min(max(value(a, b) for b in range(i, n)) for a in range(i + 1)) for i in range(n)]
    ranks = np.empty(n)
    ranks[order] = np.exp(s - v)
    return ranks


@pytest.mark.parametrize("strength", [0.001, 0.01, 0.1, 0.5, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_soft_ranks_by_relative_entropy_are_their_closed_form_for_any_strength(strength, kind, rng):
    rows = np.concatenate([rng.random((3, 9)), np.repeat(rng.random((1, 3)), 3, axis=1), 5 * rng.normal(size=(2, 9))])
    values = torch.tensor(rows, dtype=kind, requires_grad=True)
    ranks = soft_rank(values, strength=strength, regularization="kl")
    wanted = [slow_kl_rank(row, strength) for row in values.detach().numpy()]
    tolerance = {"rtol": 1e-9} if kind == torch.float64 else {"rtol": 2e-3}  # values / 0.001 have 1e-4 left in float32
    np.testing.assert_allclose(ranks.detach().numpy(), wanted, atol=1e-30, **tolerance)
    ranks.sum().backward()
    assert torch.isfinite(values.grad).all()


def test_a_group_is_normalized_by_training_clips_alone(tmp_path, rng):
    values = 100 * rng.random((4, 15))
    write_table(tmp_path / "m.csv", list("abcd"), {}, ["train", "train", "val", "test"])
    cache = write_cache(tmp_path / "m3s.lmdb", list("abcd"), values, Recipe({"extractor": "m3s", "options": {}}))
    fitted, _ = normalization(read_features(tmp_path / "m.csv", [cache]), np.arange(2), Normalizing())
    rows = values.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(fitted.mean, rows[:2].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fitted.deviation, rows[:2].std(axis=0), rtol=1e-12)
