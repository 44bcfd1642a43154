"""Classifiers of clips: what learns, at which rate, resumed to the same bits; probabilities over spans and views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import moving
import numpy as np
import pytest
import torch
from memdpc_files import Golden
from safetensors.torch import save_file
from torch import Tensor, nn

from egotools.errors import TrainingError, WeightsError
from egotools.loading.files import Files
from egotools.loading.views import ViewExamples
from egotools.manifests.table import read_manifest
from egotools.methods.from_video import Course, files_for
from egotools.methods.memdpc.action import new_network, optimizer_for, prepared_clips, rate_at, train_classifier
from egotools.methods.memdpc.clips import TESTING
from egotools.methods.memdpc.network import Classification
from egotools.methods.memdpc.options import ActionOptions, Viewing
from egotools.methods.memdpc.tasks import Prepared
from egotools.methods.memdpc.testing import mean_probabilities, probabilities_of
from egotools.methods.usable import usable
from egotools.nn.memdpc import HEADS, MemDPC
from egotools.pixels.crops import cropped, enlarged, five_boxes
from egotools.progress import no_progress
from egotools.stores.store import Recipe
from egotools.training.how import How
from egotools.training.runs import Run
from egotools.training.world import ALONE
from egotools.types import Clip

pytestmark = pytest.mark.usefixtures("narrow_memdpc")

CPU = torch.device("cpu")
TINY = ActionOptions(size=32, blocks=2, length=1, stride=2, batch_size=2, epochs=2, finetune=True)
COUNTS = {"a": 9, "b": 8, "c": 7, "d": 3, "e": 8}
LABELS = {"a": "run", "b": " jump", "c": "run", "d": "jump", "e": "swim"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], Files]:
    """Tests only read them."""
    folder = tmp_path_factory.mktemp("clips")
    videos = moving.write_videos(folder / "videos", COUNTS)
    splits = {"a": "train", "b": "train", "c": "val", "d": "train", "e": "val"}
    clips = read_manifest(moving.write_manifest(folder / "m.csv", videos, splits, action=LABELS))
    return clips, files_for(folder, clips, workers=0)


@pytest.fixture(scope="module")
def prepared(data: tuple[list[Clip], Files]) -> Prepared:
    return prepared_clips(*data, TINY, "action", "m.csv")


def course(run: Path, **more: Any) -> Course:
    how = How(log_every=1, save_every=0.0)
    return replace(Course(3, Run(run, Recipe({})), 0, how, ALONE, no_progress), **more)


def trained(folder: Path, prepared: Prepared, options: ActionOptions, **more: Any) -> Classification:
    model = new_network(options, len(prepared.classes), None, 3, CPU)
    torch.manual_seed(3)
    train_classifier(model, prepared.examples, prepared.val_examples, options, course(folder, **more))
    return model


def test_classes_are_those_of_the_clips_to_learn_from_and_short_clips_are_padded(prepared, data):
    assert prepared.classes == ("jump", "run")
    assert prepared.train.ids == ["a", "b", "d"]
    assert prepared.examples.labels["labels"].tolist() == [1, 0, 0]
    assert prepared.val.ids == ["c"]
    assert any("1 clip of the split val left out, of classes that are not learned: e" in r for r in prepared.remarks)
    dropping = prepared_clips(*data, replace(TINY, short_videos="drop"), "action", "m.csv")
    assert dropping.train.ids == ["a", "b"]
    with pytest.raises(TrainingError, match="no column 'verb'; its label columns are: action"):
        prepared_clips(*data, TINY, "verb", "m.csv")
    one = [replace(clip, labels={"action": "run"}) for clip in data[0]]
    with pytest.raises(TrainingError, match="the column 'action' is 'run' for all clips to learn from"):
        prepared_clips(one, data[1], TINY, "action", "m.csv")


def test_a_training_interrupted_resumes_to_the_same_bits(prepared, tmp_path):
    whole = trained(tmp_path / "whole", prepared, TINY)

    def interrupt(stage: str, done: float, total: int | None = None, rows: int | None = None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", prepared, TINY, progress=interrupt)
    resumed = trained(tmp_path / "parts", prepared, TINY)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    lines = [Run(tmp_path / name, Recipe({})).metrics() for name in ("whole", "parts")]
    kept = [[{k: v for k, v in line.items() if not k.startswith("seconds_")} for line in each] for each in lines]
    assert kept[0] == kept[1]
    assert [line["val_top1"] in (0, 1) for line in lines[0]] == [True, True]


def test_without_finetuning_only_the_last_layers_learn(prepared, tmp_path):
    options = replace(TINY, finetune=False, epochs=1)
    before = new_network(options, 2, None, 3, CPU).state_dict()
    after = trained(tmp_path, prepared, options).state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(HEADS) for name in changed)
    assert (options.dropped, TINY.dropped, replace(TINY, dropout=0.2).dropped) == (0.5, 0.9, 0.2)


def test_a_drop_of_the_rate_comes_an_epoch_late_and_the_last_has_no_effect_unless_told():
    published = replace(TINY, schedule=(2, 4))
    true = replace(published, true_schedule=True)
    steps = [0, 5, 6, 8, 9, 12, 15, 99]  # three an epoch
    assert [rate_at(step, options=published, epoch=3) for step in steps] == pytest.approx([1] * 4 + [0.1] * 4)
    assert [rate_at(step, options=true, epoch=3) for step in steps] == pytest.approx([1, 1, *[0.1] * 3, *[0.01] * 3])


def test_what_is_below_the_last_layers_may_learn_at_a_rate_of_its_own():
    slower = replace(TINY, backbone_lr_mult=0.1)
    model = new_network(slower, 2, None, 0, CPU)
    heads, below = optimizer_for(model, slower).param_groups
    assert (heads["lr"], below["lr"]) == pytest.approx((1e-3, 1e-4))
    assert (len(heads["params"]), heads["weight_decay"]) == (4, 1e-3)
    assert len(below["params"]) == len([*model.parameters()]) - 4
    (one,) = optimizer_for(model, TINY).param_groups
    assert [id(each) for each in one["params"]] == [id(each) for each in model.parameters()]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 1}, "--batch-size must be 2 or more, as the last batch norm compares clips, not 1"),
        ({"dropout": 1.0}, "--dropout must be 0 or more and below 1, not 1.0"),
        ({"backbone_lr_mult": 0.1}, "--backbone-lr-mult is for --finetune"),
        ({"schedule": (4, 3)}, "--schedule must be ascending epochs"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ActionOptions(**options)


def test_weights_to_begin_with_are_those_of_pretraining_or_of_a_classifier_of_other_classes(tmp_path):
    before = MemDPC(slots=4).state_dict()
    save_file({name: value.contiguous() for name, value in before.items()}, tmp_path / "memdpc.safetensors")
    model = new_network(TINY, 3, str(tmp_path / "memdpc.safetensors"), 0, CPU)
    assert torch.equal(model.state_dict()["backbone.conv1.weight"], before["backbone.conv1.weight"])
    other = new_network(TINY, 5, None, 1, CPU).state_dict()
    save_file({name: value.contiguous() for name, value in other.items()}, tmp_path / "lc.safetensors")
    model = new_network(TINY, 3, str(tmp_path / "lc.safetensors"), 0, CPU)
    assert torch.equal(model.state_dict()["backbone.conv1.weight"], other["backbone.conv1.weight"])
    assert model.final_fc[1].weight.shape == (3, 32)
    with pytest.raises(WeightsError, match="its backbone is a resnet18, not a resnet34"):
        new_network(replace(TINY, net="resnet34"), 3, str(tmp_path / "lc.safetensors"), 0, CPU)


def test_probabilities_are_averaged_over_clips_as_in_the_reference():
    golden = Golden("test_average")
    logits = torch.stack([3 * golden.input(f"logits{number}") for number in range(3)])[:, :, 0]
    found = mean_probabilities(logits)
    golden.check("crop_prob", found[:, None])
    golden.check("mean_prob", found.mean(0, keepdim=True))


class Sums(nn.Module):
    """Logits that tell views and spans apart."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -1.0]))

    def forward(self, clips: Tensor) -> Tensor:
        return clips.double().mean((1, 2, 3, 4, 5))[:, None] * 10 * self.weight


def views_of(data: tuple[list[Clip], Files], **more: Any) -> ViewExamples:
    found = usable(data[0], data[1], TINY.spans).found
    return ViewExamples(found, TINY.spans, Viewing(crops="ten").views, 32, **{"crop": 40, **more})


def test_views_are_the_five_squares_and_those_of_mirrored_frames_each_frame_decoded_once(data, monkeypatch):
    examples = views_of(data)
    frame = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    seen = examples.seen(frame)
    for at, place in enumerate((4, 0, 1, 2, 3)):
        for offset, shown in ((0, frame), (5, frame[:, ::-1])):
            box = five_boxes(48, 64, 40)[place][None]
            wanted = cropped(shown[None], box, np.zeros(1, bool), 32, between=40)[0]
            assert np.array_equal(seen[offset + at], wanted)
    asked: list[list[int]] = []
    opened = examples._open.frames(examples.stretches[0].source)
    real = opened.frames
    monkeypatch.setattr(opened, "frames", lambda numbers: asked.append([*numbers]) or real(numbers))
    example = examples.example(0, np.random.default_rng())
    assert example["frames"].shape == (10, 6, 2, 32, 32, 3)  # six spans of two frames, four wide
    assert asked == [list(range(8))]
    assert enlarged(frame[None], 96).shape == (1, 96, 128, 3)
    smooth = views_of(data, interpolation="bilinear").seen(frame)
    box = five_boxes(48, 64, 40)[4][None]
    wanted = cropped(frame[None], box, np.zeros(1, bool), 32, between=40, interpolation="bilinear")[0]
    assert np.array_equal(smooth[0], wanted)


def test_probabilities_are_the_same_however_many_spans_are_read_at_a_time(data):
    viewing = Viewing(crops="ten", batch_size=7)
    whole = probabilities_of(Sums(), views_of(data), 2, TINY, viewing)
    parts = views_of(data, most=1)
    assert len(parts) > len(parts.stretches)
    found = probabilities_of(Sums(), parts, 2, TINY, viewing)
    torch.testing.assert_close(found.values, whole.values)
    torch.testing.assert_close(whole.values.sum(-1), torch.ones(5, 10, dtype=torch.float64))
    plain = probabilities_of(Sums(), views_of(data), 2, TINY, Viewing(crops="ten", normalize=False))
    assert not torch.allclose(plain.values, whole.values)
    jittered = [
        probabilities_of(Sums(), views_of(data, jitter=TESTING, seed=seed), 2, TINY, viewing) for seed in (0, 0, 1)
    ]
    assert torch.equal(jittered[0].values, jittered[1].values)
    assert not torch.equal(jittered[0].values, jittered[2].values)


def test_a_clip_that_cannot_be_decoded_is_named_and_the_others_have_their_probabilities(data):
    examples = views_of(data)
    first, *others = examples.stretches
    gone = replace(first, source=replace(first.source, size=0))
    found = probabilities_of(Sums(), replace(examples, stretches=[gone, *others]), 2, TINY, Viewing(crops="ten"))
    assert [*found.failed] == [0]
    assert "a.mp4: the file has changed" in found.failed[0]
    assert found.values[1:].sum((1, 2)).tolist() == pytest.approx([10] * 4)
