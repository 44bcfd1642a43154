"""The extractors hog and m3s, `egotools train pca`, and the size of a clip's track."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root
from media_files import write_sound
from media_files import write_video as write_odd_video
from PIL import Image

from egotools.errors import ClipError, EgotoolsError, MissingExtra, WeightsError
from egotools.extractors import optical_flow as opencv
from egotools.extractors.hog import HOG, squashed
from egotools.extractors.m3s import M3S
from egotools.extractors.optical_flow import fastest_enlarging, mean_flow
from egotools.lowlevel.blurriness import blurriness
from egotools.lowlevel.color import brightness, contrast
from egotools.lowlevel.hog import hog
from egotools.lowlevel.m3s_row import layout
from egotools.manifests.table import write_manifest
from egotools.media.track_size import track_bytes
from egotools.media.video import open_frames
from egotools.stores import open_store
from egotools.training.runs import Run
from egotools.types import Clip, VideoInfo
from egotools.weights.pca import read_pca

FILM = VideoInfo(np.arange(40) / 10, 4.0, 64, 48)
CLIP = Clip("a", Path("a.mp4"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Videos of noise a to e and an image f, of which a to d are for training."""
    rng = np.random.default_rng(0)
    for index, name in enumerate("abcde"):
        blocks = rng.integers(0, 256, (12, 6 + index, 8, 3), dtype=np.uint8)
        images = [np.asarray(Image.fromarray(block).resize((128, 96))) for block in blocks]
        write_odd_video(tmp_path / f"{name}.mp4", images, rate=10)
    Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)).save(tmp_path / "f.jpg")
    clips = [Clip(name, tmp_path / f"{name}.mp4", split="train" if name in "abcd" else "val") for name in "abcde"]
    write_manifest(tmp_path / "m.csv", [*clips, Clip("f", tmp_path / "f.jpg", split="val")])
    return tmp_path


def egotools(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


def extract(place: Path, *words: object, manifest: str = "m.csv") -> Result:
    return egotools("extract", "--manifest", place / manifest, "--out", place / "c", "--workers", 1, *words)


def fit(place: Path, *words: object) -> Result:
    line = ["train", "pca", "--features", place / "c/hog.lmdb", "--manifest", place / "m.csv", "--split", "train"]
    return egotools(*line, "--components", 2, "--whiten", "--out", place / "runs/hog", *words)


@pytest.fixture
def fitted(place: Path) -> Path:
    """The same, with a PCA in runs/hog."""
    assert extract(place, "hog", "--frames", 1).exit_code == 0
    result = fit(place)
    assert result.exit_code == 0, result.output
    return place


def error_of(result: Result) -> str:
    assert isinstance(result.exception, EgotoolsError), result.output
    return str(result.exception)


def frames_of(path: Path, count: int) -> np.ndarray:
    """The frames that M3-S looks at."""
    video = open_frames(path)
    total = len(video.info)
    frames = np.stack([squashed(frame) for frame in video.frames(range(total))])
    video.close()
    return frames[np.round(np.linspace(0, total - 1, count)).astype(int)]


def test_the_lines_of_the_manual_go_from_videos_to_raw_features(fitted):
    result = extract(fitted, "m3s", "--pca", f"run:{fitted}/runs/hog", "--deviations", "--frames", 7)
    assert result.exit_code == 0, result.output
    store, pca = open_store(fitted / "c/m3s.lmdb"), read_pca(fitted / "runs/hog/pca.npz")
    for name in "abcde":
        path = fitted / f"{name}.mp4"
        frames, rows = frames_of(path, 7), store[name]
        found = {(part.feature, part.statistic): rows.values[0, part.start : part.stop] for part in PARTS}
        measured = {
            "hog": pca.project(hog(frames)),
            "brightness": brightness(frames)[:, None],
            "contrast": contrast(frames)[:, None],
            "blurriness": blurriness(frames)[:, None],
        }
        for feature, values in measured.items():
            np.testing.assert_allclose(found[feature, "mean"], values.mean(axis=0), rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found[feature, "deviation"], values.std(axis=0), rtol=1e-4, atol=1e-4)
        assert found["meanOF", "mean"][0] == pytest.approx(mean_flow(frames), rel=1e-5)
        assert found["size_orig", "mean"][0] == track_bytes(path)
        assert rows.times.tolist() == [[0.0, pytest.approx(1.2)]]


PARTS = layout(deviations=True, hog_components=2)


def test_an_image_is_a_clip_of_one_frame(fitted):
    write_manifest(fitted / "f.csv", [Clip("f", fitted / "f.jpg")])
    extract(fitted, "m3s", "--pca", f"run:{fitted}/runs/hog", "--deviations", manifest="f.csv")
    (row,) = open_store(fitted / "c/m3s.lmdb")["f"].values
    found = {(part.feature, part.statistic): row[part.start : part.stop] for part in PARTS}
    assert found["meanOF", "mean"] == 0
    assert found["size_orig", "mean"] == (fitted / "f.jpg").stat().st_size
    assert not any(value.any() for (_, statistic), value in found.items() if statistic == "deviation")
    assert found["contrast", "mean"] > 1


def test_rows_are_the_same_beside_other_extractors_as_alone(place):
    only = ("m3s", "--only", "contrast,size_orig,meanOF", "--frames", 5)
    assert extract(place, *only).exit_code == 0
    assert extract(place, "color", "--name", "x", *only, "--name", "again", "hog", "--frames", 2).exit_code == 0
    alone, beside = (open_store(place / f"c/{name}.lmdb") for name in ("m3s", "again"))
    for name in "abcdef":
        assert np.array_equal(alone[name].values, beside[name].values)
    assert open_store(place / "c/hog.lmdb").width == 34596


def test_hog_of_one_frame_is_of_the_first_and_of_several_from_the_first_to_the_last():
    assert HOG(frames=1).windows(FILM, CLIP).frames.tolist() == [[0]]
    several = HOG(frames=4).windows(FILM, CLIP)
    assert several.frames.tolist() == [[0], [13], [26], [39]]
    assert several.times.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert HOG(fps=2).windows(FILM, CLIP).frames[:, 0].tolist() == [2, 7, 12, 17, 22, 27, 32, 37]
    assert HOG(stride=20).windows(FILM, CLIP).frames[:, 0].tolist() == [0, 20]


def test_m3s_takes_45_frames_and_repeats_those_of_a_short_clip():
    (frames,) = M3S(only=("contrast",)).windows(FILM, CLIP).frames
    assert len(frames) == 45
    assert set(frames.tolist()) == set(range(40))
    still = VideoInfo(np.zeros(1), 0.04, 64, 48)
    assert M3S(only=("contrast",)).windows(still, CLIP).frames.tolist() == [[0]]


def test_frames_are_squashed_as_the_reference_does(shared):
    with np.load(shared / "goldens/memorability/raw_native_ggsy.npz") as golden:
        found = squashed(golden["frame"])
        assert found.shape == (256, 256, 3)
        assert np.array_equal(found[::8, ::8], golden["resized_256_slice"])
        assert found.mean() == pytest.approx(float(golden["resized_256_mean"]))


def test_options_of_brightness_contrast_and_flow_change_their_columns(place):
    only = ("m3s", "--only", "brightness,contrast,meanOF", "--frames", 4)
    extract(place, *only)
    extract(place, *only, "--brightness", "value", "--contrast", "value", "--flow", "farneback", "--name", "other")
    usual, other = (open_store(place / f"c/{name}.lmdb")["a"].values[0] for name in ("m3s", "other"))
    frames = frames_of(place / "a.mp4", 4)
    np.testing.assert_allclose(usual[:2], [brightness(frames).mean(), contrast(frames).mean()], rtol=1e-6)
    wanted = [brightness(frames, "value").mean(), contrast(frames, "value").mean(), mean_flow(frames, "farneback")]
    np.testing.assert_allclose(other, wanted, rtol=1e-6)
    assert usual[2] != other[2]


def test_hog_without_a_pca_names_what_to_do_before_anything_is_read(place):
    error = error_of(extract(place, "m3s"))
    assert "hog needs --pca run:DIR" in error
    assert "--only brightness,contrast,meanOF,blurriness,size_orig" in error
    assert not (place / "c").exists()


def test_a_pca_of_something_else_is_refused(place):
    rows = np.eye(4, 30)
    np.savez(place / "p.npz", mean=np.zeros(30), components=rows, explained_variance=np.ones(4))
    assert "a PCA of 30 values, but HOG has 34596" in error_of(extract(place, "m3s", "--pca", place / "p.npz"))
    assert "no such run" in error_of(extract(place, "m3s", "--pca", "run:nowhere"))


def test_without_opencv_the_error_names_the_extra_and_the_way_around(monkeypatch, rng):
    monkeypatch.setattr(opencv, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"--only leaves it out.*pip install 'egotools\[flow\]'"):
        M3S(only=("meanOF",)).weights_digest()
    assert M3S(only=("contrast",)).weights_digest() is None
    with pytest.raises(MissingExtra):
        mean_flow(rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))


def test_a_cache_knows_its_pca_by_content(fitted, monkeypatch):
    run = fitted / "runs/hog"
    only = ("--only", "hog", "--frames", 2)
    extract(fitted, "m3s", "--pca", f"run:{run}", *only)
    (fitted / "moved.npz").write_bytes((run / "pca.npz").read_bytes())
    again = extract(fitted, "--json", "m3s", "--pca", fitted / "moved.npz", *only)
    assert json.loads(again.stdout)["caches"][str(fitted / "c/m3s.lmdb")]["there_already"] == 6
    with np.load(run / "pca.npz") as arrays:
        np.savez(fitted / "moved.npz", **{**arrays, "mean": arrays["mean"] + 1})
    assert "was made with weights=" in error_of(extract(fitted, "m3s", "--pca", fitted / "moved.npz", *only))


def state_of(cache: Path) -> str:
    (entry,) = json.loads(egotools("cache", "ls", cache, "--json").stdout)
    return str(entry["state"])


def test_rebuild_follows_the_pca(fitted, monkeypatch):
    run = fitted / "runs/hog"
    monkeypatch.chdir(fitted)
    extract(fitted, "m3s", "--pca", "run:runs/hog", "--only", "hog", "--frames", 2)
    before = open_store(fitted / "c/m3s.lmdb")["a"].values
    assert state_of(fitted / "c/m3s.lmdb") == "fresh"
    with np.load(run / "pca.npz") as arrays:
        changed = {**arrays, "components": -arrays["components"]}
    np.savez(run / "pca.npz", **changed)
    assert state_of(fitted / "c/m3s.lmdb") == "stale"
    monkeypatch.chdir("/")
    result = egotools("rebuild", fitted / "c/m3s.lmdb", "--workers", 1)
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(open_store(fitted / "c/m3s.lmdb")["a"].values, -before, atol=1e-6)


def test_a_stack_has_no_size_and_fails_for_m3s_alone(place):
    np.save(place / "s.npy", np.random.default_rng(0).integers(0, 256, (5, 256, 256, 3), dtype=np.uint8))
    write_manifest(place / "s.csv", [Clip("s", place / "s.npy", fps=15.0)])
    result = extract(place, "m3s", "--only", "contrast,size_orig", "color", manifest="s.csv")
    assert result.exit_code == 1
    assert "leave it out with --only" in result.output
    assert len(open_store(place / "c/color.lmdb")) == 1
    assert extract(place, "m3s", "--only", "contrast", "--name", "light", manifest="s.csv").exit_code == 0


def test_the_report_of_a_pca_says_what_it_explains(fitted):
    report = Run.open(fitted / "runs/hog").report()
    assert (report["rows"], report["clips"], report["width"], report["components"]) == (4, 4, 34596, 2)
    first = np.concatenate([hog(frames_of(fitted / f"{name}.mp4", 1)) for name in "abcd"]).astype(np.float64)
    np.testing.assert_allclose(read_pca(fitted / "runs/hog/pca.npz").mean, first.mean(axis=0), atol=1e-6)
    spread = np.linalg.svd(first - first.mean(axis=0), compute_uv=False) ** 2
    np.testing.assert_allclose(report["explained_variance"], spread[:2] / 3, rtol=1e-4)
    np.testing.assert_allclose(report["explained_share"], spread[:2] / spread.sum(), rtol=1e-4)
    assert report["explained_in_all"] == pytest.approx(sum(report["explained_share"]))


def test_the_same_pca_again_has_nothing_to_do_and_another_is_refused(fitted):
    before = (fitted / "runs/hog/pca.npz").stat().st_mtime_ns
    assert "nothing to do" in fit(fitted).stderr
    assert (fitted / "runs/hog/pca.npz").stat().st_mtime_ns == before
    assert "components=2, not 3" in error_of(fit(fitted, "--components", 3))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--split", "test"), "no clip is in the split 'test'"),
        (("--components", 4), "4 rows of 34596 values allow 1 to 3 components, not 4"),
    ],
)
def test_a_pca_that_cannot_be_fitted_is_one_line_and_leaves_no_run(place, words, text):
    extract(place, "hog", "--frames", 1)
    assert text in error_of(fit(place, *words))
    assert not (place / "runs/hog").exists()


def test_a_pca_of_no_components_is_wrong_usage(place):
    extract(place, "hog", "--frames", 1)
    assert fit(place, "--components", 0).exit_code == 2


def test_frames_that_stand_still_have_no_flow_and_those_that_move_have(rng):
    pytest.importorskip("cv2")
    still = np.asarray(Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize((64, 64)))
    moved = np.roll(still, 3, axis=1)
    for method in ("dis", "farneback"):
        assert mean_flow(np.stack([still, still]), method) / 64**2 < 0.01
        assert mean_flow(np.stack([still, moved]), method) / 64**2 == pytest.approx(3, abs=1)
    assert mean_flow(still[None]) == 0


def test_flow_is_the_mean_over_pairs_whatever_the_threads_of_opencv(rng):
    cv2 = pytest.importorskip("cv2")
    frames = np.stack([np.roll(frames_like(rng), shift, axis=1) for shift in (0, 2, 5)])
    pairs = [mean_flow(frames[:2]), mean_flow(frames[1:])]
    before = cv2.getNumThreads()
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            assert mean_flow(frames) == pytest.approx(sum(pairs) / 2, rel=1e-12)
            assert cv2.getNumThreads() == threads
    finally:
        cv2.setNumThreads(before)


def test_rows_do_not_depend_on_whether_opencv_is_there(monkeypatch, rng):
    pytest.importorskip("cv2")
    frames = rng.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    network = M3S(only=("blurriness", "contrast")).network()
    there, enlarge = network(frames[None]), fastest_enlarging()
    monkeypatch.setattr(opencv, "find_spec", lambda name: None)
    assert fastest_enlarging() is not enlarge
    assert np.array_equal(network(frames[None]), there)
    for size in ((256, 256), (240, 320), (300, 500)):
        frame, height = rng.integers(0, 256, (*size, 3), dtype=np.uint8), size[0] * 500 // size[1]
        assert np.array_equal(enlarge(frame, height, 500), fastest_enlarging()(frame, height, 500))


def frames_like(rng: Any) -> np.ndarray:
    """A picture of soft blobs."""
    return np.asarray(Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((96, 96)))


def test_the_size_of_a_track_leaves_sound_and_container_out(shared):
    for name, size in (("v_GGSY1Qvo990", 587_627), ("v_ZNVhz7ctTq0", 1_120_164)):
        assert track_bytes(shared / f"data/videos/{name}.mp4") == size


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_the_sizes_of_the_parts_of_a_track_add_up(tmp_path, suffix):
    path = write_odd_video(tmp_path / f"a{suffix}", 40, rate=10)
    whole = track_bytes(path)
    parts = [track_bytes(path, 0.0, 1.5), track_bytes(path, 1.5, 2.0), track_bytes(path, 2.0)]
    assert sum(parts) == whole
    assert all(0 < part < whole for part in parts)
    assert whole < path.stat().st_size


def test_what_has_no_track_says_so(tmp_path):
    np.save(tmp_path / "s.npy", np.zeros(3))
    write_sound(tmp_path / "a.wav", np.zeros((1, 800)), 8000)
    for path, text in ((tmp_path, "no video track"), (tmp_path / "s.npy", "no video track")):
        with pytest.raises(ClipError, match=text):
            track_bytes(path)
    with pytest.raises(ClipError, match="no video stream"):
        track_bytes(tmp_path / "a.wav")


def test_the_tiny_video_of_an_even_gray_is_finite(tmp_path):
    write_video(tmp_path / "a.mp4", 6)
    write_manifest(tmp_path / "m.csv", [Clip("a", tmp_path / "a.mp4")])
    assert extract(tmp_path, "m3s", "--only", "blurriness,contrast").exit_code == 0
    assert np.isfinite(open_store(tmp_path / "c/m3s.lmdb")["a"].values).all()


def test_a_missing_pca_of_a_run_is_named(tmp_path):
    (tmp_path / "r").mkdir()
    with pytest.raises(WeightsError, match=r"contains no pca\.npz"):
        M3S(pca=f"run:{tmp_path}/r").weights_digest()
