"""The options of temporal segmentation: data, training, evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from egotools.config import check_positive, option
from egotools.tables.chunks import Chunking
from egotools.tables.sequences import Reading

Axis = Literal["batch", "none", "time"]
Padding = Literal["trim", "full"]
Average = Literal["corpus", "video"]

CHUNK, SLOTS, BATCH = 20, 1200, 64  # as published
AXIS = "Which slots the refiner's attention compares: time (of one video), batch (of several videos), or none"
PADDING = "Padding of short videos: trim pads as little as possible and ignores it, full pads to --slots"


@dataclass(frozen=True)
class Data:
    """Which rows make a sequence, and what the network sees of it."""

    train_views: tuple[str, ...] = option((), "Views to train on; by default all.")
    eval_views: tuple[str, ...] = option((), "Views to validate on; by default those of training.")
    classes: Path | None = option(  # noqa: RUF009 - frozen
        None, "File of the classes in their order; by default the sorted labels of the segments."
    )
    chunk: int = option(CHUNK, "Rows of features that become one slot: their maximum, and most frequent label.")
    slots: int = option(SLOTS, "Most slots of an item; longer sequences are cut into several.")
    zoom: float = option(0.5, "How often an item is stretched or squeezed in training, from 0 to 1.")
    frame_shift: int = option(0, "Rows by which labels are later than features; the published loaders: 1.")
    shared_span: bool = option(False, "A view that ends early also shortens the views after it, as published.")

    def __post_init__(self) -> None:
        check_positive(self, "chunk", "slots")
        if not 0 <= self.zoom <= 1:
            raise ValueError(f"--zoom must be from 0 to 1, not {self.zoom}")

    @property
    def chunking(self) -> Chunking:
        """How items become slots in training."""
        return Chunking(self.chunk, self.slots, self.zoom)

    def reading(self, views: tuple[str, ...]) -> Reading:
        """Which rows of these views make a sequence."""
        return Reading(views, self.frame_shift, shared_span=self.shared_span)


PAPER = {
    "chunk": CHUNK,
    "slots": SLOTS,
    "zoom": 0.5,
    "frame_shift": 0,
    "shared_span": False,
    "width": 256,
    "padding": "trim",
    "refiner_dropout": False,
    "smoothing": 0.17,
    "epochs": 400,
    "batch_size": BATCH,
    "learning_rate": 1e-2,
    "step": 60,
    "factor": 0.5,
    "weight_decay": 1e-4,
}


@dataclass(frozen=True)
class Training:
    """What is trained, and how; the defaults are those of the paper."""

    init: str | None = option(None, "Refiner of features, frozen: run:DIR of 'train two-stream', or a checkpoint.")
    head: Path | None = option(  # noqa: RUF009 - frozen
        None, "Start from this published checkpoint of C2F-TCN; its classes must have the order of --classes."
    )
    attention_axis: Axis | None = option(  # noqa: RUF009 - frozen
        None, f"{AXIS}; by default that of the pre-training, none for a checkpoint."
    )
    refiner_dropout: bool = option(False, "Keep the refiner's dropout on in training, although it is frozen.")
    refine_student: bool = option(False, "Also refine the view that a pre-training by sync-kd imitates.")
    width: int = option(256, "Channels of the finest levels of the network.")
    padding: Padding = option(  # noqa: RUF009 - frozen
        "trim", f"{PADDING}, with the published means over it."
    )
    smoothing: float = option(0.17, "Weight of the smoothing loss beside the cross entropy.")
    epochs: int = option(400, "Passes over the training items.")
    batch_size: int = option(BATCH, "Items a batch; the last batch of an epoch may have fewer.")
    learning_rate: float = option(1e-2, "Initial learning rate of Adam.")
    step: int = option(60, "Epochs between two reductions of the learning rate.")
    factor: float = option(0.5, "What the learning rate is multiplied by then.")
    weight_decay: float = option(1e-4, "L2 regularization of all parameters.")
    patience: int | None = option(None, "Stop after this many epochs without a better score on val; by default never.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # Any: values of this command's options
        "small": {
            **PAPER,
            "width": 64,
            "epochs": 100,
            "batch_size": 8,
            "learning_rate": 1e-3,
            "step": 40,
        },
        "paper": PAPER,
        "reference": {
            **PAPER,
            "attention_axis": "batch",
            "refiner_dropout": True,
            "padding": "full",
            "frame_shift": 1,
            "shared_span": True,
        },
    }

    def __post_init__(self) -> None:
        check_positive(self, "width", "epochs", "batch_size", "learning_rate", "step", "factor", "patience")
        for name in ("smoothing", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be 0 or above, not {getattr(self, name)}")
        if self.width % 2:
            raise ValueError(f"--width must be even, not {self.width}: coarse levels have half as many channels")
        if self.init is None:
            for flag, is_given in (
                ("--attention-axis", self.attention_axis not in (None, "batch")),  # which preset reference sets
                ("--refine-student", self.refine_student),
            ):
                if is_given:
                    raise ValueError(f"{flag} is for a refiner: give --init")


@dataclass(frozen=True)
class Scoring:
    """How predictions are compared with the truth."""

    average: Average = option(  # noqa: RUF009 - frozen
        "corpus", "Count over all videos together (corpus), or take the mean of each (video)."
    )
    tail: Path | None = option(  # noqa: RUF009 - frozen
        None, "File of rare classes, one a line: also report the frame accuracy of these and of the others."
    )


@dataclass(frozen=True)
class Applying:
    """What is evaluated: a run, or a published checkpoint; on which sequences, and how."""

    run: Path | None = option(None, "Run of 'egotools train segmentation' to evaluate.")  # noqa: RUF009 - frozen
    head: Path | None = option(None, "Published checkpoint of C2F-TCN to evaluate instead.")  # noqa: RUF009 - frozen
    weights: Literal["last", "best"] = option("last", "Of a run: the last epoch, or the best on val.")
    split: str | None = option(None, "Split to evaluate; by default test, else val.")
    views: tuple[str, ...] = option((), "Views to evaluate; by default all.")
    all_rows: bool = option(False, "Also evaluate recordings that the run was trained on, and all splits.")
    chunks: tuple[int, ...] = option(
        (), "Rows of a slot; several are averaged, such as 10,17,24; by default the run's."
    )
    padding: Padding | None = option(  # noqa: RUF009 - frozen
        None, f"{PADDING}; by default the run's, trim with --head."
    )
    batch_size: int = option(BATCH, "Items a batch; of no effect on predictions, but for an attention axis batch.")
    classes: Path | None = option(None, "With --head: file of its classes in their order.")  # noqa: RUF009 - frozen
    init: str | None = option(None, "With --head: the refiner before it, run:DIR or a checkpoint.")
    attention_axis: Axis | None = option(  # noqa: RUF009 - frozen
        None, f"With --head: {AXIS}; by default as in training."
    )
    refine_student: bool = option(False, "With --head: as in training.")
    frame_shift: int | None = option(None, "Rows by which labels are later than features; by default the run's.")
    shared_span: bool | None = option(None, "With --head: as in training.")

    def __post_init__(self) -> None:
        check_positive(self, "batch_size")
        if any(chunk < 1 for chunk in self.chunks):
            raise ValueError(f"--chunks must be above 0, not {self.chunks}")
        if self.head is None:
            for name in ("classes", "init", "attention_axis", "refine_student", "shared_span"):
                if getattr(self, name):
                    raise ValueError(f"--{name.replace('_', '-')} is for --head; a run has its own")
        elif self.classes is None:
            raise ValueError("--head needs --classes, the file that says which class is which")
