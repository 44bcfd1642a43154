"""MemDPC's networks: the reference's outputs and gradients, where gradients stop, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from fill import full_size
from memdpc_files import Golden, make_narrow, write_released
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.losses.matching import matching_loss
from egotools.methods.memdpc.network import Pretraining, rows_of
from egotools.metrics.ranks import own_ranks
from egotools.nn.memdpc import MemDPC, MemDPCClassifier, MemDPCContext, Pass, block_maps, recall
from egotools.weights.memdpc import load_memdpc, network_of, own_names, read_memdpc


def check_passes(golden: Golden, passes: tuple[Pass, Pass]) -> None:
    forward, backward = passes
    for way, each in (("forward", forward), ("backward", backward)):
        golden.check(f"pred_{way}", each.predictions.transpose(1, 2))
        loss, scores = matching_loss(rows_of(each.predictions), rows_of(each.targets))
        golden.check(f"loss_{way}", loss)
        golden.check(f"score_{way}", scores)
        ranks = own_ranks(scores, torch.arange(len(scores)))
        tops = torch.stack([(ranks < k).float().mean() for k in (1, 5)])
        golden.check(f"acc_{way}", tops, atol=1.01 / len(scores), rtol=0)
    golden.check("target_forward", forward.targets.permute(2, 0, 1, 3, 4))
    golden.check("context_feature", forward.context)
    golden.check("attention_forward_step1", forward.attentions[0])
    golden.check("attention_backward_last", backward.attentions[-1])


def imported(golden: Golden, folder, **options) -> nn.Module:
    """The network of a case, by way of a checkpoint."""
    published = read_memdpc(write_released(folder / "m.pth.tar", golden.parameters(), **options))
    (folder / "m.pth.tar").unlink()
    return network_of(published, predicted=golden.constructor.get("pred_step", 3))


def head(golden: Golden) -> MemDPC:
    network = Pretraining("resnet18", predicted=3, slots=golden.constructor["mem_size"], dropout=0.0)
    missing = network.load_state_dict(own_names(golden.parameters())[0], strict=False).missing_keys
    assert all(name.startswith("backbone.") for name in missing)
    return network


def block_features(golden: Golden) -> Tensor:
    feature = golden.input("feature").mean(2)
    return feature.reshape(golden.about["batch"], -1, *feature.shape[1:])


def check_gradients(golden: Golden, network: nn.Module, **looser: float) -> None:
    for name, parameter in network.named_parameters():
        recorded = f"grad.{name.replace('cell_list.0', 'ConvGRUCell_00')}"
        if any(key.startswith(recorded) for key in golden.outputs):
            golden.check(recorded, parameter.grad, **(looser if name.startswith("backbone.") else {}))


def test_a_checkpoints_network_predicts_as_the_reference(tmp_path):
    golden = Golden("memdpc_resnet18_64_small")
    network = imported(golden, tmp_path).eval()
    with torch.no_grad():
        check_passes(golden, network(golden.input("block")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("memdpc_resnet18_64", torch.float32),
        ("memdpc_resnet18_128", torch.float32),
        # Gates near a tie amplify float32's noise of 34 layers above the tolerance, with plain 3D convolutions, too.
        ("memdpc_resnet34_64", torch.float64),
    ],
)
def test_checkpoints_networks_of_all_sizes_predict_as_the_reference(case, kind, shared, tmp_path):
    golden = Golden(case, shared / "goldens/memdpc")
    with torch.no_grad():
        check_passes(golden, imported(golden, tmp_path).to(kind).eval()(golden.input("block").to(kind)))


@torch.no_grad()
def test_what_follows_the_backbone_is_the_references(shared):
    golden = Golden("memdpc_head", shared / "goldens/memdpc")
    check_passes(golden, head(golden).eval().passes(block_features(golden)))


def test_gradients_of_what_follows_the_backbone_are_the_references():
    golden = Golden("memdpc_head_train")
    network = head(golden)
    found = network.passes(block_features(golden))
    check_passes(golden, found)
    figures = network.figures(found)
    golden.check("loss", figures["loss"])
    figures["loss"].backward()
    check_gradients(golden, network)


def test_gradients_of_a_training_step_are_the_references():
    golden = Golden("memdpc_resnet18_64_train")
    network = Pretraining("resnet18", predicted=2, slots=64, dropout=0.0)
    network.load_state_dict(own_names(golden.parameters())[0])
    loss = network(golden.input("block"))["loss"]
    golden.check("loss", loss)
    loss.backward()
    check_gradients(golden, network, rtol=1e-2, atol=1e-2)
    golden.check("after.backbone.bn1.running_mean", network.backbone.bn1.running_mean)
    norm = torch.stack([parameter.grad.norm() for parameter in network.parameters()]).norm()
    golden.check("grad_global_l2", norm, rtol=1e-2)


@torch.no_grad()
def test_the_memory_is_read_as_by_the_reference():
    golden = Golden("memory_read")
    attention, read = recall(golden.input("logits"), golden.input("memory"))
    golden.check("attention", attention)
    golden.check("read", read)


def test_a_checkpoints_classifier_is_the_references(tmp_path):
    golden = Golden("lc_resnet18_64")
    network = imported(golden, tmp_path, prefix="module.").eval()
    assert isinstance(network, MemDPCClassifier)
    with torch.no_grad():
        context = network.context(golden.input("block"))
    golden.check("context", network.final_bn(context).unsqueeze(1))
    golden.check("logits", network.final_fc(network.final_bn(context)).unsqueeze(1))


@pytest.mark.slow
def test_a_checkpoints_deeper_classifier_is_the_references(shared, tmp_path):
    golden = Golden("lc_resnet34_128", shared / "goldens/memdpc")
    with torch.no_grad():
        golden.check("logits", imported(golden, tmp_path).eval()(golden.input("block")).unsqueeze(1))


def test_a_frozen_classifier_learns_its_last_layers_only(tmp_path):
    golden = Golden("lc_resnet18_64_last_train")
    published = read_memdpc(write_released(tmp_path / "m.pth.tar", golden.parameters()))
    network = MemDPCClassifier("resnet18", classes=101, dropout=0.0, is_frozen=True)
    load_memdpc(network, published, fresh=())
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    logits = network.train()(golden.input("block"))
    loss = F.cross_entropy(logits, torch.arange(len(logits)))
    loss.backward()
    golden.check("loss", loss)
    golden.check("logits", logits.unsqueeze(1))
    check_gradients(golden, network)
    golden.check("after.final_bn.running_mean", network.final_bn.running_mean)
    golden.check("after.final_bn.running_var", network.final_bn.running_var)
    learning = {name.partition(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {"final_bn", "final_fc"}
    assert all(torch.equal(value, before[name]) for name, value in network.backbone.state_dict().items())


def test_gradients_reach_the_backbone_through_targets_too():
    network = Pretraining("resnet18", predicted=1, slots=4)
    features = torch.randn(2, 3, 256, 1, 1, requires_grad=True)
    network.figures(network.passes(features))["loss"].backward()
    assert features.grad.abs().amax((0, 2, 3, 4)).gt(0).all()


class Flat(nn.Module):
    """A backbone that averages pixels: [K, 3, L, H, W] to [K, 256, 1, 1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 256)

    def forward(self, clips: Tensor) -> Tensor:
        return self.linear(clips.mean((2, 3, 4)))[..., None, None, None]


def test_block_maps_are_signed_and_contexts_are_not():
    clips = torch.randn(2, 4, 3, 5, 8, 8)
    backbone = Flat()
    assert block_maps(backbone, clips).min() < 0
    network = MemDPCContext("resnet18")
    network.backbone = nn.Sequential(backbone, nn.Threshold(float("inf"), -1.0))  # signed: the ReLU leaves nothing
    network.eval()
    assert torch.equal(network(clips), torch.zeros(2, 512))


def test_initial_weights_are_as_small_as_the_references():
    network = MemDPC("resnet18", slots=300)
    first = network.network_pred[0].weight.flatten(1)
    torch.testing.assert_close(first @ first.t(), 0.01 * torch.eye(256), atol=1e-5, rtol=0)
    gate = network.agg_b.cells()[0].out_gate.weight.flatten(1)
    torch.testing.assert_close(gate @ gate.t(), 0.01 * torch.eye(256), atol=1e-5, rtol=0)
    assert abs(network.mb.std().item() - 1) < 0.02
    linear = MemDPCClassifier("resnet18", classes=7).final_fc[1].weight
    torch.testing.assert_close(linear @ linear.t(), torch.eye(7), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("blocks", "predicted"), [(3, 3), (2, 3)])
def test_clips_that_leave_nothing_to_predict_from_are_refused(blocks, predicted, monkeypatch):
    make_narrow(monkeypatch)
    network = MemDPC("resnet18", predicted=predicted, slots=4)
    with pytest.raises(ValueError, match=f"{blocks} blocks cannot have 3 predicted .* at least 4"):
        network(torch.zeros(1, blocks, 3, 5, 32, 32))


def test_nothing_to_predict_is_refused():
    with pytest.raises(ValueError, match="0 blocks to predict"):
        MemDPC("resnet18", predicted=0)


@pytest.mark.parametrize("shape", [(2, 8, 5, 3, 32, 32), (8, 3, 5, 32, 32), (0, 8, 3, 5, 32, 32)])
def test_other_axes_are_refused(shape, monkeypatch):
    make_narrow(monkeypatch)
    for network in (MemDPC("resnet18", slots=4), MemDPCContext("resnet18")):
        with pytest.raises(ValueError, match=r"axes \[clips, blocks, 3, frames, height, width\]"):
            network(torch.zeros(shape))


def test_the_final_batch_norm_refuses_to_train_on_one_clip(monkeypatch):
    make_narrow(monkeypatch)
    network = MemDPCClassifier("resnet18", classes=3)
    clips = torch.randn(1, 2, 3, 4, 32, 32)
    with pytest.raises(ValueError, match="batch of one clip"):
        network(clips)
    assert network.eval()(clips).shape == (1, 3)


def test_figures_say_what_is_logged():
    network = Pretraining("resnet18", predicted=2, slots=4)
    found = network.figures(network.passes(torch.randn(3, 5, 256, 2, 2)))
    assert set(found) == {
        "loss",
        "position_plateau",
        *(f"{name}_{way}" for name in ("loss", "top1", "top3", "top5", "clip") for way in ("forward", "backward")),
    }
    assert found["loss"].item() == pytest.approx(found["loss_forward"].item() + found["loss_backward"].item())
    assert found["position_plateau"].item() == pytest.approx(2 * math.log(3 * 2))
    assert all(not value.requires_grad for name, value in found.items() if name != "loss")


def moving_textures(clips: int, blocks: int, length: int, size: int) -> Tensor:
    """Windows that move over periodic textures, [clips, blocks, 3, length, size, size] float64, as recorded."""
    from fill import input_of

    found = []
    for number in range(clips):
        small = input_of(f"texture{number}", 1, 3, 12, 12).double()
        texture = F.interpolate(small, (3 * size, 3 * size), mode="bilinear", align_corners=False)[0]
        vx, vy = (1.5 * input_of(f"velocity{number}", 2).double()).round().clamp(-2, 2).int().tolist()
        rows = torch.arange(size, 2 * size)
        frames = [
            texture[:, (rows + vy * f) % (3 * size)][:, :, (rows + vx * f) % (3 * size)] for f in range(blocks * length)
        ]
        found.append(torch.stack(frames).reshape(blocks, length, 3, size, size).transpose(1, 2))
    return torch.stack(found)


def check_steps(golden: Golden, steps: int, kind: torch.dtype, tolerance: float) -> Tensor:
    """Trains as recorded, and gives the memory."""
    given = golden.constructor
    network = Pretraining("resnet18", predicted=given["pred_step"], slots=given["mem_size"], dropout=0.0).to(kind)
    network.load_state_dict(own_names(golden.parameters())[0])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5)
    clips = moving_textures(golden.about["batch"], given["num_seq"], given["seq_len"], given["sample_size"]).to(kind)
    for step in range(steps):
        optimizer.zero_grad()
        figures = network(clips)
        figures["loss"].backward()
        norm = torch.stack([parameter.grad.norm() for parameter in network.parameters()]).norm()
        losses = [figures[name].item() for name in ("loss", "loss_forward", "loss_backward")]
        assert losses == pytest.approx(golden.outputs["loss"][step].tolist(), rel=tolerance)
        assert norm.item() == pytest.approx(golden.outputs["grad_l2"][step].item(), rel=tolerance)
        tops = [figures[f"top{k}_{way}"].item() for way in ("forward", "backward") for k in (1, 5)]
        assert tops == pytest.approx(golden.outputs["accuracy"][step].tolist(), abs=1.01 / 24)
        optimizer.step()
    return network.mb.detach()


def test_the_first_steps_of_adam_are_the_references():
    check_steps(Golden("train_steps"), 2, torch.float32, 1e-3)


@pytest.mark.slow
def test_four_steps_of_adam_in_float64_are_the_references():
    check_steps(Golden("train_steps"), 4, torch.float64, 1e-5)


@full_size
def test_twelve_steps_of_adam_and_the_memory_after_them_are_the_references():
    golden = Golden("train_steps")
    golden.check("memory_after", check_steps(golden, golden.about["steps"], torch.float64, 1e-5)[:4])
