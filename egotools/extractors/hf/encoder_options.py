"""The options of encoders of frames, clips and sound, and what of their recipes does not depend on the input."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from egotools.config import option
from egotools.errors import ExtractorError
from egotools.extractors.hf.checkpoints import Checkpoint, checkpoint, with_weights
from egotools.extractors.hf.models import Encoder, loaded
from egotools.extractors.hf.processors import read_processor
from egotools.types import FloatArray
from egotools.weights.tensors import random_seed

TWO_PARTS = re.compile(r"\w[\w.-]*/\w[\w.-]*")  # as most names on huggingface.co have, and some folders


@dataclass(frozen=True)
class EncoderOptions:
    """Which model, and which of its features."""

    place: ClassVar[Literal["device", "worker"]] = "device"
    version: ClassVar[int] = 1
    unrecorded: ClassVar[tuple[str, ...]] = ("offline",)

    model: str  # fixed by the extractor's name
    weights: str = option("DEFAULT", "DEFAULT, the model's own, or random:<seed>.")
    space: Literal["joint", "own"] | None = option(
        None, "joint: shared with text; own: the model's features. By default joint where there is one."
    )
    pool: Literal["cls", "mean", "none"] | None = option(
        None,
        "Of the model's own features: cls, its summary (class token, attention pooling); mean, over patches or over"
        " time; none, a row a patch or a moment of sound. By default as of the model's card.",
    )
    layer: int | None = option(None, "Features after this layer, 0 before the first; by default the output.")
    offline: bool = option(False, "Never download; so, too, with HF_HUB_OFFLINE=1.", absent=False)

    def __post_init__(self) -> None:
        family = self.checkpoint.family
        asks_own = self.pool is not None or self.layer is not None
        if self.layer is not None and self.layer < 0:
            raise ValueError(f"--layer counts from 0, not {self.layer}")
        if self.space == "joint" and asks_own:
            raise ValueError("--pool and --layer are of --space own")
        if self.space == "joint" and not family.joint:
            raise ValueError(f"--space joint: {self.model} shares no space with text")
        # Resolved here, so that recipes record what was computed; the class is frozen.
        space = self.space or ("joint" if family.joint and not asks_own else "own")
        if space == "own" and family.joint and not family.tower:
            raise ValueError(f"--space own: {self.model} has features in the joint space only")
        object.__setattr__(self, "space", space)
        if space == "own" and self.pool is None:
            object.__setattr__(self, "pool", family.pool if family.has_summary(self.layer) else "mean")
        if self.pool == "cls" and not family.has_summary(self.layer):
            where = "" if self.layer is None else " in its layers"
            raise ValueError(f"--pool cls: {self.model} has no class token{where}; take mean")

    @property
    def checkpoint(self) -> Checkpoint:
        """The model's folder and config."""
        return checkpoint(self.model, offline=self.offline)

    @property
    def recorded_name(self) -> str:
        """The name in recipes."""
        return self.checkpoint.recorded_name

    def notes(self) -> list[str]:
        """Which model it is, where a name could mean two."""
        name = os.path.relpath(self.checkpoint.name)
        if not Path(self.checkpoint.name).is_absolute() or not TWO_PARTS.fullmatch(name):
            return []
        return [f"{name} is taken as the folder of this name, not as a model of huggingface.co"]

    def read_processor(self) -> Any:  # Any: the library's own class
        """What prepares the model's input.

        Raises:
            ExtractorError: there is none, or it cannot be read.
        """
        return read_processor(self.checkpoint.folder, self.checkpoint.family.kind)

    def weights_digest(self) -> str:
        """The digest of the weights in a recipe, or `random:<seed>`."""
        if random_seed(self.weights) is not None:
            return self.weights
        return with_weights(self.checkpoint, offline=self.offline).weights_digest()

    def text_rows(self, texts: Sequence[str]) -> FloatArray:
        """Texts as float32 [N, D] in the joint space.

        Raises:
            ExtractorError: the model has no text tower, or a text is too long for it.
        """
        from egotools.extractors.hf.text import text_rows

        if not self.checkpoint.family.joint:
            raise ExtractorError(f"{self.model} has no text tower; ask with --image or --clip")
        if self.space != "joint":
            raise ExtractorError(
                f"rows of {self.model} with --space own are not comparable with text; extract joint ones"
            )
        return text_rows(self.checkpoint, self.weights, texts)

    def encoder(self, *, resized: bool = False) -> Encoder:
        """The loaded model, which gives these features; `resized`: of frames of another size than the model's.

        Raises:
            WeightsError: the weights are missing or damaged.
        """
        found = with_weights(self.checkpoint, offline=self.offline)
        return Encoder(
            loaded(found, self.weights), found.family, prefix=found.prefix, joint=self.space == "joint",
            pool=self.pool or "cls", layer=self.layer, resized=resized,
        )  # fmt: skip
