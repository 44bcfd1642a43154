"""The modules that trainings minimize: a backbone with the heads of a method, its loss, and what is logged beside it.

Axes: B images of a batch, of which the first are of the short-term memory and the others of the long-term memory.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from egotools.losses.contrastive import (
    barlow_twins,
    cross_nt_xent,
    negative_cosine,
    nt_xent,
    supervised_contrastive,
    temporal_classification,
)
from egotools.methods.storyboard.options import SIMSIAM
from egotools.nn.mixed_precision import at_least_float32
from egotools.nn.storyboard import (
    Activation,
    Depth,
    Norm,
    ResNet,
    barlow_projector,
    contrastive_head,
    simsiam_predictor,
    simsiam_projector,
)
from egotools.training.optimizers import optimizer_of

Method = Literal["simsiam", "simclr", "simsiam-tc", "simclr-tc", "tc", "osiris", "barlow-twins"]
Osiris = Literal["published", "storyboard"]
METHODS: tuple[Method, ...] = get_args(Method)
CLASSIFIES = ("simsiam-tc", "simclr-tc", "tc")  # methods whose temporal term tells classes, not pairs, apart
OSIRIS: dict[Osiris, dict[str, float]] = {
    "published": {"curr_loss": 1.0, "cross_loss": 0.5, "replay_loss": 0.5},
    "storyboard": {"curr_loss": 0.0, "cross_loss": 1.0, "replay_loss": 1.0},  # its authors' code asks to check this
}
MOMENTUM, DECAY = 0.9, 1e-4  # of SGD


class Views(NamedTuple):
    """A batch."""

    views: Tensor  # [2, B, 3, S, S] float, normalized
    labels: Tensor  # [B] int64; not looked at where no temporal term is on
    current: int  # how many of the first images are of the short-term memory; 0 if there is one memory


class Learner(nn.Module):
    """`Views` to scalars by name: `loss`, and each of its terms before it is weighed; state_dicts are as published.

    A term of weight 0 is not computed, and logged as 0; its head then gets no gradient.

    Args:
        method: what is learned of two views. `tc` has only the temporal term, `osiris` has none.
        depth: of the backbone.
        norm: of the backbone.
        activation: of the backbone; by default as in `ResNet`.
        classes: C, of the methods that classify; above the largest label.
        curr_loss_coef: weight of the loss of two views; of Osiris, of all its terms together.
        tc_loss_coef: weight of the temporal term of the long-term memory's images.
        tc_curr_coef: weight of that of the short-term memory's.
        concatenated: the term of `tc_loss_coef` is of both memories' images together.
        osiris: with a predictor and the loss of current images, or as the reference of Memory Storyboard has it.

    Raises:
        ValueError: no term has a weight, or a classifier has no classes.
    """

    def __init__(
        self,
        method: Method,
        depth: Depth = 50,
        *,
        norm: Norm = "group",
        activation: Activation | None = None,
        classes: int = 0,
        curr_loss_coef: float = 1.0,
        tc_loss_coef: float = 1.0,
        tc_curr_coef: float = 0.0,
        concatenated: bool = False,
        osiris: Osiris = "published",
    ) -> None:
        super().__init__()
        self.method, self.osiris, self.concatenated = method, osiris, concatenated
        curr = 0.0 if method == "tc" else curr_loss_coef
        if method == "osiris":
            self.weights = {name: curr * weight for name, weight in OSIRIS[osiris].items()}
        else:
            self.weights = {"curr_loss": curr, "tc_loss": tc_loss_coef, "tc_curr_loss": tc_curr_coef}
        if not any(self.weights.values()):
            raise ValueError(f"--method {method}: all its terms have the weight 0, so nothing would be learned")
        if method in CLASSIFIES and classes < 1:
            raise ValueError(f"--method {method} classifies, and needs a class at least, not {classes}")
        self.backbone = ResNet(depth, norm=norm, activation=activation)
        self._add_heads(self.backbone.width, classes)
        self.tell: Callable[[Tensor], None] | None = None  # of features [2, B, F] float32, detached, as they are made

    def _add_heads(self, width: int, classes: int) -> None:
        """In the reference's order, which its optimizers' states follow."""
        is_simsiam, has_predictor = self.method in SIMSIAM, (self.method, self.osiris) == ("osiris", "published")
        if self.method == "barlow-twins":
            self.projector = barlow_projector(width)
        else:
            self.projector = simsiam_projector(width) if is_simsiam else contrastive_head(width)
        if self.method in CLASSIFIES:
            self.classifer = contrastive_head(width, classes)  # as the reference spells it
        elif self.method != "osiris":
            self.supcon_projector = contrastive_head(width)
        if is_simsiam:
            self.predictor = simsiam_predictor(width)
        elif has_predictor:
            self.predictor = contrastive_head(width)
            self.predictor.load_state_dict(self.projector.state_dict())

    def forward(self, batch: Views) -> dict[str, Tensor]:
        """The loss and its terms.

        Raises:
            ValueError: a term that is on has no images.
        """
        maps = [self.backbone.maps(view) for view in batch.views]  # one by one: batch norms see a view at a time
        features = [at_least_float32(each).mean((2, 3)) for each in maps]
        with torch.autocast(features[0].device.type, enabled=False):
            if self.tell is not None:
                self.tell(torch.stack(features).detach())
            terms = self._osiris(features, batch) if self.method == "osiris" else self._terms(features, batch)
        loss = torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()
        none = loss.new_zeros(())
        return {"loss": loss, **{name: terms[name].detach() if name in terms else none for name in self.weights}}

    def _terms(self, features: Sequence[Tensor], batch: Views) -> dict[str, Tensor]:
        terms = {}
        if self.weights["curr_loss"]:
            terms["curr_loss"] = self._alike(features)
        rows = {"tc_loss": slice(0 if self.concatenated else batch.current, None)}
        rows["tc_curr_loss"] = slice(batch.current)
        for name, those in rows.items():
            if self.weights[name]:
                _check_rows(batch.labels[those], "temporal", name)
                terms[name] = self._temporal([view[those] for view in features], batch.labels[those])
        return terms

    def _alike(self, features: Sequence[Tensor]) -> Tensor:
        one, other = (self.projector(view) for view in features)
        if self.method == "barlow-twins":
            return barlow_twins(one, other)
        if self.method not in SIMSIAM:
            return nt_xent(one, other)
        ahead = [self.predictor(view) for view in (one, other)]
        return (negative_cosine(ahead[0], other) + negative_cosine(ahead[1], one)) / 2

    def _temporal(self, features: Sequence[Tensor], labels: Tensor) -> Tensor:
        if self.method in CLASSIFIES:
            one, other = (self.classifer(view) for view in features)
            return temporal_classification(one, other, labels)
        return supervised_contrastive(self.supcon_projector(torch.cat([*features])), labels.repeat(2))

    def _osiris(self, features: Sequence[Tensor], batch: Views) -> dict[str, Tensor]:
        for those in (batch.views[0, : batch.current], batch.views[0, batch.current :]):
            _check_rows(those, "Osiris", "cross_loss")
        near, far = ([view[rows] for view in features] for rows in (slice(batch.current), slice(batch.current, None)))
        head = self.predictor if self.osiris == "published" else self.projector
        terms = {}
        if self.weights["curr_loss"]:
            terms["curr_loss"] = nt_xent(*(self.projector(view) for view in near))
        ours, replayed = ([head(view) for view in those] for those in (near, far))
        terms["cross_loss"] = cross_nt_xent(*ours, *replayed)
        terms["replay_loss"] = nt_xent(*replayed)
        return terms


def learner_optimizer(learner: Learner, learning_rate: float) -> torch.optim.Optimizer:
    """The published optimizer of a method: SGD for SimSiam, whose predictor is a group of its own, Adam for others.

    The rate is constant; the flag `fix_lr` of the groups is of the reference's checkpoints, and changes nothing.
    """
    if learner.method not in SIMSIAM:
        return optimizer_of(learner, "adam", lr=learning_rate)
    predictor = [*learner.predictor.parameters()]
    own = {id(each) for each in predictor}
    groups = [
        {"params": [each for each in learner.parameters() if id(each) not in own], "fix_lr": False},
        {"params": predictor, "fix_lr": True},
    ]
    return optimizer_of(learner, "sgd", groups=groups, lr=learning_rate, momentum=MOMENTUM, weight_decay=DECAY)


def _check_rows(rows: Tensor, what: str, name: str) -> None:
    if not len(rows):
        raise ValueError(f"the {what} term {name} has no images in this batch: they are all of the other memory")
