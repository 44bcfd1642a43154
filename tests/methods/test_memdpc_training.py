"""Pre-training of MemDPC learns, has the published schedule, and resumes to the same bits."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import moving
import numpy as np
import pytest
import torch
from memdpc_files import Golden, make_narrow
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.errors import TrainingError
from egotools.loading.order import Order
from egotools.loading.spans import SpanExamples
from egotools.manifests.table import read_manifest
from egotools.methods.from_video import arguments_of, files_for
from egotools.methods.memdpc.clips import PRETRAINING, clips_of, examples_of, with_sign_turned
from egotools.methods.memdpc.network import Pretraining
from egotools.methods.memdpc.options import MemDPCOptions
from egotools.methods.memdpc.run import new_network
from egotools.methods.memdpc.tasks import view_of
from egotools.methods.memdpc.training import PretrainingValidation, pretrain, rate_at
from egotools.methods.usable import usable
from egotools.stores.store import Recipe
from egotools.training import gradients
from egotools.training.gradients import check_precision
from egotools.training.how import How
from egotools.training.learning import order_of, steps_of
from egotools.training.optimizers import milestones, optimizer_of
from egotools.training.runs import Run
from egotools.training.world import ALONE
from egotools.weights.memdpc import own_names

CPU = torch.device("cpu")
TINY = {"size": 32, "blocks": 2, "length": 1, "stride": 2, "predict": 1, "slots": 4, "batch_size": 2}
OFTEN = How(log_every=1, save_every=0.0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> SpanExamples:
    """Five examples of three videos; tests only read them."""
    folder = tmp_path_factory.mktemp("clips")
    counts = {f"v{number}": 8 + number for number in range(5)}
    videos = moving.write_videos(folder / "videos", counts)
    manifest = read_manifest(moving.write_manifest(folder / "m.csv", videos, dict.fromkeys(counts, "")))
    options = MemDPCOptions(**TINY)
    found = usable(manifest, files_for(folder, manifest, workers=0), options.spans)
    return examples_of(found.found, options, PRETRAINING)


def trained(folder: Path, clips: SpanExamples, val: SpanExamples | None = None, **more: Any) -> Pretraining:
    options = MemDPCOptions(**{**TINY, "epochs": 2})
    model = new_network(options, None, 3, CPU)
    torch.manual_seed(3)
    pretrain(model, clips, val, options, seed=3, run=Run(folder, Recipe({})), how=OFTEN, **more)
    return model


def figures(folder: Path) -> list[dict[str, Any]]:
    lines = Run(folder, Recipe({})).metrics()
    return [{name: value for name, value in line.items() if not name.startswith("seconds_")} for line in lines]


def test_a_training_interrupted_in_the_middle_of_its_second_epoch_resumes_to_the_same_bits(
    clips, tmp_path, monkeypatch
):
    make_narrow(monkeypatch)
    whole = trained(tmp_path / "whole", clips, clips)

    def interrupt(stage: str, done: float, total: int | None = None, rows: int | None = None) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", clips, clips, progress=interrupt)
    assert [line["step"] for line in figures(tmp_path / "parts")] == [1, 2, 3]
    resumed = trained(tmp_path / "parts", clips, clips)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    assert figures(tmp_path / "parts") == figures(tmp_path / "whole")
    assert [line.get("epoch") for line in figures(tmp_path / "whole")] == [None, 1.0, None, 2.0]
    first = Run(tmp_path / "whole", Recipe({})).metrics()[0]
    stages = ("waiting", "finishing", "decoding", "resampling", "step")
    assert all(first[f"seconds_{stage}"] > 0 for stage in stages)
    assert first["position_plateau"] == pytest.approx(2 * math.log(2))


def test_one_batch_is_overfitted_below_what_position_alone_gives():
    """From recorded parameters, so that a few steps are enough."""
    noise = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    textures = F.interpolate(noise, size=(192, 192), mode="bilinear")
    shown = [
        [textures[b].roll((-(b + 1) * f, (b - 1) * f), (-1, -2))[:, 64:128, 64:128] for f in range(3)] for b in range(3)
    ]
    batch = torch.stack([torch.stack(frames) for frames in shown])[:, :, :, None]  # [3, 3 blocks, 3, 1 frame, 64, 64]
    model = Pretraining(predicted=1, slots=64, dropout=0.0)
    model.load_state_dict({name: value.float() for name, value in _recorded().items()})
    optimizer = optimizer_of(model, "adam", lr=1e-3, weight_decay=1e-5)
    for _ in range(30):
        optimizer.zero_grad()
        found = model(batch)
        found["loss"].backward()
        optimizer.step()
        if found["loss"] < found["position_plateau"] - 0.5:
            break
    assert found["loss"] < found["position_plateau"] - 0.5
    assert found["clip_forward"] > 1 / 3


def _recorded() -> dict[str, torch.Tensor]:
    return own_names(Golden("train_steps").parameters())[0]


def test_the_schedule_is_the_published_one_and_the_true_one_counts_its_last_epoch():
    for name, expected in Golden("lr_multiplier").outputs.items():
        places = [int(part) for part in name.split("_")[1:]]
        found = [milestones(step, places=places, is_true=False) for step in range(len(expected))]
        np.testing.assert_array_equal(found, expected)
    published = MemDPCOptions(schedule=(2, 3))
    true = MemDPCOptions(schedule=(2, 3), true_schedule=True)
    assert [rate_at(step, options=published, epoch=2) for step in (3, 4, 6, 99)] == pytest.approx([1, 0.1, 0.1, 0.1])
    assert [rate_at(step, options=true, epoch=2) for step in (3, 4, 6, 99)] == pytest.approx([1, 0.1, 0.01, 0.01])


def test_steps_go_before_epochs_and_the_batches_must_make_one(clips):
    assert steps_of(Order(7, 2, seed=0), MemDPCOptions(epochs=4), How(accumulate=2)) == 6
    assert steps_of(Order(7, 2, seed=0), MemDPCOptions(epochs=4, steps=5), How()) == 5
    with pytest.raises(TrainingError, match="5 examples make no batch for --batch-size 6; lower it"):
        order_of(len(clips), MemDPCOptions(batch_size=6), How(), seed=0)
    with pytest.raises(TrainingError, match="2 batches make no step of --accumulate 3"):
        order_of(len(clips), MemDPCOptions(batch_size=2, epochs=1), How(accumulate=3), seed=0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"blocks": 3}, "--predict 3 must be below --blocks 3"),
        ({"schedule": (4, 3)}, "--schedule must be ascending epochs, not 4,3"),
        ({"flow_jitter": False}, "--flow-flip-sign and --no-flow-jitter are for --modality flow"),
        ({"weight_decay": -1.0}, "--weight-decay must be 0 or above, not -1"),
        ({"length": 0}, "--length must be above 0, not 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        MemDPCOptions(**options)


def test_validation_is_in_eval_mode_alike_each_time_and_leaves_the_network_as_it_was(clips, monkeypatch):
    make_narrow(monkeypatch)
    options = MemDPCOptions(**TINY)
    model = new_network(options, None, 0, CPU).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    finish = partial(clips_of, sampling=options, device=CPU)
    validation = PretrainingValidation(clips, options.batch_size, ALONE, How(), finish, 0)
    assert validation.clips == 4  # batches as large as in training
    one, other = validation(model), validation(model)
    assert one == other
    assert one["top1"] == pytest.approx((one["top1_forward"] + one["top1_backward"]) / 2)
    assert model.training
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert PretrainingValidation(clips, 9, ALONE, How(), finish, 0).clips == 5


def test_a_batch_is_normalized_and_cut_into_blocks(clips):
    options = MemDPCOptions(**TINY)
    example = clips.example(0, np.random.default_rng(0))
    batch = {name: torch.from_numpy(np.asarray(value))[None] for name, value in example.items()}
    found = clips_of(batch, sampling=options, device=CPU)
    assert found.shape == (1, 2, 3, 1, 32, 32)
    plain = {**batch, "channels": torch.full((1, 2), -1), "order": torch.full((1, 2, 4), -1)}
    last = clips_of(plain, sampling=options, device=CPU)[0, 1, :, 0]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    shown = (batch["frames"][0, 1] / 255 - mean) / std
    torch.testing.assert_close(last, shown.permute(2, 0, 1), rtol=1e-5, atol=1e-5)


def test_flow_keeps_its_colors_or_turns_its_sign_where_that_is_asked_for(clips):
    pixels = torch.tensor([[128, 10, 140], [128, 10, 140]], dtype=torch.uint8)[:, None, None]
    turned = with_sign_turned(pixels, np.array([True, False]))
    assert turned.squeeze().tolist() == [[128, 10, 115], [128, 10, 140]]
    options = MemDPCOptions(modality="flow", flow_jitter=False)
    assert examples_of([], options, PRETRAINING).augmentation.jitter is None
    assert examples_of([], MemDPCOptions(modality="flow"), PRETRAINING).augmentation == PRETRAINING


def test_reducing_by_bilinear_interpolation_is_another_run_and_what_its_extractor_does_too():
    usual, smooth = MemDPCOptions(), MemDPCOptions(interpolation="bilinear")
    assert examples_of([], smooth, PRETRAINING).augmentation.interpolation == "bilinear"
    new = {("interpolation", "bilinear")}
    assert view_of(smooth).items() - view_of(usual).items() == new
    assert "interpolation" not in arguments_of(usual, How(), 0, None)  # as in runs of before
    assert arguments_of(smooth, How(), 0, None)["interpolation"] == "bilinear"


def test_bf16_is_refused_where_a_gradient_is_wrong(monkeypatch):
    model, bf16 = nn.Linear(1, 1), How(precision="bf16")
    monkeypatch.setattr(gradients, "weight_gradient_errors", lambda *_: {"a": 0.001, "b.conv1": math.inf})
    with pytest.raises(TrainingError, match=r"the gradient of b\.conv1 is off by inf%"):
        check_precision(model, lambda: None, bf16)
    check_precision(model, lambda: None, How())
