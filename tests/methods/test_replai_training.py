"""Pre-training of RepLAI resumes to the same bits, learns what is left of it, and ends where the loss is not finite."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import replai_files
import torch

from egotools.errors import TrainingError, WeightsError
from egotools.loading.kept_files import files_of
from egotools.manifests.table import read_manifest
from egotools.methods.from_video import Course
from egotools.methods.replai.examples import MomentExamples
from egotools.methods.replai.network import Pretraining
from egotools.methods.replai.options import ReplaiOptions
from egotools.methods.replai.run import head_remarks, new_network, order_for, prepared_clips, pretrain
from egotools.progress import Progress, no_progress
from egotools.stores.store import Recipe
from egotools.training.how import How
from egotools.training.runs import Run
from egotools.training.world import ALONE, World
from egotools.weights.replai import read_replai

CPU = torch.device("cpu")
OFTEN = How(log_every=1, save_every=0.0)
OPTIONS = ReplaiOptions(**{**replai_files.SMALL, "without": ("moments",), "epochs": 2, "audio_net": "avid"})


@pytest.fixture(scope="module", autouse=True)
def _narrow() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        replai_files.make_narrow(patch)
        yield


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> MomentExamples:
    """Of four clips, at random moments; tests only read them."""
    folder = tmp_path_factory.mktemp("heard")
    videos = replai_files.write_videos(folder, 4)
    splits = {f"v{number}": "train" for number in range(4)}
    clips = read_manifest(replai_files.write_manifest(folder / "m.csv", videos, splits))
    return prepared_clips(clips, files_of(clips, sound=True), OPTIONS, None, "m.csv").examples


def trained(
    folder: Path, examples: MomentExamples, options: ReplaiOptions = OPTIONS, progress: Progress = no_progress
) -> Pretraining:
    model = new_network(options, None, 3, CPU)
    course = Course(3, Run(folder, Recipe({})), 0, OFTEN, ALONE, progress)
    pretrain(model, examples, options, order_for(len(examples), options, OFTEN, seed=3), course)
    return model


def figures(folder: Path) -> list[dict[str, Any]]:
    lines = Run(folder, Recipe({})).metrics()
    return [{name: value for name, value in line.items() if not name.startswith("seconds_")} for line in lines]


def test_a_training_interrupted_in_the_middle_of_its_second_epoch_resumes_to_the_same_bits(examples, tmp_path):
    whole = trained(tmp_path / "whole", examples)

    def interrupt(stage: str, done: float, total: int | None = None, rows: int | None = None) -> None:
        if stage == "training" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", examples, progress=interrupt)
    assert [line["step"] for line in figures(tmp_path / "parts")] == [1, 2]
    resumed = trained(tmp_path / "parts", examples)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    assert figures(tmp_path / "parts") == figures(tmp_path / "whole")
    assert [line["step"] for line in figures(tmp_path / "whole")] == [1, 2, 3, 4]


def test_a_loss_that_is_not_finite_ends_the_training_by_name(examples, tmp_path):
    wild = ReplaiOptions(**{**replai_files.SMALL, "without": ("moments",), "learning_rate": 1e20, "epochs": 2})
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step"):
        trained(tmp_path / "run", examples, wild)


def test_a_checkpoint_without_heads_gives_both_networks_and_the_heads_are_new(tmp_path):
    old, new = new_network(OPTIONS, None, 1, CPU), new_network(OPTIONS, None, 2, CPU)
    networks = {name: value for name, value in old.state_dict().items() if name.startswith("backbone.")}
    avid = {re.sub(r"backbone\.(\w+)\.", r"module.\1_model.", name): value for name, value in networks.items()}
    torch.save({"model": avid}, tmp_path / "avid.pth.tar")
    weights = read_replai(tmp_path / "avid.pth.tar")
    found = new_network(OPTIONS, weights, 2, CPU)
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in networks.items())
    assert all(torch.equal(value, found.mlp.state_dict()[name]) for name, value in new.mlp.state_dict().items())
    assert head_remarks(weights, OPTIONS)[0].startswith("--init: both networks are taken; the heads are new")
    torch.save({"model": {name: value for name, value in avid.items() if "audio" not in name}}, tmp_path / "v.pth")
    with pytest.raises(WeightsError, match="contains no network for sound"):
        new_network(OPTIONS, read_replai(tmp_path / "v.pth"), 2, CPU)


def test_fewer_clips_than_a_batch_are_one_and_a_single_clip_is_refused():
    options = ReplaiOptions(**{**replai_files.SMALL, "batch_size": 8})
    assert order_for(20, options, OFTEN, seed=0).batch_size == 8
    few = order_for(5, options, OFTEN, seed=0)
    assert (few.batch_size, few.per_epoch) == (5, 1)
    assert sorted(index for _, index in next(few.batches())) == [0, 1, 2, 3, 4]
    assert order_for(5, options, OFTEN, seed=0, world=World(1, 2)).batch_size == 2
    with pytest.raises(TrainingError, match=r"1 clip to learn from, .*: at least 2 are needed$"):
        order_for(1, options, OFTEN, seed=0)
    with pytest.raises(TrainingError, match="at least 2 are needed for each of 2 processes"):
        order_for(3, options, OFTEN, seed=0, world=World(0, 2))
