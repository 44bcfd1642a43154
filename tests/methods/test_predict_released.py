"""`egotools predict memorability --weights`: published weights on new videos, straight from their files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from egotools.cli.main import root
from media_files import write_video
from PIL import Image

from egotools.lowlevel.hog import hog_width
from egotools.manifests.table import write_manifest
from egotools.methods.memorability.options import Sources
from egotools.methods.memorability.published import published_layout
from egotools.methods.memorability.reference import reference_normalization
from egotools.methods.memorability.released_prediction import wanted_of
from egotools.nn.mlp import ScoreMLP
from egotools.stores import open_store
from egotools.types import Clip


@pytest.fixture
def place(tmp_path, rng, monkeypatch):
    """Two videos, one that is none, and a PCA of HOG; nothing is fetched."""
    pytest.importorskip("cv2")
    for name in "ab":
        blocks = rng.integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
        write_video(tmp_path / f"{name}.mp4", [np.asarray(Image.fromarray(block).resize((64, 48))) for block in blocks])
    (tmp_path / "c.mp4").write_text("no video")
    width = hog_width(256, 256)
    components, _ = np.linalg.qr(rng.normal(size=(width, 10)))
    arrays = {"mean": rng.random(width) / 10, "components": components.T, "explained_variance": np.ones(10)}
    np.savez(tmp_path / "hog.npz", **arrays)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path


def refuse(*_, **__):
    raise OSError("no network here")


def save_weights(path, width):
    torch.manual_seed(1)
    network = ScoreMLP(width, (4,))
    torch.save(network.state_dict(), path)
    return network


def predict(place, *words, videos="ab"):
    line = ["predict", "memorability", "--weights", place / "w.tar", "--workers", 1, *words]
    return CliRunner().invoke(root, [str(word) for word in (*line, *(place / f"{name}.mp4" for name in videos))])


def extracted(place, *words):
    """The rows of the videos in a cache that `extract` makes of them."""
    write_manifest(place / "m.csv", [Clip(name, place / f"{name}.mp4") for name in "ab"])
    line = ["extract", "--manifest", place / "m.csv", "--out", place / "c", "--workers", 1, *words]
    result = CliRunner().invoke(root, [str(word) for word in line])
    assert result.exit_code == 0, result.output
    store = open_store(place / f"c/{words[0]}.lmdb")
    return np.concatenate([store[name].values for name in "ab"]).astype(np.float64)


def expected(network, *parts):
    with torch.no_grad():
        return network(torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))).squeeze(1).tolist()


def test_scores_are_those_of_cached_features_normalized_as_published_without_similarity(place):
    network = save_weights(place / "w.tar", 15 + 699)
    result = predict(place, "--pca", place / "hog.npz", "--json", videos="acb")
    assert result.exit_code == 1
    assert f"failed: {place / 'c.mp4'}" in result.stderr
    assert "all 699 similarity columns" in result.stderr
    assert "hog went through" in result.stderr
    found = json.loads(result.stdout)
    assert [Path(each["path"]).name for each in found] == ["a.mp4", "b.mp4"]
    rows = extracted(place, "m3s", "--pca", place / "hog.npz")
    mean, deviation = reference_normalization("videomem")
    wanted = expected(network, (rows - mean) / deviation, np.zeros((2, 699)))
    assert [each["score"] for each in found] == pytest.approx(wanted, abs=1e-5)
    assert wanted[0] != pytest.approx(wanted[1], abs=1e-4)
    assert [each["deviation"] for each in found] == [0, 0]


def test_all_that_is_missing_is_named_at_once_with_where_to_fetch_it(place):
    save_weights(place / "w.tar", 3635)
    result = predict(place)
    assert result.exit_code == 1
    error = str(result.exception)
    assert "\n" not in error
    for text in ("hog: --pca FILE", "modular-memorability", "encoder_epoch_30.pth", "ipCSN_152", "--csn-weights"):
        assert text in error
    assert not (place / "hub/checkpoints/encoder_epoch_30.pth").exists()


def test_the_width_says_which_extractors_run_and_how(tmp_path):
    sources = Sources(pca="p.npz", hrnet_weights="random:1", csn_weights="random:2")
    found = wanted_of(published_layout(3635), sources, tmp_path, crop=False)
    assert [each.cache.name for each in found] == ["m3s.lmdb", "hrnet.lmdb", "csn.lmdb"]
    raw, hrnet, csn = (each.extractor for each in found)
    assert (raw.pca, raw.deviations, raw.frames) == ("p.npz", False, 45)
    assert (hrnet.weights, hrnet.frames, hrnet.resize) == ("random:1", 1, None)
    assert (csn.weights, csn.frames, csn.architecture, csn.resize) == ("random:2", 45, "ip_csn_152", None)
    raw, hrnet, csn = (each.extractor for each in wanted_of(published_layout(3495), sources, tmp_path, crop=True))
    assert (raw.deviations, hrnet.resize, csn.resize) == (True, "256", "256")
    frame = np.zeros((256, 455, 3), np.uint8)
    frame[:, 99:355] = 200  # the columns that the reference takes of VideoMem
    assert (hrnet.prepare(frame) == 200).all()
    assert (csn.prepare(frame) == 200).all()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "give either --run DIR or --weights FILE"),
        (("--run", "r", "--weights", "w"), "give either --run DIR or --weights FILE"),
        (("--run", "r", "--pca", "p.npz"), "are for --weights"),
        (("--weights", "w", "--raw-order", "sharpness"), "--raw-order must be published, default"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(words, text):
    result = CliRunner().invoke(root, ["predict", "memorability", *words, "a.mp4"])
    assert result.exit_code == 2
    assert text in " ".join(result.output.split())


def test_weights_of_other_columns_are_sent_to_their_run(place):
    save_weights(place / "w.tar", 26)
    assert "takes 26 columns, which no weights of M3-S have" in str(predict(place).exception)


@pytest.mark.slow
def test_networks_see_what_they_see_in_extract(place):
    network = save_weights(place / "w.tar", 15 + 720 + 852)
    words = ("--pca", place / "hog.npz", "--hrnet-weights", "random:0", "--raw-order", "default")
    result = predict(place, *words, "--json")
    assert result.exit_code == 0, result.output
    assert "hrnet: random:0 is an untrained network" in result.stderr
    rows = extracted(place, "m3s", "--pca", place / "hog.npz")
    mean, deviation = reference_normalization("memento10k")
    raw = ((rows - mean) / deviation)[:, [*range(12), 13, 14, 12]]
    wanted = expected(network, raw, extracted(place, "hrnet", "--weights", "random:0"), np.zeros((2, 852)))
    assert [each["score"] for each in json.loads(result.stdout)] == pytest.approx(wanted, abs=1e-4)
