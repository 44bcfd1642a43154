"""What an evaluation of memorability can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from egotools.config import option
from egotools.methods.memorability.options import RAW_ORDER, Data, order_of


@dataclass(frozen=True)
class Judging:
    """What is judged, and on which clips."""

    run: Path | None = option(None, "A run of 'egotools train memorability'.")  # noqa: RUF009 - frozen
    weights: Path | None = option(None, "Instead: a published checkpoint of M3-S.")  # noqa: RUF009 - frozen
    baseline: Literal["ridge", "svr"] | None = option(None, "Instead: a regressor, fitted now and not kept.")
    ablation: bool = option(False, "Also train anew on every subset of the run's feature groups.")
    target: str | None = option(None, "Manifest column of the scores; by default the run's, else memorability.")
    folds: str | None = option(None, "FILE.json:KEY, as in training; by default the run's.")
    split: str | None = option(
        None, "Judge the clips of this split; by default test if it has scores, else val; val with --baseline."
    )
    all_rows: bool = option(False, "Of --run: judge also what it learned from, and all splits.")
    zero_similarity: bool = option(
        False, "Take all similarity columns of --weights as 0; similarities among --features are left out."
    )
    raw_order: str | None = option(None, f"For --weights. {RAW_ORDER}")
    draws: int = option(1000, "Of the clips, for the intervals.")

    def __post_init__(self) -> None:
        if self.run is None and self.weights is None and self.baseline is None:
            raise ValueError("--run says which run to judge; or --weights FILE, or --baseline ridge")
        if self.weights is not None and (self.run is not None or self.baseline is not None):
            raise ValueError("--weights stands alone, without --run and --baseline")
        if self.ablation and (self.run is None or self.baseline is not None):
            raise ValueError("--ablation trains anew as a run was trained: it needs --run, and no --baseline")
        if self.all_rows and (self.run is None or self.baseline is not None):
            raise ValueError("--all-rows is for --run, which alone has learned before")
        if self.raw_order is not None:
            if self.weights is None:
                raise ValueError("--raw-order is for --weights")
            order_of(self.raw_order)
        if self.draws < 1:
            raise ValueError(f"--draws is above 0, not {self.draws}")
        Data(folds=self.folds)
