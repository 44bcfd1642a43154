"""Principal components of rows that vary in few directions: as many as there are, and a remark."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from egotools.cli.main import root
from PIL import Image
from tabled import write_cache, write_table

from egotools.derive.fitted import read_learned
from egotools.derive.similarity import assign
from egotools.extractors.m3s import M3S
from egotools.linear.pca import fit_pca
from egotools.lowlevel.hog import hog_width
from egotools.manifests.table import write_manifest
from egotools.stores import Recipe, open_store
from egotools.types import Clip
from egotools.weights.pca import read_pca


@pytest.mark.parametrize("solver", ["exact", "randomized"])
@pytest.mark.parametrize("shape", [(20, 30), (30, 8)])
def test_rows_of_few_directions_have_as_many_components_if_fewer_will_do(rng, solver, shape):
    rows = (rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1])) + 5).astype(np.float32)
    found = fit_pca(rows, 6, whiten=True, solver=solver, fewer=True)
    whole = fit_pca(rows, 3, whiten=True, solver="exact")
    assert found.components.shape == (3, shape[1])
    np.testing.assert_allclose(found.explained_variance, whole.explained_variance, rtol=1e-4)
    np.testing.assert_allclose(found.components, whole.components, atol=1e-3)
    np.testing.assert_allclose(found.project(rows).std(axis=0, ddof=1), 1, rtol=1e-3)
    with pytest.raises(ValueError, match="vary in 0 directions"):
        fit_pca(np.ones((9, 5), np.float32), 2, solver=solver, fewer=True)


def pca_of(folder, values, *words):
    write_table(folder / "m.csv", [str(row) for row in range(len(values))], {})
    if not (folder / "x.lmdb").exists():
        write_cache(folder / "x.lmdb", [str(row) for row in range(len(values))], values)
    line = ["train", "pca", "--features", folder / "x.lmdb", "--manifest", folder / "m.csv", "--whiten", *words]
    return CliRunner().invoke(root, [str(word) for word in (*line, "--out", folder / "run", "--json")])


@pytest.mark.parametrize(
    ("rows", "directions", "words", "found"),
    [(6, 30, (), 5), (40, 4, (), 4), (40, 4, ("--components", 7), 4), (40, 30, (), 10)],
)
def test_few_rows_or_directions_make_fewer_components_with_a_remark(tmp_path, rng, rows, directions, words, found):
    values = rng.normal(size=(rows, directions)) @ rng.normal(size=(directions, 50))
    result = pca_of(tmp_path, values, *words)
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["components"] == found == len(read_pca(tmp_path / "run/pca.npz").components)
    wanted = words[1] if words else 10
    remark = f"{found} principal components instead of {wanted}: {rows} rows vary in no more directions"
    assert content["remarks"] == ([] if found == wanted else [remark])
    assert "nothing to do" in pca_of(tmp_path, values, *words).stderr


@pytest.mark.parametrize("method", ["kde", "fractional_mean"])
def test_similarity_of_few_directions_is_that_of_as_many_components(tmp_path, rng, method):
    values = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 40))
    ids = [str(row) for row in range(30)]
    write_table(tmp_path / "m.csv", ids, {}, ["train"] * 20 + ["val"] * 10)
    write_cache(tmp_path / "hrnet.lmdb", ids, values, Recipe({"extractor": "hrnet"}))
    line = ["derive", "similarity", "--features", tmp_path / "hrnet.lmdb", "--manifest", tmp_path / "m.csv"]
    line += ["--method", method, "--out", tmp_path]
    result = CliRunner().invoke(root, [str(word) for word in line])
    assert result.exit_code == 0, result.output
    remark = "4 principal components instead of 10: the 20 training clips vary in no more directions"
    assert remark in " ".join(result.stderr.split())
    cache = tmp_path / "similarity-hrnet.lmdb"
    kept = read_learned(cache)
    assert kept["pca_components"].shape == (4, 40)
    assert remark in open_store(cache).recipe.origin["learned"]["remarks"]
    stored = np.array([open_store(cache)[id].values[0] for id in ids])
    np.testing.assert_allclose(assign(cache, values.astype(np.float32)), stored, rtol=1e-3, atol=1e-3)
    if method == "fractional_mean":
        rows = (values - kept["pca_mean"]) @ kept["pca_components"].T / np.sqrt(kept["pca_variance"])
        expected = np.sqrt(np.abs(rows - rows[:20].mean(axis=0))).sum(axis=1) ** 2
        np.testing.assert_allclose(stored[:, 0], expected, rtol=1e-3)


def test_a_pca_of_fewer_components_is_remarked_where_m3s_takes_it(tmp_path, rng):
    components, _ = np.linalg.qr(rng.normal(size=(hog_width(256, 256), 5)))
    arrays = {"mean": np.zeros(len(components)), "components": components.T, "explained_variance": np.ones(5)}
    np.savez(tmp_path / "hog.npz", **arrays)
    (note,) = M3S(pca=str(tmp_path / "hog.npz"), only=("hog",)).notes()
    assert "has 5 components, not 10" in note
    assert M3S(only=("contrast",)).notes() == []
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    write_manifest(tmp_path / "m.csv", [Clip("a", tmp_path / "a.png")])
    line = ["extract", "--manifest", tmp_path / "m.csv", "--out", tmp_path / "c", "m3s", "--only", "hog"]
    result = CliRunner().invoke(root, [str(word) for word in (*line, "--pca", tmp_path / "hog.npz")])
    assert f"m3s: {note}" in " ".join(result.stderr.split())
    assert open_store(tmp_path / "c/m3s.lmdb").width == 5
