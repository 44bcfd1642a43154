"""The options of view-invariance pre-training. Does not import torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from egotools.config import check_positive, option, options_of
from egotools.tables.chunks import Chunking
from egotools.tables.sequences import Reading

# By objective: epochs of the published refiners, and the learning rate of the published code.
EPOCHS = {"view-invariance": 250, "simple-3d": 80, "sync-kd": 200}
RATES = {"view-invariance": 1e-4, "simple-3d": 1e-4, "sync-kd": 1e-2}

# What the published code does (specs/two_stream.md, sections 1 to 3), with its quirks.
REFERENCE = {
    "size": "paper",
    "rate_step": 100,
    "rate_factor": 0.5,
    "batch_size": 8,
    "chunk": 20,
    "slots": 1200,
    "zoom": 0.5,
    "dropout": 0.1,
    "view_offset": 1.0,
    "attention_axis": "batch",
    "mask_padding": False,
    "trim_padding": False,
    "frame_shift": 1,
    "span_round": 1000,
    "seed": 42,
}


@dataclass(frozen=True)
class TwoStream:
    """What is learned from which views, and how."""

    objective: Literal["view-invariance", "simple-3d", "sync-kd"] = option(
        "view-invariance",
        "view-invariance and simple-3d refine both views; sync-kd refines the teacher's towards the student's.",
    )
    student: str = option("e4", "View without labels later on, such as the egocentric one; the same in all objectives.")
    teacher: str = option("v3", "View with labels later on, such as the exocentric one; the same in all objectives.")
    third: str | None = option(None, "A third view, for view-invariance and simple-3d; an extension of egotools.")
    triple: Literal["draw", "sum"] = option(
        "draw", "With --third: draw one of the three pairs of views in each step, or add up their losses."
    )
    size: Literal["paper", "small"] = option(
        "paper", "Networks of the paper (1.5 billion parameters at 2048 features), or one narrower layer a stack."
    )
    epochs: int | None = option(
        None, "Passes over the items; by default 250 (view-invariance), 80 (simple-3d), 200 (sync-kd)."
    )
    learning_rate: float | None = option(None, "Of SGD; by default 1e-4, and 1e-2 for sync-kd.")
    stream_rate: float | None = option(
        None, "Learning rate of the stream that only training needs; by default that of the refiner."
    )
    rate_step: int = option(100, "Epochs after which the learning rates are multiplied by --rate-factor, repeatedly.")
    rate_factor: float = option(0.5, "See --rate-step.")
    batch_size: int = option(8, "Items a batch.")
    chunk: int = option(20, "Rows of features that become one slot, as their maximum.")
    slots: int = option(1200, "Most slots of an item; longer sequences become several items.")
    zoom: float = option(0.5, "Probability that an item has chunks of another size, from half to twice as many rows.")
    dropout: float = option(0.1, "Dropout probability of all layers.")
    view_offset: float = option(
        1.0,
        "In training the stream gets the first view plus this and the second minus it, as published; 0: as they are.",
    )
    attention_axis: Literal["none", "batch", "time"] = option(
        "none", "What a slot attends to: nothing else, the same slot of the other items (published), or its own item."
    )
    mask_padding: bool = option(True, "Leave padded slots out of the losses; the published code does not.")
    trim_padding: bool = option(
        True, "Leave out slots that no item of a batch fills; otherwise items are padded to --slots, as published."
    )
    frame_shift: int = option(0, "With --segments: rows by which labels are earlier; the published loaders: 1.")
    span_round: int = option(
        0, "With --segments: round the end of each sequence down to a multiple of so many rows; published: 1000."
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {  # Any: values of this command's options
        "reference": REFERENCE,
        "paper": REFERENCE,
        "report": {**REFERENCE, "learning_rate": 1e-3},
        "small": {"size": "small"},
    }

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "learning_rate", "stream_rate", "rate_step", "rate_factor", "batch_size")
        check_positive(self, "chunk", "slots")
        for name in ("zoom", "dropout"):
            if not 0 <= getattr(self, name) <= (1 if name == "zoom" else 0.99):
                raise ValueError(f"--{name} must be a probability from 0 to below 1, not {getattr(self, name)}")
        if min(self.frame_shift, self.span_round) < 0:
            raise ValueError("--frame-shift and --span-round must be 0 or above")
        if self.third is not None and self.objective == "sync-kd":
            raise ValueError("--third is for view-invariance and simple-3d: sync-kd imitates one view")
        views = self.views
        if not all(views) or len({*views}) < len(views):
            raise ValueError(f"--student, --teacher and --third must be different views, not {', '.join(views)}")

    @property
    def views(self) -> tuple[str, ...]:
        """Student, teacher, and the third if there is one."""
        return (self.student, self.teacher, *(() if self.third is None else (self.third,)))

    @property
    def passes(self) -> int:
        """Epochs."""
        return EPOCHS[self.objective] if self.epochs is None else self.epochs

    @property
    def refiner_rate(self) -> float:
        """Learning rate of the refiner."""
        return RATES[self.objective] if self.learning_rate is None else self.learning_rate

    @property
    def chunking(self) -> Chunking:
        """How items become slots in training."""
        return Chunking(self.chunk, self.slots, self.zoom)

    @property
    def reading(self) -> Reading:
        """Which rows of these views make a sequence."""
        return Reading(self.views, self.frame_shift, self.span_round)

    @property
    def joins_items(self) -> bool:
        """Whether no slot looks at another and padding is in no way wanted: items then need none."""
        return self.attention_axis == "none" and self.mask_padding and self.trim_padding

    def as_done(self) -> dict[str, Any]:
        """What is done, JSON-ready (hence Any): with the defaults of the objective, and the size of every stack."""
        from egotools.nn.view_invariance import SIZES

        chosen = {"epochs": self.passes, "learning_rate": self.refiner_rate}
        chosen["stream_rate"] = self.stream_rate or self.refiner_rate
        return {**options_of(self), **chosen, "sizes": asdict(SIZES[self.size])}
