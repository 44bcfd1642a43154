"""The networks of anticipation against what the reference gave."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fill import DATA, input_of, normal, recorded_shapes, state_dict

from egotools.losses.sequences import summed_cross_entropy
from egotools.nn.anticipation import Anticipator, sampled

FOLDER = DATA / "replai"


def labels_of(head: int, shape: tuple[int, int], classes: int) -> torch.Tensor:
    drawn = np.abs(normal(f"input/label{head}", shape)) * 1e4
    return torch.from_numpy(np.floor(drawn).astype(np.int64) % classes)


@pytest.mark.parametrize("kind", ["transformer", "mean"])
def test_aggregators_decoders_and_losses_are_the_references(kind):
    case = FOLDER / f"lta_head_{kind}.json"
    about, golden = json.loads(case.read_text())["constructor"], np.load(case.with_suffix(".npz"))
    width, inputs, steps = (
        about[name] for name in ("MULTI_INPUT_FEATURES", "NUM_INPUT_CLIPS", "NUM_ACTIONS_TO_PREDICT")
    )
    verbs, nouns = about["NUM_CLASSES"]
    options = {"layers": about["TRANSFORMER_ENCODER_LAYERS"], "heads": about["TRANSFORMER_ENCODER_HEADS"]}
    network = Anticipator(3, (verbs, nouns), inputs=inputs, steps=steps, width=width, aggregator=kind, **options).eval()
    published = state_dict(recorded_shapes(case))
    own = {name.removeprefix("clip_"): value for name, value in published.items() if name.startswith("clip_")}
    for last in ("weight", "bias"):
        own[f"decoder.{last}"] = torch.cat([published[f"decoder.head.projections.{z}.{last}"] for z in range(steps)])
    missing = network.load_state_dict(own, strict=False)
    assert (missing.missing_keys, missing.unexpected_keys) == (["projection.weight", "projection.bias"], [])
    batch = len(golden["aggregated"])
    with torch.no_grad():
        aggregated = network.aggregator(torch.stack([input_of(f"feature{i}", batch, width) for i in range(inputs)], 1))
        logits = network.decoded(aggregated)
    np.testing.assert_allclose(aggregated.numpy(), golden["aggregated"], rtol=1e-3, atol=1e-3)
    loss = torch.zeros(())
    for head, found in enumerate(logits):
        np.testing.assert_allclose(found[:, [0, -1]].numpy(), golden[f"logits{head}_first_last"], rtol=1e-3, atol=1e-3)
        loss += summed_cross_entropy(found, labels_of(head, (batch, steps), found.shape[2]))
    assert loss.item() == pytest.approx(float(golden["loss"]), rel=1e-4)


def test_features_are_projected_alike_and_concatenated_in_their_order():
    network = Anticipator(5, (3, 4), inputs=2, steps=6, width=8, aggregator="concat").eval()
    verbs, nouns = network(torch.randn(7, 2, 5))
    assert (verbs.shape, nouns.shape) == ((7, 6, 3), (7, 6, 4))
    x = torch.randn(1, 2, 5)
    with torch.no_grad():
        by_hand = network.decoder(torch.cat([network.projection(x[0, 0]), network.projection(x[0, 1])]))
        verbs, nouns = network(x)
    torch.testing.assert_close(torch.cat([verbs[0], nouns[0]], dim=1).flatten(), by_hand)


def test_only_the_order_of_observed_actions_tells_a_transformer_which_was_last():
    torch.manual_seed(0)
    network = Anticipator(4, (3, 3), inputs=3, steps=2, width=8, layers=1, heads=2, feedforward=8).eval()
    x = torch.randn(1, 3, 4)
    with torch.no_grad():
        assert not torch.allclose(network(x)[0], network(x[:, [1, 0, 2]])[0], atol=1e-5)


def test_draws_follow_the_probabilities_and_the_generator():
    logits = torch.tensor([[[0.0, np.log(3.0)], [50.0, 0.0]]]).expand(2000, 2, 2)
    drawn = sampled(logits, 5, torch.Generator().manual_seed(1))
    assert drawn.shape == (2000, 2, 5)
    assert drawn[:, 0].float().mean().item() == pytest.approx(0.75, abs=0.02)
    assert not drawn[:, 1].any()
    assert torch.equal(drawn, sampled(logits, 5, torch.Generator().manual_seed(1)))
    assert not torch.equal(drawn, sampled(logits, 5, torch.Generator().manual_seed(2)))
    assert sampled(logits, 1, torch.Generator()).squeeze(2)[0].tolist() == [1, 0]
