"""A manifest's features and scores, divided into training and test clips, and the networks trained on them.

Axes: N clips, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from egotools.errors import TableError, WeightsError
from egotools.evaluate.leakage import GROUP_COLUMNS, shared_remarks
from egotools.linear.standardize import Standardization
from egotools.methods.memorability.normalizing import normalization
from egotools.methods.memorability.options import RANKING, Normalizing, Training
from egotools.methods.memorability.published import in_our_order
from egotools.methods.memorability.scores import read_scores
from egotools.methods.memorability.training import Examples, new_network, train_network
from egotools.nn.mlp import ScoreMLP, score_mlp_of
from egotools.progress import Progress, no_progress
from egotools.tables.groups import Features, Group, read_features
from egotools.training.best import Figures
from egotools.training.epochs import steps_of
from egotools.training.folds import Fold, FoldFile, Scores, by_folds, by_split
from egotools.training.how import How
from egotools.training.members import member_run, summarized
from egotools.training.runs import Run
from egotools.weights.run_files import RUN
from egotools.weights.tensors import read_tensors

NETWORK = "model.safetensors"  # of a run: the weights, by the names of the published checkpoints


@dataclass(frozen=True, eq=False)
class ScoredClips:
    """Features and scores of a manifest's clips, and the folds of them."""

    features: Features
    target: str  # the manifest column
    scores: Scores  # [N]; NaN where there is none
    folds: tuple[Fold, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Member:
    """One trained network: of which fold and seed, and what it needs to score clips."""

    fold: str
    seed: int
    network: ScoreMLP
    normalization: Standardization
    last: Figures
    best: Figures

    @torch.no_grad()
    def scores(self, values: npt.NDArray[np.float32], device: torch.device) -> npt.NDArray[np.float64]:
        """Features [N, D], not normalized, to scores [N]."""
        x = self.normalization(torch.from_numpy(values)).to(device)
        scores: npt.NDArray[np.float64] = self.network.to(device).eval()(x).squeeze(1).double().cpu().numpy()
        return scores


def read_task(
    manifest: Path,
    caches: Sequence[Path],
    *,
    target: str,
    folds: FoldFile | None = None,
    test_split: str = "val",
    groups_of_run: Sequence[Group] | None = None,
) -> ScoredClips:
    """The clips of a manifest with their features, scores and folds.

    Raises:
        TableError: features or scores that cannot be used, splits or folds that leave nothing to train or test on.
    """
    features = read_features(manifest, caches, labels=[target, *GROUP_COLUMNS], groups_of_run=groups_of_run)
    table = features.table
    scores = read_scores(table, target)
    if folds is None:
        divided, remarks = [by_split(table, scores, target, test_split=test_split)], list[str]()
    else:
        divided, remarks = by_folds(table, scores, target, folds)
    for fold in divided:
        sides = (np.isin(np.arange(len(table)), rows) for rows in (fold.train, fold.test))
        remarks += [said for said in shared_remarks(table, target, *sides) if said not in remarks]
    return ScoredClips(features, target, scores, tuple(divided), (*table.remarks, *remarks))


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """A training whose inputs were checked: it can begin."""

    task: ScoredClips
    config: Training
    normalizations: tuple[Standardization, ...]  # of each fold
    start: ScoreMLP | None  # the weights to begin with
    how: How
    remarks: tuple[str, ...]


def plan_training(
    task: ScoredClips,
    config: Training,
    normalizing: Normalizing,
    how: How = How(),  # noqa: B008 - frozen
) -> TrainingPlan:
    """Checks all that may be wrong with a training before it begins.

    Raises:
        TableError: columns that say nothing, a clip alone in a batch that is to be ranked, or batches of an epoch
            that --accumulate does not divide.
        WeightsError: --init does not fit.
    """
    columns = task.features.groups[-1].stop
    start = None if config.init is None else read_network(config.init, config)
    if start is not None and start.widths[0] != columns:
        raise WeightsError(f"{config.init} takes {start.widths[0]} columns; {layout_of(task.features.groups)}")
    if start is not None:
        start = in_our_order(start, task.features.groups, config.raw_order, source=str(config.init))
    normalizations, remarks = [], dict[str, None]()
    for fold in task.folds:
        steps_of(len(fold.train), config.batch_size, how)
        if config.loss in RANKING and len(fold.train) % config.batch_size == 1:
            raise TableError(
                f"{len(fold.train)} training clips in batches of {config.batch_size} leave one clip alone in the last,"
                f" and --loss {config.loss} ranks the clips of a batch; choose another --batch-size"
            )
        fitted, said = normalization(task.features, fold.train, normalizing)
        normalizations.append(fitted)
        remarks.update(dict.fromkeys(said))
    return TrainingPlan(task, config, tuple(normalizations), start, how, tuple(remarks))


def train_members(
    plan: TrainingPlan, *, seed: int, device: torch.device, run: Run | None = None, progress: Progress = no_progress
) -> list[Member]:
    """A network for each fold and seed, in that order. With a run each resumes where it was interrupted."""
    task, config = plan.task, plan.config
    members: list[Member] = []
    scores = torch.from_numpy(np.nan_to_num(task.scores)).to(device)  # clips without a score are in no fold
    for fold, fitted in zip(task.folds, plan.normalizations, strict=True):
        values = fitted(torch.from_numpy(task.features.table.values)).to(device)
        examples = Examples(values, scores, *(torch.from_numpy(rows).to(device) for rows in (fold.train, fold.test)))
        for number in range(seed, seed + config.seeds):
            mean = float(task.scores[fold.train].mean()) if config.start_at_mean else 0.5
            network = new_network(values.shape[1], config, seed=number, mean=mean)
            if plan.start is not None:
                network.load_state_dict(plan.start.state_dict())
            place = None if run is None else member_run(run, fold.name, number, config.seeds)
            trained = train_network(examples, network.to(device), config, seed=number, run=place, how=plan.how)
            members.append(Member(fold.name, number, trained.network.cpu(), fitted, trained.last, trained.best))
            progress("training", len(members), len(task.folds) * config.seeds)
    return members


def read_network(place: str, config: Training | None = None) -> ScoreMLP:
    """The network of a published checkpoint or of `run:DIR`, which must be of the widths that a training asks for.

    Raises:
        WeightsError: no such file or run, or weights of something else.
    """
    path = network_path(place)
    network = score_mlp_of(read_tensors(path), source=str(path))
    if config is not None and network.widths[1:-1] != config.hidden:
        there, wanted = (",".join(map(str, widths)) for widths in (network.widths[1:-1], config.hidden))
        raise WeightsError(f"{place} has --hidden {there}, not {wanted}")
    return network


def network_path(place: str) -> Path:
    """The file that `--init` or `--weights` means: a path, or `run:DIR`.

    Raises:
        WeightsError: there is none.
    """
    if not place.startswith(RUN):
        path = Path(place)
    else:
        path = Path(place.removeprefix(RUN)) / NETWORK
        several = sorted(path.parent.glob(f"**/{NETWORK}"))
        if several and not path.is_file():
            raise WeightsError(f"{place} holds {len(several)} networks; take one, such as {RUN}{several[0].parent}")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; a network of M3-S is a published checkpoint or run:DIR")
    return path


def layout_of(groups: Sequence[Group]) -> str:
    """The columns in words: "the features have 735: m3s 15, hrnet 720"."""
    widths = ", ".join(f"{group.name} {group.width}" for group in groups)
    return f"the features have {groups[-1].stop}: {widths}"


def summary(members: Sequence[Member]) -> Figures:
    """Mean of each figure of the last and of the best epochs, and Spearman's deviation over seeds and over folds."""
    return {
        kind: summarized([(m.fold, m.seed, getattr(m, kind)) for m in members], "spearman") for kind in ("last", "best")
    }
