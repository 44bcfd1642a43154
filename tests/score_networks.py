"""The recorded networks of M3-S."""

from __future__ import annotations

import itertools

import fill
import torch

CASES = {"memento10k": (3635, 434), "videomem": (3482, 376)}


def shapes(width):
    widths = [width, 512, 64, 1]
    return {
        f"mlp.linear_{n}.0.{kind}": (after, before) if kind == "weight" else (after,)
        for n, (before, after) in enumerate(itertools.pairwise(widths))
        for kind in ("weight", "bias")
    }


def features(width, first_clusters, clips, tag=""):
    """The reference's recorded inputs, concatenated: raw, hrnet, csn, two one-hots."""
    raw = fill.input_of(f"raw{tag}", clips, 15)
    deep = [0.3 * fill.input_of(f"{name}{tag}", clips, size).abs() for name, size in (("hrnet", 720), ("csn", 2048))]
    hot = torch.zeros(clips, width - 15 - 720 - 2048)
    for name, start, count in (("hrnet", 0, first_clusters), ("csn", first_clusters, hot.shape[1] - first_clusters)):
        index = (100 * fill.input_of(f"cluster_{name}{tag}", clips).abs()).int() % count
        hot[torch.arange(clips), start + index] = 1
    return torch.cat([raw, *deep, hot], dim=1), 0.4 + 0.6 * torch.sigmoid(fill.input_of(f"target{tag}", clips))
