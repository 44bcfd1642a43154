"""What a run keeps of its network: checkpoints in the published layout, and the backbone in both views."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from egotools.cli.main import root
from storyboard_networks import filled_again, narrow

from egotools.extractors.lookup import find_extractor
from egotools.methods.storyboard.export import keep_network
from egotools.methods.storyboard.learners import Learner, Views, learner_optimizer
from egotools.stores.store import Recipe
from egotools.training.fit import fit
from egotools.training.how import How
from egotools.training.runs import Run
from egotools.weights.storyboard import write_label_mapping


def weights(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["weights", *map(str, arguments)])


def kept(folder: Path, model: Learner, **options: object) -> Path:
    run = Run.begin(folder, Recipe({"method": "storyboard"}))
    keep_network(run, model, **{"crop_size": 32, "vertical_flip": True, **options})
    return folder


@pytest.fixture(scope="module", autouse=True)
def _narrow_networks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch)
        yield


@pytest.fixture(scope="module")
def trained(_narrow_networks, tmp_path_factory) -> Path:
    """A run of two steps of SimSiam, with merged labels."""
    folder = tmp_path_factory.mktemp("runs") / "kcam"
    model, views = filled_again(partial(Learner, "simsiam", 18)), torch.randn(2, 4, 3, 32, 32)
    batches = [Views(views, torch.tensor([0, 0, 1, 1]), 2)] * 2
    run = Run.begin(folder, Recipe({"method": "storyboard"}))
    fit(model, lambda at: batches[at:], learner_optimizer(model, 0.05), run, steps=2, how=How(save_every=0))
    write_label_mapping(folder / "label_mapping.pkl", {5: 2})
    return kept(folder, model)


def test_a_run_is_exported_as_the_references_checkpoint_with_its_optimizer(trained, tmp_path):
    out = tmp_path / "step_2.pth"
    done = weights("export", trained, "--to", "storyboard", "--out", out)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "Memory Storyboard ResNet-18 with group norm (simsiam), with its optimizer's state" in done.stderr
    content = torch.load(out, weights_only=True)
    assert list(content) == ["model_state_dict", "optimizer_state_dict"]
    model = Learner("simsiam", 18)
    model.load_state_dict(content["model_state_dict"])  # strict
    heads = [each for name, each in model.named_parameters() if name.startswith("predictor.")]
    others = [each for name, each in model.named_parameters() if not name.startswith("predictor.")]
    groups = [{"params": others, "fix_lr": False}, {"params": heads, "fix_lr": True}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    optimizer.load_state_dict(content["optimizer_state_dict"])
    assert [(group["lr"], group["fix_lr"]) for group in optimizer.param_groups] == [(0.05, False), (0.05, True)]
    assert {state["momentum_buffer"].shape for state in optimizer.state.values()} == {
        p.shape for p in model.parameters()
    }
    assert about(tmp_path / "label_mapping.pkl")["beside"] == {"label mapping": "1 entries"}


def about(path: Path) -> dict:
    done = weights("info", path, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def test_info_names_network_and_method(trained, tmp_path):
    found = about(trained / "storyboard.safetensors")
    assert found["network"] == "Memory Storyboard ResNet-18 with group norm, simsiam"
    assert about(trained / "backbone.safetensors")["network"] == "backbone of a run, extractor storyboard"


def test_a_network_that_the_reference_cannot_have_is_not_exported(tmp_path):
    run = kept(tmp_path / "run", filled_again(partial(Learner, "simclr", 18, activation="relu")))
    refused = weights("export", run, "--to", "storyboard", "--out", tmp_path / "step_1.pth")
    assert "its network has group norm and relu; the layout has mish there, only" in str(refused.exception)
    assert not (tmp_path / "step_1.pth").exists()
    (run / "storyboard.safetensors").unlink()
    refused = weights("export", run, "--to", "storyboard", "--out", tmp_path / "step_1.pth")
    assert "has no storyboard.safetensors: it must be a finished run of 'egotools train storyboard'" in str(
        refused.exception
    )


def test_a_checkpoint_of_an_earlier_step_gives_no_optimizer(trained, tmp_path):
    run = kept(tmp_path / "run", filled_again(partial(Learner, "simsiam", 18)))
    (run / "checkpoint.pt").write_bytes((trained / "checkpoint.pt").read_bytes())
    done = weights("export", run, "--to", "storyboard", "--out", tmp_path / "step_1.pth")
    assert "with no optimizer's state" in done.stderr
    assert torch.load(tmp_path / "step_1.pth", weights_only=True)["optimizer_state_dict"] is None


@pytest.mark.parametrize(("asked", "view"), [("", "evaluation"), ("#cluster", "cluster")])
def test_the_backbone_is_extracted_in_evaluation_and_clustering_preprocessing(trained, asked, view, rng):
    found = find_extractor(f"run:{trained}{asked}")
    assert found.cache_name == f"kcam{asked.replace('#', '-')}"
    extractor = found.built()
    assert (extractor.view, extractor.crop_size, extractor.vertical_flip) == (view, 32, True)
    assert find_extractor(f"run:{trained}").built(view="cluster").preprocessing.crop is None  # as --view cluster asks
    windows = rng.integers(0, 255, (2, 1, 32, 32, 3), dtype=np.uint8)
    model = Learner("simsiam", 18)
    model.load_state_dict(torch.load(trained / "checkpoint.pt", weights_only=True)["parts"]["model"])
    x = torch.from_numpy(windows[:, 0]).permute(0, 3, 1, 2) / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    with torch.inference_mode():
        wanted = model.backbone.eval()(x / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))
        torch.testing.assert_close(extractor.network()(torch.from_numpy(windows)), wanted, rtol=1e-4, atol=1e-4)
