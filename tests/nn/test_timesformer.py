"""The network of EgoVLP and LaViLa against an explicit loop over tokens and against other libraries."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from space_time_files import EGOVLP, LAVILA, drawn
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.nn.timesformer import Block, Shape, SpaceTimeTransformer, in_time

EXACT = {"rtol": 1e-4, "atol": 1e-5}  # float32, sums of 128 to 512 terms


def attended(query: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """What one token [D] takes of others [n, D], head by head."""
    size = len(query) // heads
    parts = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        weights = torch.softmax(keys[:, own] @ query[own] / size**0.5, 0)
        parts.append(weights @ values[:, own])
    return torch.cat(parts)


def slow_attention(layer: torch.nn.Module, x: Tensor, frames: int, along: str) -> Tensor:
    """Token by token [N, D]: the first sees all, another the first and those at its place, or of its frame."""
    q, k, v = layer.qkv(x).chunk(3, dim=-1)
    patches = (len(x) - 1) // frames
    rows = []
    for token in range(len(x)):
        frame, place = divmod(token - 1, patches)
        if token == 0:
            seen = list(range(len(x)))
        elif along == "time":
            seen = [0, *(1 + other * patches + place for other in range(frames))]
        else:
            seen = [0, *(1 + frame * patches + other for other in range(patches))]
        rows.append(attended(q[token], k[seen], v[seen], layer.heads))
    return layer.proj(torch.stack(rows))


def slow_block(block: Block, x: Tensor, frames: int, *, is_clip: bool) -> Tensor:
    after_time = x + slow_attention(block.timeattn, block.norm3(x), frames, "time")
    after_space = x + slow_attention(block.attn, block.norm1(after_time), frames, "space")  # x, not after_time
    inner = block.mlp["fc1"](block.norm2(after_space))
    inner = inner * torch.sigmoid(1.702 * inner) if is_clip else F.gelu(inner)
    return after_space + block.mlp["fc2"](inner)


def slow_network(network: SpaceTimeTransformer, clip: Tensor) -> Tensor:
    """A clip [3, F, H, W] to what the class token becomes."""
    patch, frames = network.shape.patch, clip.shape[1]
    tokens = [network.cls_token[0, 0] + network.pos_embed[0, 0]]
    kernel = network.patch_embed["proj"]
    for frame in range(frames):
        cells = F.unfold(clip[None, :, frame], patch, stride=patch)[0].T  # [P, 3 * patch * patch], row by row
        for place, cell in enumerate(cells):
            value = kernel.weight.flatten(1) @ cell + (0 if kernel.bias is None else kernel.bias)
            tokens.append(value + network.pos_embed[0, 1 + place] + network.temporal_embed[0, frame])
    x = network.ln_pre(torch.stack(tokens))
    for block in network.blocks:
        x = slow_block(block, x, frames, is_clip=network.shape.is_clip)
    return network.projection(network.norm(x[0]))


@pytest.mark.parametrize("shape", [EGOVLP, LAVILA], ids=["egovlp", "lavila"])
def test_the_network_equals_a_loop_over_its_tokens(shape: Shape) -> None:
    network = drawn(shape)
    clips = torch.randn(2, 3, 3, 24, 24)
    with torch.inference_mode():
        expected = torch.stack([slow_network(network, clip) for clip in clips])
        torch.testing.assert_close(network(clips), expected, **EXACT)


def without_time(network: SpaceTimeTransformer) -> SpaceTimeTransformer:
    """The attention in time gives nothing, and neither do positions in time, as when training begins."""
    torch.nn.init.zeros_(network.temporal_embed)
    for block in network.blocks:
        torch.nn.init.zeros_(block.timeattn.proj.weight)
        torch.nn.init.zeros_(block.timeattn.proj.bias)
    return network


def test_on_one_frame_it_is_the_vision_transformer_that_it_began_as() -> None:
    timm = pytest.importorskip("timm")
    network = without_time(drawn(replace(EGOVLP, joint=None)))
    vit = timm.models.VisionTransformer(
        img_size=24, patch_size=8, embed_dim=128, depth=2, num_heads=2, num_classes=0
    ).eval()
    own = network.state_dict()
    vit.load_state_dict({name: own[name] for name in vit.state_dict()})
    frames = torch.randn(3, 3, 24, 24)
    with torch.inference_mode():
        torch.testing.assert_close(network(frames[:, :, None]), vit(frames), **EXACT)


CLIP_NAMES = {
    "attn.qkv.weight": "attn.in_proj_weight",
    "attn.qkv.bias": "attn.in_proj_bias",
    "attn.proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "norm1": "ln_1",
    "norm2": "ln_2",
    "blocks": "transformer.resblocks",
    "norm.": "ln_post.",
    "patch_embed.proj": "conv1",
}


def clip_tensors(network: SpaceTimeTransformer) -> dict[str, Tensor]:
    """The network's tensors under CLIP's names, without those for time."""
    state = network.state_dict()
    found = {
        "class_embedding": state["cls_token"][0, 0],
        "positional_embedding": state["pos_embed"][0],
        "proj": state["projection.weight"].T,
    }
    for name, value in state.items():
        if not any(part in name for part in ("embed.", "blocks.", "norm.", "ln_pre.")) or "time" in name:
            continue
        if "norm3" in name:
            continue
        for ours, theirs in CLIP_NAMES.items():
            name = name.replace(ours, theirs)
        found[name] = value
    return found


def test_on_one_frame_lavila_is_clip() -> None:
    transformer = pytest.importorskip("open_clip.transformer")
    network = without_time(drawn(LAVILA))
    for layer in network.modules():
        if isinstance(layer, torch.nn.LayerNorm):
            layer.eps = 1e-5  # CLIP's; LaViLa has 1e-6 in its blocks
    clip = transformer.VisionTransformer(
        image_size=24, patch_size=8, width=128, layers=2, heads=2, mlp_ratio=4, output_dim=6,
        act_layer=transformer.QuickGELU,
    ).eval()  # fmt: skip
    clip.load_state_dict(clip_tensors(network))
    frames = torch.randn(3, 3, 24, 24)
    with torch.inference_mode():
        torch.testing.assert_close(network(frames[:, :, None]), clip(frames), **EXACT)


def test_a_gate_scales_what_the_attention_in_time_gives() -> None:
    network = drawn(replace(LAVILA, is_gated=True))
    clips = torch.randn(1, 3, 4, 24, 24)
    plain = drawn(LAVILA)
    plain.load_state_dict({name: value for name, value in network.state_dict().items() if "alpha" not in name})
    with torch.inference_mode():
        open_, shut = [], []
        for gate, found in ((20.0, open_), (0.0, shut)):
            for block in network.blocks:
                torch.nn.init.constant_(block.alpha_timeattn, gate)
            found.append(network(clips))
        torch.testing.assert_close(open_[0], plain(clips), **EXACT)
        for block in plain.blocks:
            torch.nn.init.zeros_(block.timeattn.proj.weight)
            torch.nn.init.zeros_(block.timeattn.proj.bias)
        torch.testing.assert_close(shut[0], plain(clips), **EXACT)


def test_positions_in_time_are_cut_or_filled_as_published() -> None:
    learned = torch.tensor([[[0.0], [4.0]]])
    assert in_time(learned, 1, linear=True).flatten().tolist() == [0.0]
    assert in_time(learned, 4, linear=True).flatten().tolist() == [0.0, 1.0, 3.0, 4.0]  # torch's, corners not aligned
    assert in_time(learned, 4, linear=False).flatten().tolist() == [0.0, 4.0, 0.0, 0.0]


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="frames of 4 patches, not 9"):
        drawn(EGOVLP)(torch.zeros(1, 3, 2, 16, 16))
