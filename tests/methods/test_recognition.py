"""Recognition by R(2+1)D: the reference's logits and losses, what learns, and how."""

from __future__ import annotations

import pytest
import torch
from avid_networks import Golden

from egotools.methods.recognition.network import Recognition
from egotools.methods.recognition.options import RecognitionOptions

EPIC = {"verb_class": 97, "noun_class": 300}


def recorded(golden: Golden, options: RecognitionOptions, classes: dict[str, int]) -> Recognition:
    """The network of a case with its parameters."""
    with torch.device("meta"):
        model = Recognition(options, classes)
    heads = {f"head.projections.{number}.": f"heads.{number}." for number in range(len(classes))}
    heads |= {f"fc.{name}.": f"heads.{number}." for number, name in enumerate(classes)}
    renamed = {}
    for name, value in golden.parameters().items():
        old = next((each for each in heads if name.startswith(each)), None)
        own = name if name.startswith("backbone.") else f"backbone.{name}"
        renamed[own if old is None else heads[old] + name.removeprefix(old)] = value
    model.load_state_dict(renamed, assign=True)
    return model.eval()


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
