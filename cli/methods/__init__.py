"""`egotools train`, `eval` and `predict`: a file a method, loaded when one of its commands is called."""

import os

import click

from ..groups import LazyGroup

TRAIN = {
    "probe": ("methods.probe:train", "A linear classifier on frozen features, kept as a run."),
    "pca": ("methods.pca:train", "Principal components of cached features, kept as a run."),
    "memorability": ("methods.memorability:train", "M3-S: how well videos are remembered, kept as a run."),
    "two-stream": ("methods.two_stream:train", "View-invariance pre-training on synchronised views, kept as a run."),
    "segmentation": ("methods.segmentation:train", "C2F-TCN: a class for every moment of a video, kept as a run."),
    "storyboard": ("methods.storyboard:train", "Memory Storyboard: one long stream, seen once, kept as a run."),
    "memdpc": ("methods.memdpc:train", "MemDPC: predictive coding of videos, without labels, kept as a run."),
    "replai": ("methods.replai:train", "RepLAI: frames and sound around moments of interaction, kept as a run."),
    "action": (
        "methods.action:train",
        "A classifier of clips, from videos: MemDPC's or RepLAI's network, or its last layers.",
    ),
    "state-change": ("methods.state_change:train", "Whether an object's state changes, and when, off cached features."),
    "anticipation": ("methods.anticipation:train", "The actions that will follow, off cached features."),
}
TOGETHER = ("memdpc", "replai", "action")  # what trains in several processes under torchrun
EVALUATE = {
    "knn": ("methods.knn:evaluate", "A cosine vote among the nearest clips."),
    "retrieval": ("methods.retrieval:evaluate", "R@k: whether a clip of the same class is among the nearest."),
    "svm": ("methods.svm:evaluate", "A linear support vector machine, its C by cross-validation."),
    "probe": ("methods.probe:evaluate", "A linear classifier on frozen features: fitted here, or a run's."),
    "memorability": ("methods.memorability:evaluate", "Memorability scores against the true ones."),
    "action": ("methods.action:evaluate", "Classes of clips by a run of 'train action': over crops, windows or rows."),
    "replai": ("methods.replai:evaluate", "Whose sound it is, and the order of changes, by a run of 'train replai'."),
    "segmentation": ("methods.segmentation:evaluate", "Predicted segments against the true ones."),
    "state-change": ("methods.state_change:evaluate", "Changes of state by a run of 'train state-change'."),
    "anticipation": ("methods.anticipation:evaluate", "Actions to come by a run of 'train anticipation'."),
    "map": ("methods.map:evaluate", "A picture of features: each row a point, near what is alike."),
}
PREDICT = {
    "probe": ("methods.probe:predict", "The class of each video and its probability."),
    "memorability": ("methods.memorability:predict", "How well each video is remembered, from 0 to 1."),
}


@click.group(cls=LazyGroup, table=TRAIN)
@click.pass_context
def train(context: click.Context) -> None:
    """Train on cached features, or on videos, and keep what was learned as a run.

    \b
    egotools train probe --features caches/mine/csn.lmdb --manifest m.csv --label action --out runs/p
    """
    is_one_of_many = "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    if is_one_of_many and context.invoked_subcommand not in TOGETHER:  # each process would train the same
        context.fail(f"train {context.invoked_subcommand} trains in one process: start it without torchrun")


@click.group(cls=LazyGroup, table=EVALUATE)
def evaluate() -> None:
    """Evaluate cached features, runs, or predictions in files.

    \b
    egotools eval knn --features caches/mine/csn.lmdb --manifest m.csv --label action
    """


@click.group(cls=LazyGroup, table=PREDICT)
def predict() -> None:
    """Apply a run to new videos, straight from their files.

    \b
    egotools predict probe --run runs/p new.mp4
    egotools predict memorability --run runs/m new.mp4
    """
