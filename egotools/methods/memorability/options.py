"""What a training of M3-S can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from egotools.config import option, options_of
from egotools.lowlevel.m3s_row import FEATURES, ordered
from egotools.methods.memorability.reference import DataSet
from egotools.training.folds import FoldFile

RANKING = ("spearman", "mse-to-spearman")
RAW_ORDERS = {  # of the raw features in checkpoints of the reference: of its published runs, and unless told
    "published": FEATURES,
    "default": ("hog", "brightness", "contrast", "blurriness", "size_orig", "meanOF"),
}
RAW_ORDER = "Of the raw features in the checkpoint: published, default (the reference's), or names with commas."


def order_of(text: str) -> tuple[str, ...]:
    """The raw features in the order that `--raw-order` says.

    Raises:
        ValueError: it names no feature, an unknown one, or one twice.
    """
    names = RAW_ORDERS.get(text) or tuple(name.strip() for name in text.split(","))
    try:
        ordered(names)
    except ValueError as error:
        raise ValueError(f"--raw-order is published, default, or names of features: {error}") from error
    return names


@dataclass(frozen=True)
class Data:
    """Which scores are learned, and on which clips."""

    target: str = option("memorability", "Manifest column of the scores, from 0 to 1.")
    folds: str | None = option(
        None, "FILE.json:KEY, lists of test ids, one a fold; by default train is trained on and val tested."
    )

    def __post_init__(self) -> None:
        if self.folds is not None:
            FoldFile.parse(self.folds)

    @property
    def fold_file(self) -> FoldFile | None:
        """Where the folds are listed."""
        return None if self.folds is None else FoldFile.parse(self.folds)


@dataclass(frozen=True)
class Normalizing:
    """How the features are normalized."""

    norm: Literal["fit", "reference", "none"] | None = option(
        None, "Of raw features (m3s): by the training clips (fit), as published, or not; fit but for --weights."
    )
    reference: DataSet | None = option(  # noqa: RUF009 - frozen
        None, "Whose constants --norm reference takes; by default what the width of --weights tells, else memento10k."
    )
    standardize: tuple[str, ...] = option(
        (), "Further feature groups to mean 0 and deviation 1, by the training clips."
    )

    @property
    def data_set(self) -> DataSet:
        """Whose constants are taken."""
        return self.reference or "memento10k"

    def as_done(self) -> dict[str, Any]:
        """What is done, for reports; JSON-ready, hence Any."""
        norm = self.norm or "fit"
        return options_of(replace(self, norm=norm, reference=self.data_set if norm == "reference" else None))


@dataclass(frozen=True)
class Sources:
    """What published weights take beside themselves to score new videos."""

    pca: str | None = option(
        None, "For --weights: the PCA of hog that was released with them (.pickle); .npz, run:DIR."
    )
    hrnet_weights: str = option("DEFAULT", "For --weights: those of hrnet, as in extract.")
    csn_weights: str = option("DEFAULT", "For --weights: those of csn, as in extract.")
    reference: DataSet | None = option(  # noqa: RUF009 - frozen
        None, "For --weights: whose constants; by default what their width tells, else memento10k."
    )
    raw_order: str | None = option(None, f"For --weights. {RAW_ORDER}")

    def __post_init__(self) -> None:
        if self.raw_order is not None:
            order_of(self.raw_order)


# What `train.py` of modular-memorability does by default, and its constants (specs/memorability.md, section 7).
REFERENCE = {
    "hidden": (512, 64),
    "dropout": 0.0,
    "loss": "mse",
    "mse_tails_power": 4.0,
    "mse_tails_factor": 2.0,
    "mse_tails_center": 0.80099205,
    "spearman_strength": 1.0,
    "epochs": 20,
    "batch_size": 32,
    "shuffle": True,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 1e-5,
    "scheduler": "step",
    "scheduler_gamma": 0.2,
    "scheduler_step": 5,
    "norm": "reference",
}


@dataclass(frozen=True)
class Training:
    """How the network is trained; the defaults are the reference's."""

    hidden: tuple[int, ...] = option((512, 64), "Widths of the hidden layers.")
    dropout: float = option(0.0, "Share of each hidden layer's numbers that are dropped in training.")
    loss: Literal["mse", "l1", "mse-tails", "spearman", "mse-to-spearman"] = option(
        "mse", "What is minimized; mse-to-spearman goes from the one to the other over the epochs."
    )
    mse_tails_power: float = option(4.0, "Of the distance to the usual score, in mse-tails.")
    mse_tails_factor: float = option(2.0, "How much more the farthest scores weigh in mse-tails.")
    mse_tails_center: float | None = option(
        None, "The usual score in mse-tails; by default the training clips' mean (the reference: 0.80099205)."
    )
    spearman_strength: float = option(
        1.0, "Of the soft ranks: with 1, as in the reference, the loss is Pearson's; 0.01 ranks."
    )
    epochs: int = option(20, "Passes over the training clips.")
    batch_size: int = option(32, "Clips of a step; the last batch of an epoch may have fewer.")
    shuffle: bool = option(True, "Draw the clips in another order in each epoch.")
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "radam"] = option(
        "adam", "Weight decay is coupled (L2) but in adamw."
    )
    learning_rate: float = option(1e-3, "In the first epoch.")
    weight_decay: float = option(1e-5, "Of all parameters.")
    scheduler: Literal["step", "exponential", "cosine", "none"] = option(
        "step", "Of the learning rate, once an epoch: by --scheduler-gamma every so many or every epoch, or to 0."
    )
    scheduler_gamma: float = option(0.2, "Factor of step and exponential.")
    scheduler_step: int = option(5, "Epochs between two steps.")
    patience: int | None = option(None, "Stop after so many epochs without a better Spearman; by default never.")
    keep: Literal["last", "best"] = option("last", "Epoch whose weights are kept: the last, or the best on test clips.")
    seeds: int = option(1, "Trainings with other random choices, for mean and deviation; scores are their mean.")
    start_at_mean: bool = option(
        False, "Begin with the training clips' mean score instead of 0.5, from which the reference begins."
    )
    init: str | None = option(None, "Begin with these weights: a published checkpoint, or run:DIR.")
    raw_order: str | None = option(None, f"For --init. {RAW_ORDER}")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # Any: values of this command's options
        "reference": REFERENCE,
        "reference-videomem": {
            **REFERENCE,
            "loss": "mse-to-spearman",
            "learning_rate": 0.0004057400860408805,
            "weight_decay": 1.1226272823355355e-05,
            "scheduler_gamma": 0.2852061798531863,
            "scheduler_step": 8,
            "reference": "videomem",
        },
    }

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "seeds", "scheduler_step", "learning_rate", "spearman_strength")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"--{name.replace('_', '-')} is above 0, not {getattr(self, name)}")
        if not all(width > 0 for width in self.hidden):
            raise ValueError(f"--hidden are widths above 0, not {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout is a share from 0 to below 1, not {self.dropout}")
        if self.weight_decay < 0:
            raise ValueError(f"--weight-decay is 0 or above, not {self.weight_decay}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"--patience is above 0, not {self.patience}")
        if self.start_at_mean and self.init is not None:
            raise ValueError("--start-at-mean is for new networks, --init for trained ones")
        if self.raw_order is not None:
            if self.init is None:
                raise ValueError("--raw-order is for --init")
            order_of(self.raw_order)
        if self.loss in RANKING and self.batch_size < 2:
            raise ValueError(f"--loss {self.loss} ranks the clips of a batch: --batch-size 2 at least")


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and on which clips."""

    run: Path | None = option(None, "A run of 'egotools train memorability'.")  # noqa: RUF009 - frozen
    weights: Path | None = option(None, "Instead: a published checkpoint of M3-S.")  # noqa: RUF009 - frozen
    baseline: Literal["ridge", "svr"] | None = option(None, "Instead: a regressor, fitted now and not kept.")
    ablation: bool = option(False, "Also train anew on every subset of the run's feature groups.")
    target: str | None = option(None, "Manifest column of the scores; by default the run's, else memorability.")
    folds: str | None = option(None, "FILE.json:KEY, as in training; by default the run's.")
    split: str | None = option(
        None, "Evaluate the clips of this split; by default test if it has scores, else val; val with --baseline."
    )
    all_rows: bool = option(False, "Of --run: include its training clips, and all splits.")
    zero_similarity: bool = option(
        False, "Take all similarity columns of --weights as 0; similarities among --features are left out."
    )
    raw_order: str | None = option(None, f"For --weights. {RAW_ORDER}")
    draws: int = option(1000, "Of the clips, for the intervals.")

    def __post_init__(self) -> None:
        if self.run is None and self.weights is None and self.baseline is None:
            raise ValueError("--run says which run to evaluate; or --weights FILE, or --baseline ridge")
        if self.weights is not None and (self.run is not None or self.baseline is not None):
            raise ValueError("--weights stands alone, without --run and --baseline")
        if self.ablation and (self.run is None or self.baseline is not None):
            raise ValueError("--ablation trains anew as a run was trained: it needs --run, and no --baseline")
        if self.all_rows and (self.run is None or self.baseline is not None):
            raise ValueError("--all-rows is for --run, which alone has training clips")
        if self.raw_order is not None:
            if self.weights is None:
                raise ValueError("--raw-order is for --weights")
            order_of(self.raw_order)
        if self.draws < 1:
            raise ValueError(f"--draws is above 0, not {self.draws}")
        Data(folds=self.folds)
