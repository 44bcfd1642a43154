"""The options of M3-S: data, normalization, training, evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from egotools.config import check_positive, option, options_of
from egotools.lowlevel.m3s_row import FEATURES, ordered
from egotools.methods.memorability.reference import DataSet
from egotools.training.folds import FoldFile

RANKING = ("spearman", "mse-to-spearman")
RAW_ORDERS = {  # of the raw features in checkpoints of the reference: of its published runs, and unless told
    "published": FEATURES,
    "default": ("hog", "brightness", "contrast", "blurriness", "size_orig", "meanOF"),
}
RAW_ORDER = "order of the raw features in the checkpoint: published, default (the reference's), or names with commas."


def order_of(text: str) -> tuple[str, ...]:
    """The raw features in the order that `--raw-order` says.

    Raises:
        ValueError: it names no feature, an unknown one, or one twice.
    """
    names = RAW_ORDERS.get(text) or tuple(name.strip() for name in text.split(","))
    try:
        ordered(names)
    except ValueError as error:
        raise ValueError(f"--raw-order must be published, default, or names of features: {error}") from error
    return names


def _check_order(order: str | None, weights: str | Path | None, flag: str) -> None:
    if order is not None:
        if weights is None:
            raise ValueError(f"--raw-order is for {flag}")
        order_of(order)


@dataclass(frozen=True)
class Data:
    """Which scores to predict, and on which clips to train."""

    target: str = option("memorability", "Manifest column of the scores, from 0 to 1.")
    folds: str | None = option(
        None, "FILE.json:KEY, one list of test ids a fold; by default one fold, of the splits train and val."
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
        None,
        "Normalization of raw features (m3s); fit (to the training clips) by default, reference with --weights.",
    )
    reference: DataSet | None = option(  # noqa: RUF009 - frozen
        None, "Data set whose constants --norm reference uses; by default by the width of --weights, else memento10k."
    )
    standardize: tuple[str, ...] = option(
        (), "Further feature groups to standardize to mean 0 and deviation 1 on the training clips."
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
    """What published weights need to score new videos."""

    pca: str | None = option(
        None, "For --weights: the PCA of hog that was released with them (.pickle), or a .npz or run:DIR."
    )
    hrnet_weights: str = option("DEFAULT", "For --weights: weights of hrnet, as in extract.")
    csn_weights: str = option("DEFAULT", "For --weights: weights of csn, as in extract.")
    reference: DataSet | None = option(  # noqa: RUF009 - frozen
        None, "For --weights: data set of the constants; by default that of their width, else memento10k."
    )
    raw_order: str | None = option(None, f"For --weights: {RAW_ORDER}")

    def __post_init__(self) -> None:
        _check_order(self.raw_order, "videos", "--weights")


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
    """How the network is trained; the defaults are those of the reference."""

    hidden: tuple[int, ...] = option((512, 64), "Widths of the hidden layers.")
    dropout: float = option(0.0, "Dropout probability of each hidden layer.")
    loss: Literal["mse", "l1", "mse-tails", "spearman", "mse-to-spearman"] = option(
        "mse", "Loss; mse-to-spearman moves from mse to spearman over the epochs."
    )
    mse_tails_power: float = option(4.0, "Power of the distance from the center in mse-tails.")
    mse_tails_factor: float = option(2.0, "Extra weight of the farthest scores in mse-tails.")
    mse_tails_center: float | None = option(
        None, "Center of mse-tails; by default the mean score of the training clips (the reference: 0.80099205)."
    )
    spearman_strength: float = option(
        1.0, "Strength of the soft ranks: at 1, as in the reference, the loss is Pearson's; at 0.01 it ranks."
    )
    epochs: int = option(20, "Passes over the training clips.")
    batch_size: int = option(32, "Clips a batch; the last batch of an epoch may have fewer.")
    shuffle: bool = option(True, "Shuffle the clips in each epoch.")
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "radam"] = option(
        "adam", "Optimizer; weight decay is L2 regularization except in adamw."
    )
    learning_rate: float = option(1e-3, "Initial learning rate.")
    weight_decay: float = option(1e-5, "Weight decay of all parameters.")
    scheduler: Literal["step", "exponential", "cosine", "none"] = option(
        "step",
        "Learning rate schedule: a factor every few epochs or every epoch, half a cosine to 0, or none.",
    )
    scheduler_gamma: float = option(0.2, "Factor of the schedules step and exponential.")
    scheduler_step: int = option(5, "Epochs between two steps of the schedule step.")
    patience: int | None = option(None, "Stop after this many epochs without a better Spearman; by default never.")
    keep: Literal["last", "best"] = option(
        "last", "Keep the weights of the last epoch, or of the best on the test clips."
    )
    seeds: int = option(1, "Number of seeds; one network is trained with each, and scores are their mean.")
    start_at_mean: bool = option(
        False, "Start from the mean score of the training clips instead of 0.5, as in the reference."
    )
    init: str | None = option(None, "Start from these weights: a published checkpoint, or run:DIR.")
    raw_order: str | None = option(None, f"For --init: {RAW_ORDER}")

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
        check_positive(self, "epochs", "batch_size", "seeds", "scheduler_step", "learning_rate", "spearman_strength")
        check_positive(self, "patience")
        if not all(width > 0 for width in self.hidden):
            raise ValueError(f"--hidden must be widths above 0, not {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout must be from 0 to below 1, not {self.dropout}")
        if self.weight_decay < 0:
            raise ValueError(f"--weight-decay must be 0 or above, not {self.weight_decay}")
        if self.start_at_mean and self.init is not None:
            raise ValueError("--start-at-mean is for new networks, --init for trained ones")
        _check_order(self.raw_order, self.init, "--init")
        if self.loss in RANKING and self.batch_size < 2:
            raise ValueError(f"--loss {self.loss} ranks the clips of a batch: --batch-size must be 2 or more")


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and on which clips."""

    run: Path | None = option(None, "Run of 'egotools train memorability' to evaluate.")  # noqa: RUF009 - frozen
    weights: Path | None = option(None, "Published checkpoint of M3-S to evaluate instead.")  # noqa: RUF009 - frozen
    baseline: Literal["ridge", "svr"] | None = option(None, "Baseline to fit and evaluate instead; it is not kept.")
    ablation: bool = option(False, "Also train on every subset of the run's feature groups.")
    target: str | None = option(None, "Manifest column of the scores; by default the run's, else memorability.")
    folds: str | None = option(None, "FILE.json:KEY, as in training; by default the run's.")
    split: str | None = option(
        None, "Evaluate the clips of this split; by default test if it has scores, else val; val with --baseline."
    )
    all_rows: bool = option(False, "With --run: also evaluate its training clips, and all splits.")
    zero_similarity: bool = option(
        False, "Take all similarity columns of --weights as 0; similarities among --features are left out."
    )
    raw_order: str | None = option(None, f"For --weights: {RAW_ORDER}")
    draws: int = option(1000, "Bootstrap draws of the clips, for the confidence intervals.")

    def __post_init__(self) -> None:
        if self.run is None and self.weights is None and self.baseline is None:
            raise ValueError("--run, --weights or --baseline is needed: what to evaluate")
        if self.weights is not None and (self.run is not None or self.baseline is not None):
            raise ValueError("--weights cannot be combined with --run or --baseline")
        if self.ablation and (self.run is None or self.baseline is not None):
            raise ValueError("--ablation trains as a run was trained: it needs --run, without --baseline")
        if self.all_rows and (self.run is None or self.baseline is not None):
            raise ValueError("--all-rows needs --run, without --baseline")
        _check_order(self.raw_order, self.weights, "--weights")
        check_positive(self, "draws")
        Data(folds=self.folds)
