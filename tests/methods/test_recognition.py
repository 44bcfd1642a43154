"""Recognition by R(2+1)D: the reference's logits and losses, what learns, and how."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import moving
import numpy as np
import pytest
import torch
from avid_networks import Golden
from torch import Tensor, nn

from egotools.loading.files import Files, OpenFiles
from egotools.loading.spans import read_frames
from egotools.manifests.table import read_manifest
from egotools.methods.from_video import Course, files_for
from egotools.methods.recognition.clips import EvaluatedExamples, central, clips_of, drawn_square, numbers_at
from egotools.methods.recognition.network import Recognition
from egotools.methods.recognition.options import RecognitionOptions
from egotools.methods.recognition.run import (
    Prepared,
    new_network,
    optimizer_for,
    prepared_clips,
    rate_at,
    train_network,
)
from egotools.nn import r2plus1d
from egotools.pixels.resized_squares import middle_square, squares
from egotools.progress import no_progress
from egotools.stores.store import Recipe
from egotools.training.how import How
from egotools.training.precise_bn import recompute_statistics
from egotools.training.runs import Run
from egotools.training.world import ALONE
from egotools.types import Clip

EPIC = {"verb_class": 97, "noun_class": 300}
LABELS = ("verb", "noun")
TINY = RecognitionOptions(
    net="r2plus1d10", size=32, min_size=36, max_size=40, frames=2, batch_size=2, epochs=2, schedule=(1,)
)
COUNTS = {"a": 20, "b": 18, "c": 17, "d": 21, "e": 16}
SPLITS = {"a": "train", "b": "train", "c": "val", "d": "train", "e": "train"}
VERBS = {"a": "cut", "b": "wash", "c": "cut", "d": "wash", "e": "cut"}
NOUNS = {"a": "onion", "b": "knife", "c": "onion", "d": "onion", "e": "knife"}


def recorded(golden: Golden, options: RecognitionOptions, classes: dict[str, int]) -> Recognition:
    """The network of a case with its parameters."""
    with torch.device("meta"):
        model = Recognition(options, classes)
    parameters = parameters_of(golden, tuple(classes))
    model.load_state_dict({name: value.clone() for name, value in parameters.items()}, assign=True)
    return model.eval()


@cache
def parameters_of(golden: Golden, classes: tuple[str, ...]) -> dict[str, Tensor]:
    """By our names."""
    heads = {f"head.projections.{number}.": f"heads.{number}." for number in range(len(classes))}
    heads |= {f"fc.{name}.": f"heads.{number}." for number, name in enumerate(classes)}
    renamed = {}
    for name, value in golden.parameters().items():
        old = next((each for each in heads if name.startswith(each)), None)
        own = name if name.startswith("backbone.") else f"backbone.{name}"
        renamed[own if old is None else heads[old] + name.removeprefix(old)] = value
    return renamed


@pytest.fixture(scope="module")
def epic() -> Golden:
    return Golden("lincls_mtl_64")


@torch.no_grad()
@pytest.mark.parametrize(("scaled", "case"), [("none", "norm0"), ("scalar", "norm1")])
def test_logits_on_epic_kitchens_are_the_references(epic, scaled, case):
    model = recorded(epic, RecognitionOptions(normalize_features=scaled), EPIC)
    for name, logits in zip(EPIC, model.logits(epic.input()), strict=True):
        epic.check(f"{name}_{case}", logits)


@torch.no_grad()
def test_the_loss_on_epic_kitchens_and_batch_norm_over_the_batch_are_the_references(epic):
    labels = torch.tensor([epic.about["labels"][name] for name in EPIC]).T
    batch = {"clips": epic.input(), "labels": labels}
    model = recorded(epic, RecognitionOptions(), EPIC)
    loss = model(batch)["loss"].item()
    assert loss == pytest.approx(float(epic.outputs["loss"]), rel=1e-4)
    model = recorded(epic, RecognitionOptions(loss="sum"), EPIC)
    assert model(batch)["loss"].item() == pytest.approx(2 * loss, rel=1e-5)
    model = recorded(epic, RecognitionOptions(bn_mode="train"), EPIC).train()
    epic.check("verb_class_trainmode_norm0", model.logits(epic.input())[0])


@torch.no_grad()
def test_logits_on_ego4d_are_the_references():
    golden = Golden("ego4d_recognition_r2p1d18")
    options = RecognitionOptions(finetune=True, pool="average", dropout=0.5)
    model = recorded(golden, options, {"verb": 115, "noun": 478})
    for number, logits in enumerate(model.logits(golden.input())):
        golden.check(f"logits{number}", logits)


@pytest.fixture
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """New networks have few channels."""
    monkeypatch.setattr(r2plus1d, "WIDTHS", (4, 4, 8, 8))
    monkeypatch.setattr(r2plus1d, "WIDTH", 8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], Files]:
    """Tests only read them."""
    folder = tmp_path_factory.mktemp("clips")
    videos = moving.write_videos(folder / "videos", COUNTS)
    clips = read_manifest(moving.write_manifest(folder / "m.csv", videos, SPLITS, verb=VERBS, noun=NOUNS))
    return clips, files_for(folder, clips, workers=0)


def prepared(data: tuple[list[Clip], Files], options: RecognitionOptions = TINY) -> Prepared:
    return prepared_clips(*data, options, LABELS, "m.csv")


def course(folder: Path, **more: Any) -> Course:
    how = How(log_every=1, save_every=0.0)
    return replace(Course(3, Run(folder, Recipe({})), 0, how, ALONE, no_progress), **more)


def trained(folder: Path, there: Prepared, options: RecognitionOptions, **more: Any) -> Recognition:
    model = new_network(options, there.counts, None, 3)
    torch.manual_seed(3)
    train_network(model, there.examples, there.val_examples, options, course(folder, **more))
    return model


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


@pytest.mark.usefixtures("_narrow")
def test_without_finetuning_only_the_last_layers_learn_and_batch_norm_follows_batches_only_if_told(data, tmp_path):
    there = prepared(data)
    before = new_network(TINY, there.counts, None, 3).state_dict()
    found = changed(before, trained(tmp_path / "eval", there, TINY).state_dict())
    assert found == {f"heads.{number}.{name}" for number in (0, 1) for name in ("weight", "bias")}
    adapted = replace(TINY, bn_mode="train")
    found = changed(before, trained(tmp_path / "train", there, adapted).state_dict())
    others = {name for name in found if not name.startswith("heads.")}
    assert others
    assert all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in others)


@pytest.mark.usefixtures("_narrow")
def test_a_finetuning_interrupted_resumes_to_the_same_bits(data, tmp_path):
    options = replace(TINY, finetune=True, dropout=0.5, precise_bn=2, decay="cosine", warmup=1, nesterov=True)
    there = prepared(data, options)
    whole = trained(tmp_path / "whole", there, options).state_dict()

    def interrupt(stage: str, done: float, total: int | None = None, rows: int | None = None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", there, options, progress=interrupt)
    resumed = trained(tmp_path / "parts", there, options).state_dict()
    assert not changed(whole, resumed)
    lines = [Run(tmp_path / name, Recipe({})).metrics() for name in ("whole", "parts")]
    kept = [[{k: v for k, v in line.items() if not k.startswith("seconds_")} for line in each] for each in lines]
    assert kept[0] == kept[1]
    assert [line["val_top1"] == line["val_top1_noun"] for line in lines[0] if "val_top1" in line] == [True, True]


def test_statistics_of_batch_norm_are_means_over_batches(rng):
    network = nn.Sequential(nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3)).eval()
    batches = [torch.from_numpy(rng.normal(size=(4, 2, 5)).astype(np.float32)) for _ in range(3)]
    with torch.no_grad():
        maps = [network[0](batch) for batch in batches]
    recompute_statistics(network, batches)
    means = torch.stack([each.mean((0, 2)) for each in maps]).mean(0)
    variances = torch.stack([each.transpose(0, 1).flatten(1).var(1) for each in maps]).mean(0)
    torch.testing.assert_close(network[1].running_mean, means)
    torch.testing.assert_close(network[1].running_var, variances)
    assert (network.training, network[1].momentum) == (False, 0.1)


def test_parameters_named_bn_may_be_without_decay_and_the_first_batch_norm_is_not_so_named():
    options = replace(TINY, finetune=True, weight_decay=1e-4, bn_decay=False, nesterov=True)
    with torch.device("meta"):
        model = Recognition(options, {"verb": 2})
    names = {id(value): name for name, value in model.named_parameters()}
    decayed, spared = optimizer_for(model, options).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"], decayed["nesterov"]) == (1e-4, 0.0, True)
    found = {names[id(value)] for value in spared["params"]}
    assert found == {name for name in names.values() if "bn" in name}
    assert "backbone.conv1.1.weight" not in found
    assert len(optimizer_for(model, replace(options, bn_decay=True)).param_groups) == 1


def test_the_rate_falls_at_epochs_or_along_a_cosine_after_a_warm_up():
    falling = replace(TINY, schedule=(18, 24))
    assert [rate_at(step, options=falling, epoch=2.5) for step in (0, 44, 45, 59, 60)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )
    golden = dict(np.load(Path(__file__).parents[1] / "data" / "replai" / "lr_warmup_cosine.npz"))
    cosine = replace(TINY, decay="cosine", warmup=1000, epochs=40)
    found = [0.01 * rate_at(int(step), options=cosine, epoch=250.0) for step in golden["step"]]
    np.testing.assert_allclose(found, golden["lr"], rtol=1e-9)


def test_a_window_begins_anywhere_in_a_clip_and_a_short_clip_is_one_window(data):
    stretch = prepared(data).examples.stretches[0]  # 20 frames at 30 a second
    assert numbers_at(stretch, TINY, 0.0).tolist() == [0, 14]
    assert numbers_at(stretch, TINY, 1.0).tolist() == [5, 19]
    every = replace(TINY, frame_rule="all", frames=4)
    assert numbers_at(stretch, every, 0.0).tolist() == [0, 5, 10, 15]  # the frame at 0.5 s is one of them
    short = replace(stretch, first=4, count=5)
    found = numbers_at(short, replace(TINY, frames=4), 0.7)
    assert found.tolist() == [0, 4, 4, 4]  # 0, 4, 9 and 14 of the clip three times
    frames = list(stretch.source.open().frames(range(4, 9)))
    shown = read_frames(short, np.array([0, 3, 2]), OpenFiles())
    assert np.array_equal(shown, np.stack(frames)[[0, 3, 2]])


def test_windows_to_evaluate_are_evenly_spaced_or_one_by_the_seed_and_each_frame_is_decoded_once(data, decoded_count):
    stretches = prepared(data).examples.stretches[:1]
    both = EvaluatedExamples(stretches, TINY, (3, 1), seed=1)
    found = both.example(0, np.random.default_rng())["frames"]
    assert found.shape == (4, 2, 32, 32, 3)
    assert decoded_count[0] <= 20
    for place, window in zip((0.0, 0.5, 1.0), found[both.windows_of(3)], strict=True):
        frames = list(stretches[0].source.open().frames(numbers_at(stretches[0], TINY, place)))
        assert np.array_equal(window, central(np.stack(frames), TINY))
    gone = replace(stretches[0], source=replace(stretches[0].source, size=0))
    failed = EvaluatedExamples([gone], TINY, (1,)).example(0, np.random.default_rng())["failed"]
    assert "a.mp4: the file has changed" in failed.tobytes().decode()
    alone = EvaluatedExamples(stretches, TINY, (1,), seed=1).example(0, np.random.default_rng())["frames"]
    assert np.array_equal(alone, found[both.windows_of(1)])


def test_squares_of_ego4d_have_whole_sizes_and_no_antialiasing_and_colors_its_statistics(rng):
    frames = rng.integers(0, 255, (1, 64, 96, 3), dtype=np.uint8)
    ego4d = replace(TINY, resizing="plain", eval_interpolation="bilinear", statistics="ego4d", flip=1.0)
    drawn = [drawn_square(64, 96, ego4d, rng) for _ in range(40)]
    assert {min(each.width, each.height) for each in drawn} == {36, 37, 38, 39, 40}
    assert all(each.flip for each in drawn)
    square = middle_square(64, 96, side=32, shorter=36)
    plain = torch.nn.functional.interpolate(
        torch.from_numpy(frames).permute(0, 3, 1, 2).float(), size=(36, 54), mode="bilinear"
    )[:, :, 2:34, 11:43]
    found = central(frames, ego4d)
    assert np.abs(found - plain.permute(0, 2, 3, 1).numpy()).max() <= 0.5
    assert np.array_equal(central(frames, TINY), squares(frames, square, "nearest"))
    clips = clips_of(torch.from_numpy(found[None]), ego4d, torch.device("cpu"))
    torch.testing.assert_close(clips[0, 1, 0], (torch.from_numpy(found[0, :, :, 1]) / 255 - 0.45) / 0.225)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 200}, "--size 200 must be at most --min-size 128"),
        ({"min_size": 200}, "--min-size 200 must be at most --max-size 180"),
        ({"flip": 1.5}, "--flip must be from 0 to 1, not 1.5"),
        ({"dropout": 1.0}, "--dropout must be 0 or more and below 1, not 1.0"),
        ({"precise_bn": 5}, "--precise-bn is for --finetune"),
        ({"swap_sides": True, "resizing": "plain"}, "--swap-sides is for --resizing antialiased"),
        ({"schedule": (24, 18)}, "--schedule must be ascending epochs, not 24,18"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        RecognitionOptions(**options)


@pytest.mark.parametrize("preset", [*RecognitionOptions.presets])
def test_every_preset_is_a_choice_of_options(preset):
    RecognitionOptions(**RecognitionOptions.presets[preset])
