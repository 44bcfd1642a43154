"""The network of M3-S against the reference, and published checkpoints as files."""

from __future__ import annotations

import fill
import numpy as np
import pytest
import torch
from score_networks import CASES, features, shapes

from egotools.errors import WeightsError
from egotools.nn.mlp import ScoreMLP, score_mlp_of
from egotools.weights.tensors import read_tensors


@pytest.mark.parametrize("case", CASES)
def test_scores_and_gradients_of_a_published_checkpoint_are_the_references(case, tmp_path):
    width, first_clusters = CASES[case]
    recorded = np.load(fill.DATA / f"memorability/mlp_full_{case}.npz", allow_pickle=False)
    torch.save(fill.state_dict(shapes(width)), tmp_path / "m3s.tar")
    network = score_mlp_of(read_tensors(tmp_path / "m3s.tar"), source="m3s.tar")
    x, target = features(width, first_clusters, 6)
    scores = network(x)
    np.testing.assert_allclose(scores.detach().numpy(), recorded["score"], rtol=1e-5, atol=1e-6)
    torch.nn.functional.mse_loss(scores, target[:, None]).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    norms = [gradient.norm().item() for gradient in gradients]
    np.testing.assert_allclose(norms, recorded["grad_norms_mse"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradients[-2].numpy(), recorded["grad_last_weight"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradients[0][:8, :64].numpy(), recorded["grad_first_weight_slice"], rtol=1e-5, atol=1e-6)


def test_a_checkpoint_says_its_own_widths():
    network = score_mlp_of(ScoreMLP(5, (7, 3, 2)).state_dict(), source="x")
    assert [layer[0].out_features for layer in network.mlp] == [7, 3, 2, 1]


def test_dropout_changes_no_name_of_a_parameter():
    assert list(ScoreMLP(5, dropout=0.5).state_dict()) == list(ScoreMLP(5).state_dict())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: {**t, "fc.weight": torch.ones(1)}, "fc.weight"),
        (lambda t: {}, "nothing"),
        (lambda t: {k: v for k, v in t.items() if k != "mlp.linear_1.0.bias"}, r"mlp.linear_1.0.bias is missing"),
        (lambda t: {k: v for k, v in t.items() if "linear_1" not in k}, r"linear_1.0.weight is missing"),
        (
            lambda t: {**t, "mlp.linear_1.0.weight": torch.ones(3, 4)},
            r"mlp.linear_0.0.weight is \(7, 5\), not \(4, 5\)",
        ),
        (lambda t: {**t, "mlp.linear_0.0.weight": torch.ones(3)}, "no matrix"),
    ],
)
def test_weights_of_something_else_are_refused(change, complaint):
    with pytest.raises(WeightsError, match=complaint):
        score_mlp_of(change(ScoreMLP(5, (7, 3)).state_dict()), source="x.tar")
