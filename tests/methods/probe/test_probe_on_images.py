"""Probes on images end to end: the protocol's crops, a frozen backbone, runs that can be applied."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from backbones import tensors
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root
from PIL import Image
from tabled import write_cache

from egotools.errors import ExtractorError, TrainingError
from egotools.evaluate.splits import Partition
from egotools.extractors.backbone import View, write_backbone
from egotools.manifests.table import write_manifest
from egotools.methods.probe.classifier import Classifier
from egotools.methods.probe.head import Head
from egotools.methods.probe.images import find_backbone, random_crop, train_on_images
from egotools.methods.probe.probe import Probe
from egotools.types import Clip

HEAD = Head(head="normalized", epochs=3, batch_size=8, learning_rate=30.0, weight_decay=0.0)


def invoked(*words: object, status: int = 0) -> Result:
    done = CliRunner().invoke(root, [*map(str, words)])
    assert done.exit_code == status, (done.output, done.exception)
    return done


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A run with a ResNet-18 for 32x32 pixels; 24 images, red or green, and one video; a third is test."""
    with torch.random.fork_rng():
        write_backbone(
            tmp_path / "run",
            {"default": View("torchvision:resnet18", {"resize": "36", "crop": "32", "fps": 2.0})},
            tensors(),
        )
    rng = np.random.default_rng(0)
    clips = []
    for number in range(24):
        pixels = rng.integers(0, 60, (40, 50, 3), np.uint8)
        pixels[..., number % 2] += 180
        Image.fromarray(pixels).save(tmp_path / f"i{number}.png")
        labels = {"label": ("red", "green")[number % 2]}
        clips.append(
            Clip(f"i{number}", tmp_path / f"i{number}.png", split="val" if number < 8 else "train", labels=labels)
        )
    write_video(tmp_path / "v.mp4", 10)
    clips.append(Clip("v", tmp_path / "v.mp4", 0.2, 0.6, split="train", labels={"label": "red"}))
    write_manifest(tmp_path / "m.csv", clips)
    return tmp_path


def test_a_run_learns_from_images_and_is_applied_to_caches(place: Path, rng: np.random.Generator) -> None:
    line = [
        "train",
        "probe",
        "--protocol",
        "imagenet",
        "--backbone",
        f"run:{place / 'run'}",
        "--manifest",
        place / "m.csv",
    ]
    flags = ["--label", "label", "--epochs", 3, "--batch-size", 8, "--learning-rate", 30, "--workers", 0]
    made = json.loads(invoked(*line, *flags, "--out", place / "p", "--json").stdout)
    assert made["accuracy"] == 1.0
    assert (made["rows"], made["train_rows"], made["is_augmented"]) == (8, 17, True)
    assert "cropped and mirrored at random" in made["protocol"]
    metrics = [json.loads(each) for each in (place / "p/metrics.jsonl").read_text().splitlines()]
    assert [(each["step"], each["epoch"]) for each in metrics] == [(3, 1), (6, 2), (9, 3)]
    assert [each["learning_rate"] for each in metrics] == pytest.approx([30.0, 22.5, 7.5])
    assert metrics[-1]["test_accuracy"] == made["accuracy"]

    trunk = find_backbone(f"run:{place / 'run'}", torch.device("cpu"))
    pixels = np.stack([trunk.prepare(np.asarray(Image.open(place / f"i{at}.png")), rng) for at in range(8)])
    values = trunk.features({"pixels": torch.from_numpy(pixels)}).numpy()
    cache = write_cache(place / "run.lmdb", [f"i{at}" for at in range(8)], values, trunk.recipe)
    applied = ["eval", "probe", "--run", place / "p", "--features", cache, "--manifest", place / "m.csv", "--json"]
    assert json.loads(invoked(*applied).stdout)["accuracy"] == 1.0
    again = invoked(*line, *flags, "--out", place / "p")
    assert "done" in again.stderr

    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    classifier = Classifier.load(place / "p/probe.safetensors")
    logits = unit @ classifier.weight.numpy().T + classifier.bias.numpy()
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classifier.probabilities(values), expected, rtol=1e-5)
    np.testing.assert_allclose(classifier.probabilities(7 * values), expected, rtol=1e-5)


def test_an_interrupted_training_ends_in_the_same_weights_and_the_backbone_is_left_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (place / "run/backbone.safetensors").read_bytes()

    def train(out: str) -> Path:
        how = {"label": "label", "head": HEAD, "workers": 0}
        folder = place / out
        train_on_images(folder, place / "m.csv", f"run:{place / 'run'}", Probe(), Partition(), **how)  # type: ignore[arg-type]
        return folder / "probe.safetensors"

    whole = train("a").read_bytes()
    monkeypatch.setattr("egotools.training.checkpoint.Checkpoint.save_if_due", lambda self, step: self.save(step))
    shown = iter(range(100))

    def crop(*arguments: object, **more: object) -> object:
        if next(shown) == 40:  # in the third epoch
            raise KeyboardInterrupt
        return random_crop(*arguments, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("egotools.methods.probe.images.random_crop", crop)
        with pytest.raises(KeyboardInterrupt):
            train("b")
    assert train("b").read_bytes() == whole
    assert (place / "run/backbone.safetensors").read_bytes() == before


def test_crops_are_resized_boxes_half_of_them_mirrored() -> None:
    """Of a picture that grows brighter to the right, and blue downwards."""
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[..., 0], picture[..., 2] = np.arange(90), np.arange(60)[:, None]
    rng = np.random.default_rng(0)
    crops = [random_crop(picture, rng, side=16).astype(float) for _ in range(400)]
    assert {crop.shape for crop in crops} == {(16, 16, 3)}
    rises = np.array([crop[0, -1, 0] - crop[0, 0, 0] for crop in crops])
    assert np.mean(rises < 0) == pytest.approx(0.5, abs=0.08)
    tall = np.array([crop[-1, 0, 2] - crop[0, 0, 2] for crop in crops])
    area = np.abs(rises) * tall / (90 * 60)
    assert area.max() < 1
    assert np.mean(area < 0.25) > 0.15  # boxes from 8 % of the area on


def test_what_cannot_be_probed_is_refused(place: Path) -> None:
    device = torch.device("cpu")
    with pytest.raises(ExtractorError, match="--backbone color: not a network of single frames"):
        find_backbone("color", device)
    (place / "i9.png").write_bytes(b"no image")
    with pytest.raises(TrainingError, match=r"i9\.png.*training ended"):
        train_on_images(
            place / "p",
            place / "m.csv",
            f"run:{place / 'run'}",
            Probe(),
            Partition(),
            label="label",
            head=HEAD,
            workers=0,
        )
    line = ["train", "probe", "--manifest", place / "m.csv", "--label", "label", "--out", place / "q"]
    for words, says in (
        (["--protocol", "imagenet"], "give --features, caches, or --backbone"),
        (["--backbone", "run:x"], "--backbone needs --protocol"),
        (["--protocol", "imagenet", "--backbone", "run:x", "--seeds", 2], "--seeds is for --features"),
        (["--protocol", "imagenet", "--backbone", "run:x", "--view", "v.lmdb"], "--view is for --head bn-dropout"),
        (["--features", "c.lmdb", "--workers", 1], "--workers is for --backbone"),
    ):
        assert says in invoked(*line, *words, status=2).output
