"""Checkpoints of tiny networks in the layouts of EgoVLP and LaViLa, objects of their programs beside the tensors."""

from __future__ import annotations

import argparse
import sys
from collections import OrderedDict
from pathlib import Path, PosixPath
from types import ModuleType

import pytest
import torch

from egotools.nn.timesformer import Shape, SpaceTimeTransformer

EGOVLP = Shape(width=128, depth=2, patch=8, grid=3, frames=16, joint=6)  # two heads
LAVILA = Shape(width=128, depth=2, patch=8, grid=3, frames=4, joint=6, has_bias=False, is_clip=True)


def drawn(shape: Shape, seed: int = 0) -> SpaceTimeTransformer:
    """A network whose norms and biases are drawn, too."""
    torch.manual_seed(seed)
    network = SpaceTimeTransformer(shape).eval()
    for parameter in network.parameters():
        if parameter.ndim < 2:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    return network


def write_egovlp(path: Path, network: SpaceTimeTransformer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As EgoVLP's trainer writes: its `ConfigParser`, of a module that readers lack, with paths and options."""
    module = ModuleType("parse_config_dist_multi")
    module.ConfigParser = type("ConfigParser", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    config = module.ConfigParser()
    config.args, config._save_dir = argparse.Namespace(rank=0), PosixPath("results")
    config._config = OrderedDict(name="EgoClip_4f")
    state = {}
    for name, value in network.state_dict().items():
        is_projection = name.startswith("projection.")
        state["module." + (name.replace("projection.", "vid_proj.0.") if is_projection else f"video_model.{name}")] = (
            value
        )
    state["module.text_model.embeddings.word_embeddings.weight"] = torch.ones(5, 2)
    state["module.txt_proj.1.weight"] = torch.ones(6, 2)
    torch.save({"arch": "FrozenInTime", "epoch": 4, "state_dict": state, "monitor_best": 0.5, "config": config}, path)
    return path


def write_lavila(path: Path, network: SpaceTimeTransformer, *, fine_tuned: bool = False) -> Path:
    """As LaViLa's programs write: their options beside the tensors; a classifier's file has no projection."""
    state = {f"module.visual.{name}": value for name, value in network.state_dict().items() if "projection" not in name}
    if fine_tuned:
        state["module.fc_cls.weight"] = torch.ones(106, 128)
    else:
        state["module.image_projection"] = network.projection.weight.T.contiguous()  # type: ignore[union-attr, operator]
        state["module.text_projection"] = torch.ones(2, 6)
        state["module.transformer.resblocks.0.ln_1.weight"] = torch.ones(2)
        state["module.logit_scale"] = torch.tensor(1.0)
    options = argparse.Namespace(model="CLIP_OPENAI_TIMESFORMER_BASE", project_embed_dim=6)
    torch.save({"epoch": 5, "state_dict": state, "best_acc1": 36.1, "args": options}, path)
    return path
