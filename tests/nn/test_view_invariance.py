"""Refiner and pseudo-3D stream against the outputs that the reference gave, and what each axis of attention sees."""

from __future__ import annotations

import fill
import numpy as np
import pytest
import torch

from egotools.nn.view_invariance import PAPER, SMALL, PseudoStream, Refiner

GOLDENS = fill.DATA / "two_stream"
CASES = {"view-invariance": "ssl_our_method_small", "simple-3d": "ssl_ablation_simple_3d_small"}


def views(width=64):
    """Three recordings of 20, 13 and 7 slots as two cameras see them [3, 20, D], and which slots are real."""
    mask = torch.arange(20) < torch.tensor([20, 13, 7])[:, None]
    return *(fill.input_of(name, 3, 20, width) * mask[..., None] for name in ("src", "tgt")), mask


@pytest.fixture(scope="module")
def refiner():
    return fill.filled(Refiner(64))


@pytest.mark.parametrize("kind", CASES)
def test_both_streams_give_what_the_reference_gave(kind, refiner):
    recorded = np.load(GOLDENS / f"{CASES[kind]}.npz", allow_pickle=False)
    ego, exo, _ = views()
    stream = fill.filled(PseudoStream(kind, 64))
    with torch.no_grad():
        found = {
            "refined_src": refiner(ego, "batch"),
            "refined_tgt": refiner(exo, "batch"),
            "synth_train_input": stream(torch.cat([ego + 1, exo - 1], dim=-1), "batch"),
            "synth_eval_input": stream(torch.cat([ego, exo], dim=-1), "batch"),
        }
    for name, values in found.items():
        np.testing.assert_allclose(values.numpy(), recorded[name], rtol=2e-4, atol=2e-4, err_msg=name)


def slice_of(values, step):
    return values[..., ::step].numpy()


@pytest.mark.slow
@fill.full_size
def test_the_refiner_of_the_paper_gives_what_the_reference_gave(shared):
    recorded = np.load(shared / "goldens/two_stream/refiner_full.npz", allow_pickle=False)
    with torch.device("meta"):
        network = Refiner()
    fill.filled(network)
    features = fill.input_of("features", 3, 24, 2048)
    with torch.no_grad():
        found = {
            "refined": slice_of(network(features, "batch"), 16),
            "refined_item0_alone": slice_of(network(features[:1], "batch"), 8),
            "refined_time_attention": slice_of(network(features, "time"), 16),
        }
        alone = network(features[:1], "none")
    for name, values in found.items():
        np.testing.assert_allclose(values, recorded[f"{name}__slice"], rtol=1e-4, atol=2e-4, err_msg=name)
    np.testing.assert_allclose(slice_of(alone, 8), recorded["refined_item0_alone__slice"], rtol=1e-4, atol=2e-4)


@pytest.mark.slow
@fill.full_size
@pytest.mark.parametrize("kind", CASES)
def test_the_pseudo_3d_stream_of_the_paper_gives_what_the_reference_gave(kind, shared):
    case = CASES[kind].replace("ssl_", "synth_full_").removesuffix("_small")
    recorded = np.load(shared / f"goldens/two_stream/{case}.npz", allow_pickle=False)
    with torch.device("meta"):
        network = PseudoStream(kind)
    fill.filled(network)
    ego, exo = (fill.input_of(name, 2, 6, 2048) for name in ("src", "tgt"))
    with torch.no_grad():
        joint = network(torch.cat([ego + 1, exo - 1], dim=-1), "batch")
    np.testing.assert_allclose(slice_of(joint, 4), recorded["joint__slice"], rtol=1e-4, atol=3e-4)


def test_networks_of_the_paper_have_as_many_parameters_as_published():
    with torch.device("meta"):
        networks = Refiner(), PseudoStream("view-invariance"), PseudoStream("simple-3d")
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [151_117_824, 1_372_026_880, 847_640_576]


def test_without_an_axis_a_slot_is_refined_the_same_whatever_stands_beside_it(refiner):
    ego, _, _ = views()
    with torch.no_grad():
        together, one_slot = refiner(ego, "none"), refiner(ego[1:2, 4:5], "none")
        longer = refiner(torch.nn.functional.pad(ego, (0, 0, 0, 30)), "none")
        alone_in_its_batch = refiner(ego[1:2], "batch")
    torch.testing.assert_close(together[1:2, 4:5], one_slot)
    torch.testing.assert_close(together, longer[:, :20])
    torch.testing.assert_close(together[1:2], alone_in_its_batch)


def test_over_the_batch_a_slot_sees_the_same_slot_of_other_items_and_no_other_slot(refiner):
    ego, _, _ = views()
    with torch.no_grad():
        together, changed = refiner(ego, "batch"), ego.clone()
        changed[0, 5] += 1
        other = refiner(changed, "batch")
    assert not torch.allclose(together[1], refiner(ego[1:2], "batch")[0], atol=0.1)
    differs = (together - other).abs().amax((0, 2)) > 1e-5
    assert differs.nonzero().ravel().tolist() == [5]


def test_over_time_items_see_their_own_slots_but_no_padding(refiner):
    ego, _, mask = views()
    noisy = ego + 5 * (~mask)[..., None]
    with torch.no_grad():
        found, other, alone = refiner(ego, "time", mask), refiner(noisy, "time", mask), refiner(ego[1:2, :13], "time")
        changed = ego.clone()
        changed[0, 5] += 1
        one_slot_changed = refiner(changed, "time", mask)
    torch.testing.assert_close(found[mask], other[mask])
    torch.testing.assert_close(found[1, :13], alone[0], rtol=1e-4, atol=1e-5)
    assert (one_slot_changed - found).abs().amax(2)[0].min() > 1e-4
    torch.testing.assert_close(one_slot_changed[1:], found[1:])


def test_the_input_is_added_unless_it_is_not_wanted(refiner):
    ego, _, _ = views()
    with torch.no_grad():
        torch.testing.assert_close(refiner(ego, "none"), refiner(ego, "none", adds_input=False) + ego)


def test_layers_of_a_stack_start_as_copies_and_with_the_usual_spreads():
    torch.manual_seed(0)
    refiner = Refiner(64, layers=3, heads=4, feedforward=256)
    first, *others = (dict(layer.named_parameters()) for layer in refiner.layers)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)
    assert not first["self_attn.in_proj_bias"].any()
    assert not first["self_attn.out_proj.bias"].any()
    assert first["linear1.bias"].any()
    bounds = {"self_attn.in_proj_weight": (6 / 256) ** 0.5, "self_attn.out_proj.weight": 64**-0.5}
    bounds |= {"linear1.weight": 64**-0.5, "linear2.weight": 256**-0.5, "linear2.bias": 256**-0.5}
    assert {name: first[name].abs().max().item() for name in bounds} == pytest.approx(bounds, rel=0.05)


@pytest.mark.parametrize("axis", ["batch", "none", "time"])
def test_dropout_makes_noise_in_training_only_and_about_as_much_along_each_axis(axis):
    torch.manual_seed(0)
    refiner = Refiner(64, layers=1, heads=4, feedforward=128, dropout=0.3)
    x = torch.randn(1, 1, 64).expand(1, 4000, 64) if axis != "time" else torch.randn(1, 1, 64).expand(4000, 1, 64)
    with torch.no_grad():
        noisy, quiet = refiner(x, axis), refiner.eval()(x, axis)
    spread = (noisy - quiet).square().mean().sqrt().item()
    assert spread == pytest.approx(0.45, abs=0.1)


@pytest.mark.parametrize("kind", CASES)
def test_the_small_networks_have_one_layer_a_stack_and_the_shapes_of_the_large(kind):
    stream, refiner = PseudoStream(kind, 16, SMALL), Refiner.of(SMALL, 16)
    numbers = {part.split("layers.")[1].split(".")[0] for part in stream.state_dict() if "layers." in part}
    assert numbers == {"0"}
    assert len(refiner.layers) == 1
    assert stream(torch.zeros(2, 5, 32), "time").shape == refiner(torch.zeros(2, 5, 16), "time").shape == (2, 5, 16)
    assert len(Refiner.of(PAPER, 32).layers) == 6


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="100 features cannot be shared among 32 attention heads"):
        Refiner(100)
    with pytest.raises(ValueError, match="not 'other'"):
        PseudoStream("other", 64)
    refiner = Refiner(8, 1, 2, 8)
    with pytest.raises(ValueError, match="not 'slots'"):
        refiner(torch.zeros(1, 2, 8), "slots")
    with pytest.raises(ValueError, match=r"\(2, 3\) does not belong to features \(1, 2, 8\)"):
        refiner(torch.zeros(1, 2, 8), "time", torch.ones(2, 3, dtype=torch.bool))
