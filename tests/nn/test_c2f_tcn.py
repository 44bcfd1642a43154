"""C2F-TCN and its losses against the outputs and gradients that the reference gave."""

from __future__ import annotations

import fill
import numpy as np
import pytest
import torch

from egotools.losses.segmentation import cross_entropy, smoothing
from egotools.nn.c2f_tcn import C2FTCN, LEAST, Outputs, ensemble

GOLDENS = fill.DATA / "two_stream"
COUNTS = {"T384": (384,), "T777": (777, 300, 50), "T512_train": (512, 300, 50)}
TOLERANCE = {"rtol": 2e-4, "atol": 5e-4}


def padded(counts, features, slots):
    """Features [B, F, T] whose slots from `counts` on are zeros, and which are real [B, T]."""
    mask = torch.arange(slots) < torch.tensor(counts)[:, None]
    return fill.input_of("features", len(counts), features, slots) * mask[:, None], mask


def assert_recorded(recorded, name, values):
    """Equal where the record has a slice or all of it, and equal in mean, spread, length and largest value."""
    values = values.detach().double()
    if name in recorded:
        np.testing.assert_allclose(values.numpy(), recorded[name], **TOLERANCE, err_msg=name)
        return
    kept = recorded[f"{name}__slice"]
    steps = [-(-size // found) for size, found in zip(values.shape, kept.shape, strict=True)]
    found = values[tuple(slice(None, None, step) for step in steps)].numpy()
    np.testing.assert_allclose(found, kept, **TOLERANCE, err_msg=name)
    figures = [values.mean(), values.std(correction=0), values.norm(), values.abs().max()]
    np.testing.assert_allclose(figures, recorded[f"{name}__stats"], rtol=1e-3, atol=5e-4, err_msg=name)


def assert_head_as_recorded(network, recorded, x, mask):
    outputs = network(x)
    probabilities = ensemble(outputs)
    found = {"y": outputs.logits, "decoder_features": outputs.features, "ensemble": probabilities}
    found |= {f"aux{number}": logits for number, logits in enumerate(outputs.auxiliary)}
    for name, values in found.items():
        assert_recorded(recorded, name, values)
    wrong = (probabilities.argmax(1).numpy() != recorded["argmax"]).mean()
    assert wrong <= 0.001
    labels = torch.from_numpy(recorded["labels"].astype(np.int64))
    ce, smooth = cross_entropy(probabilities, labels), smoothing(probabilities, mask, masked=False)
    np.testing.assert_allclose([ce.item(), smooth.item()], [recorded["ce"], recorded["smooth"]], rtol=2e-4)
    (ce + smooth).backward()
    norms = [0.0 if p.grad is None else p.grad.norm().item() for p in network.parameters()]
    np.testing.assert_allclose(norms, recorded["grad_l2"], rtol=0.005, atol=1e-4)


@pytest.mark.parametrize("case", COUNTS)
def test_outputs_losses_and_gradients_are_the_references(case):
    recorded = np.load(GOLDENS / f"c2f_small_{case}.npz", allow_pickle=False)
    network = fill.filled(C2FTCN(64, 10)).train(case.endswith("train"))
    assert_head_as_recorded(network, recorded, *padded(COUNTS[case], 64, COUNTS[case][0]))
    if network.training:
        after = [values.double() for name, values in network.state_dict().items() if "running_" in name]
        figures = [[values.mean().item(), values.norm().item()] for values in after]
        np.testing.assert_allclose(figures, recorded["running_stats_after"], **TOLERANCE)


@pytest.mark.slow
def test_the_head_of_the_paper_gives_what_the_reference_gave(shared):
    recorded = np.load(shared / "goldens/two_stream/c2f_full_T1200.npz", allow_pickle=False)
    network = fill.filled(C2FTCN(2048, 202))
    assert_head_as_recorded(network, recorded, *padded((1200, 431), 2048, 1200))


@pytest.mark.slow
@fill.full_size
def test_the_head_gives_what_the_reference_gave_behind_a_refiner_and_without(shared):
    from egotools.nn.view_invariance import Refiner

    recorded = np.load(shared / "goldens/two_stream/forward_full.npz", allow_pickle=False)
    head = fill.filled(C2FTCN(2048, 202))
    with torch.device("meta"):
        refiner = Refiner()
    fill.filled(refiner)
    mask = torch.arange(400) < torch.tensor([400, 217])[:, None]
    features = 0.5 * fill.input_of("features", 2, 400, 2048).abs() * mask[..., None]
    with torch.no_grad():
        found = {"baseline": features, "refined": refiner(features, "batch")}
        for name, x in found.items():
            probabilities = ensemble(head(x.transpose(1, 2)))
            kept = recorded[f"ensemble_{name}__slice"]
            np.testing.assert_allclose(probabilities[:, ::4, ::4].numpy(), kept, rtol=1e-3, atol=1e-5)
            assert (probabilities.argmax(1).numpy() != recorded[f"ensemble_{name}_argmax"]).mean() <= 0.005


def test_the_head_of_the_paper_has_as_many_parameters_as_published():
    assert sum(parameter.numel() for parameter in C2FTCN(2048, 202).parameters()) == 6_888_771


def test_the_mean_is_over_the_probabilities_of_six_resolutions():
    network = C2FTCN(5, 4, width=8).eval()
    outputs = network(torch.randn(2, 5, 400))
    assert [logits.shape[-1] for logits in outputs.auxiliary] == [200, 100, 50, 25, 12]
    assert outputs.features.shape == (2, 4, 400)
    probabilities = ensemble(outputs)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 400))
    certain = Outputs(torch.tensor([[[9e9] * 4, [0.0] * 4]]), [torch.tensor([[[0.0] * 2, [9e9] * 2]])] * 5, None)
    torch.testing.assert_close(ensemble(certain), torch.tensor([[[1 / 6] * 4, [5 / 6] * 4]]))


def test_too_few_slots_are_refused_and_the_least_is_not():
    network = C2FTCN(3, 2, width=4).eval()
    with pytest.raises(ValueError, match="needs 384 slots or more, not 383"):
        network(torch.zeros(1, 3, LEAST - 1))
    assert network(torch.zeros(1, 3, LEAST)).logits.shape == (1, 2, LEAST)
    with pytest.raises(ValueError, match="even, not 5"):
        C2FTCN(3, 2, width=5)
