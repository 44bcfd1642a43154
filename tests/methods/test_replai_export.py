"""What a run of RepLAI keeps: backbones that extractors use, and a checkpoint that the reference begins with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from audible import write_audible
from avid_networks import HEADS, Golden, replai_names
from click.testing import CliRunner, Result
from egotools.cli.main import root

from egotools.errors import EgotoolsError
from egotools.extractors.avid import AvidAudio, AvidVideo
from egotools.extractors.lookup import find_extractor
from egotools.media.audio import open_sound
from egotools.media.video import open_frames
from egotools.methods.replai.export import Seen, keep_network, views_of
from egotools.pixels.resized_squares import middle_square, squares
from egotools.stores import open_store
from egotools.stores.store import Recipe
from egotools.training.runs import Run
from egotools.types import Clip
from egotools.weights.replai import published_of, read_replai

SEEN = Seen(size=32, frames=4, video_duration=0.25, audio_duration=1.0)


def command(*words: object) -> Result:
    done = CliRunner().invoke(root, [*map(str, words)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of RepLAI, with a video network of depth 10."""
    folder = tmp_path_factory.mktemp("runs") / "r"
    state = replai_names(Golden("video_r2p1d10_48").parameters(), Golden("audio_spec_cnn9_125x80").parameters())
    keep_network(Run.begin(folder, Recipe({"method": "replai"})), state, SEEN)
    return folder


def test_a_runs_backbones_are_extractors_with_what_they_were_shown(run):
    video, sound = find_extractor(f"run:{run}"), find_extractor(f"run:{run}#audio")
    built = video.built()
    assert isinstance(built, AvidVideo)
    assert (built.depth, built.side, built.window_length, built.seconds) == ("10", 32, 4, 0.25)
    assert isinstance(sound.built(), AvidAudio)
    assert sound.built().length == 1.0
    named = AvidVideo(weights=f"run:{run}")  # as the weights only: the same unless said otherwise
    assert (named.side, named.window_length, named.seconds) == (32, 4, 0.25)
    other = AvidVideo(weights=f"run:{run}", frames=32, size=224)
    assert (other.side, other.window_length, other.seconds) == (224, 32, 64 / 30)
    assert AvidAudio(weights=f"run:{run}").weights_digest() != named.weights_digest()
    assert (named.resize, other.resize, named.interpolation) == (37, 256, "nearest")


def test_a_run_that_cuts_squares_in_its_own_way_is_extracted_in_that_way():
    state = replai_names(Golden("video_r2p1d10_48").parameters(), {})
    seen = Seen(32, 4, 0.25, 1.0, min_size=40, eval_interpolation="bilinear")
    options = views_of(published_of(state, Path("r")), seen)["default"].options
    assert (options["resize"], options["interpolation"]) == (40, "bilinear")
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    shown = AvidVideo(**options).prepare(frame)
    square = middle_square(60, 80, side=32, shorter=40)
    np.testing.assert_array_equal(shown, squares(frame[None], square, "bilinear")[0])


@pytest.mark.integration
def test_real_files_are_extracted_by_a_runs_networks_and_their_clips_without_sound_are_named(run, tmp_path):
    write_audible(tmp_path / "a.mp4", seconds=2.0, rate=44100, channels=2, codec="aac", gop=8)
    write_audible(tmp_path / "quiet.mp4", seconds=1.0, rate=0)
    write_audible(tmp_path / "slow.mp4", seconds=1.0, rate=8000, fps=8)
    clips = ("a,a.mp4,0,2", "b,a.mp4,0.5,1.6", "slow,slow.mp4,0,1", "quiet,quiet.mp4,0,1")
    (tmp_path / "m.csv").write_text("\n".join(["id,path,start,end", *clips]))
    options = ["extract", "--manifest", tmp_path / "m.csv", "--out", tmp_path / "c", "--workers", 1, "--json"]
    weights = ("--weights", f"run:{run}", "--clips")
    panns = ("panns:mobilenetv2", "--weights", "random:0", "--length", 1)
    done = command(*options, "avid-video", *weights, 3, "avid-audio", *weights, 2, "--length", 1, *panns)
    video, sound = (open_store(tmp_path / f"c/{name}.lmdb") for name in ("avid-video", "avid-audio"))
    assert sound["slow"].values.shape == (2, 512)  # its windows have other numbers of samples than those of a.mp4
    assert video["quiet"].values.shape == (3, 512)
    assert len(sound["quiet"].values) == 0
    assert json.loads(done.stdout)
    extractor = AvidVideo(weights=f"run:{run}", clips=3)
    source = open_frames(tmp_path / "a.mp4")
    clip = Clip("b", tmp_path / "a.mp4", 0.5, 1.6)
    windows = extractor.windows(source.info, clip)
    frames = np.stack([extractor.prepare(each) for each in source.frames(np.arange(len(source.info)))])
    source.close()
    with torch.inference_mode():
        wanted = extractor.network()(torch.from_numpy(frames[windows.frames])).numpy()
    np.testing.assert_allclose(video["b"].values, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    np.testing.assert_allclose(video["b"].times, windows.times)
    heard = AvidAudio(weights=f"run:{run}", clips=2, length=1.0)
    opened = open_sound(tmp_path / "a.mp4")
    asked = heard.sound_windows(opened.info, clip)
    samples = np.stack(list(opened.windows(asked.starts, asked.length, asked.rate)))
    opened.close()
    with torch.inference_mode():
        wanted = heard.network()(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(sound["b"].values, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    assert open_store(tmp_path / "c/mobilenetv2.lmdb")["a"].values.shape == (2, 1024)


def test_a_run_is_exported_as_the_references_checkpoint(run, tmp_path):
    out = tmp_path / "checkpoint_0100.pth"
    done = command("weights", "export", run, "--to", "replai", "--out", out)
    assert "RepLAI (video R(2+1)D-10, sound CNN avid, 2 heads), in the layout replai" in done.stderr
    content = torch.load(out, weights_only=True)
    assert set(content) == {"model", "epoch"}
    assert all(
        name.startswith(("module.backbone.video.", "module.backbone.audio.", "module.mlp."))
        for name in content["model"]
    )
    kept, found = read_replai(run), read_replai(out)
    for part in ("video", "audio", "heads"):
        one, other = getattr(kept, part), getattr(found, part)
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert found.heads.keys() == HEADS.keys()
    about = json.loads(command("weights", "info", out, "--json").stdout)
    assert about["network"] == "RepLAI: video R(2+1)D-10, sound CNN avid, 2 heads"


def test_other_runs_are_refused_by_name(tmp_path):
    Run.begin(tmp_path / "r", Recipe({"method": "pca"}))
    done = CliRunner().invoke(root, ["weights", "export", str(tmp_path / "r"), "--to", "replai", "--out", "c.pth"])
    assert isinstance(done.exception, EgotoolsError)
    assert "has no replai.safetensors: it must be a finished run of 'egotools train replai'" in str(done.exception)
