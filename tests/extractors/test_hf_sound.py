"""Encoders of sound of Transformers, through the command line, beside the library run by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import write_video
from egotools.cli.main import root
from media_files import write_sound
from tiny_sound_models import NAMES, by_hand, sound_model
from torch import nn
from typing_commands import Installed

from egotools.extractors.lookup import find_extractor
from egotools.media.audio import open_sound
from egotools.stores import open_store
from egotools.types import Rows

AST = "audio-spectrogram-transformer"
CLIPS = {"long": (0.0, 4.0), "short": (1.0, 1.6)}  # seconds


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("models")
    return lambda name: folder / name if (folder / name).is_dir() else sound_model(folder / name, name)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 6 s of noise that swells at the rates of the tiny models, so that nothing is resampled."""
    folder = tmp_path_factory.mktemp("sounds")
    for rate in (8000, 16000):
        moments = np.arange(6 * rate) / rate
        noise = np.random.default_rng(1).normal(scale=0.1, size=(1, len(moments)))
        write_sound(folder / f"{rate}.wav", noise * np.sin(moments) ** 2, rate)
        lines = [f"{id},{rate}.wav,{start},{end}" for id, (start, end) in CLIPS.items()]
        (folder / f"{rate}.csv").write_text("\n".join(["id,path,start,end", *lines]))
    return folder


def rate_of(name: str) -> int:
    return 8000 if name.startswith("clap") else 16000


def extracted(
    installed: Installed, model: Path, manifest: Path, out: Path, *words: object, status: int = 0
) -> tuple[dict[str, Rows], str]:
    """The rows of a cache, by clip, and what was said."""
    common = ("--manifest", manifest, "--out", out, "--workers", 1)
    done = installed("extract", *common, f"hf:{model}", *words)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    if status:
        return {}, done.stderr.strip().splitlines()[-1]
    store = open_store(out / f"{model.name}.lmdb")
    return {id: store[id] for id in store}, done.stderr


# Rows of a moment, and the moments of a second of sound: of models that take more, the first half or quarter.
MOMENTS = {"whisper": (1, 50), AST: (3, 17), "clap": (2, 8), "wav2vec2": (1, 99)}


@pytest.fixture(scope="module")
def caches(models: Callable[[str], Path], sounds: Path) -> Path:
    """What one command a rate makes of all models: the sound is read once."""
    words: dict[int, list[str]] = {8000: [], 16000: []}
    for name in NAMES:
        words[rate_of(name)] += [f"hf:{models(name)}", *["--length", "1.5", "--name"], name]
    for name in MOMENTS:
        words[rate_of(name)] += [f"hf:{models(name)}", *["--length", "1", "--pool", "none", "--name"], f"{name}-none"]
    words[16000] += [f"hf:{models('wav2vec2')}", *["--length", "2", "--layer", "1", "--name", "layer"]]
    for rate, more in words.items():
        common = ["--manifest", str(sounds / f"{rate}.csv"), "--out", str(sounds / "caches"), "--workers", "1"]
        done = CliRunner().invoke(root, ["extract", *common, *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    return sounds / "caches"


def rows_of(cache: Path) -> dict[str, Rows]:
    store = open_store(cache)
    return {id: store[id] for id in store}


def heard(sounds: Path, rate: int, start: float, end: float) -> np.ndarray:
    return open_sound(sounds / f"{rate}.wav").alone(start, end)


def usual(name: str, model: Path, samples: np.ndarray) -> np.ndarray:
    """The row that the model's card makes of samples; of Whisper's tokens those of the sound alone."""
    _, found = by_hand(model, samples)
    if name.startswith("clap"):
        return found[0].numpy()
    if name == AST:
        return found.pooler_output[0].numpy()
    tokens = found.last_hidden_state[0]
    return (tokens[: -(-len(samples) // 320)] if name == "whisper" else tokens).mean(0).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_what_the_library_makes_of_the_same_sound(
    models: Callable[[str], Path], sounds: Path, caches: Path, name: str
) -> None:
    rate, model, found = rate_of(name), models(name), rows_of(caches / f"{name}.lmdb")
    assert found["long"].times.tolist() == [[0.0, 1.5], [1.5, 3.0], [2.5, 4.0]]
    assert found["short"].times.tolist() == [[1.0, 1.6]]
    for rows in found.values():
        for row, (start, end) in zip(rows.values, rows.times, strict=True):
            expected = usual(name, model, heard(sounds, rate, start, end))
            np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    different = np.abs(found["long"].values[0] - found["long"].values[1]).max()
    assert different > 1e-3 * np.abs(found["long"].values).max()


def test_windows_are_as_long_as_the_model_takes_unless_said(models: Callable[[str], Path]) -> None:
    def length(name: str) -> float:
        return find_extractor(f"hf:{models(name)}").built().length

    assert [length(name) for name in ("clap", "whisper", AST, "wav2vec2")] == [4.0, 2.0, 2.0, 2.0]


def test_a_layer_is_one_of_the_hidden_states(models: Callable[[str], Path], sounds: Path, caches: Path) -> None:
    found = rows_of(caches / "layer.lmdb")
    _, states = by_hand(models("wav2vec2"), heard(sounds, 16000, 0, 2), output_hidden_states=True)
    expected = states.hidden_states[1][0].mean(0).numpy()
    np.testing.assert_allclose(found["long"].values[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MOMENTS)
def test_without_pooling_every_moment_of_the_sound_has_its_own_rows_and_times(
    models: Callable[[str], Path], sounds: Path, caches: Path, name: str
) -> None:
    rate, model, (bands, moments) = rate_of(name), models(name), MOMENTS[name]
    rows, count = rows_of(caches / f"{name}-none.lmdb")["long"], bands * moments
    _, states = by_hand(model, heard(sounds, rate, 0, 1), joint=False)
    tokens = states.last_hidden_state[0]
    if name == AST:  # after two tokens of the whole: bands, of moments
        tokens = tokens[2:].unflatten(0, (bands, -1)).transpose(0, 1)
    elif name == "clap":  # [D, bands, moments]
        tokens = tokens.permute(2, 1, 0)
    expected = tokens.reshape(-1, 16)[:count].numpy()
    assert len(rows.values) == 4 * count
    np.testing.assert_allclose(rows.values[:count], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    edges = np.repeat(np.linspace(0, 1, moments + 1), bands)
    np.testing.assert_allclose(rows.times[:count], np.stack([edges[:-bands], edges[bands:]], axis=1), atol=1e-9)
    np.testing.assert_allclose(rows.times[count:], rows.times[:-count] + 1, atol=1e-9)


def test_layers_and_output_of_clap_are_in_the_same_order(
    models: Callable[[str], Path], rng: np.random.Generator
) -> None:
    """Its states are an image of several stretches of time; its output, which is their norm, is not."""
    found, samples = find_extractor(f"hf:{models('clap')}"), torch.from_numpy(rng.normal(size=(2, 32000)))
    with torch.inference_mode():
        output = found.built(pool="none").network()
        last = found.built(pool="none", layer=2).network()(samples)
        expected = output(samples)
        shown = output.encoder.model.audio_encoder.norm(last)
    torch.testing.assert_close(shown, expected, rtol=1e-4, atol=1e-5)


def test_the_feature_extractor_computes_in_float32_under_bf16(models: Callable[[str], Path]) -> None:
    class Seen(nn.Module):
        def forward(self, x: torch.Tensor, **inputs: Any) -> torch.Tensor:
            return x

    network = find_extractor(f"hf:{models('whisper')}").built().network()
    seen, samples = Seen(), torch.randn(2, 32000)
    seen.family = network.encoder.family
    network.encoder = seen
    expected = network(samples)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(samples), expected)


def test_a_clip_without_sound_has_no_rows(installed: Installed, models: Callable[[str], Path], tmp_path: Path) -> None:
    write_video(tmp_path / "silent.mp4")
    (tmp_path / "m.csv").write_text("id,path\nsilent,silent.mp4\n")
    found, said = extracted(installed, models("wav2vec2"), tmp_path / "m.csv", tmp_path / "caches")
    assert found["silent"].values.shape[0] == 0
    assert "1 clip" in said


@pytest.mark.parametrize(
    ("name", "words", "complaint"),
    [
        ("wav2vec2", ["--space", "joint"], "shares no space with text"),
        ("wav2vec2", ["--pool", "cls"], "has no class token; take mean"),
        ("wav2vec2", ["--layer", 9], "has no layer 9; --layer counts from 0"),
        ("wav2vec2", ["--length", 0.01], "--length must be 0.1 or more, not 0.01"),
        ("clap", ["--length", 4.5], "takes 4 s at most"),
        ("clap", ["--layer", 1, "--space", "joint"], "--pool and --layer are of --space own"),
    ],
)
def test_impossible_options_are_refused_in_one_line(
    installed: Installed, models: Callable[[str], Path], sounds: Path, tmp_path: Path, name: str, words: list[object],
    complaint: str,
) -> None:  # fmt: skip
    manifest = sounds / f"{rate_of(name)}.csv"
    status = 1 if "--layer" in words and "--space" not in words else 2
    _, said = extracted(installed, models(name), manifest, tmp_path, *words, status=status)
    assert complaint in said


def _without(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def _half(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"feature_size": ')


def _odd_rate(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sampling_rate": "fast"}))


def _of_another(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({"feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": 2}))


@pytest.mark.parametrize("damage", [_without, _half, _odd_rate, _of_another])
def test_a_damaged_feature_extractor_is_refused_in_one_line(
    installed: Installed, models: Callable[[str], Path], sounds: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(models("wav2vec2"), folder)
    damage(folder)
    _, said = extracted(installed, folder, sounds / "16000.csv", tmp_path / "caches", status=1)
    assert "preprocessor_config.json" in said
