"""A linear head for each of several labels on one feature, trained together by SGD with momentum.

Axes: C clips, N rows, B batch, D features, K classes of a label, L labels.

Source:
    Mittal et al., "Learning State-Aware Visual Representations from Audible Interactions", NeurIPS 2022;
    `train_algo/linear_cls_mtl.py` of RepLAI's code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from egotools.errors import RunError, TableError
from egotools.files.disk import open_file
from egotools.files.json_files import check_shape, parse_json
from egotools.methods.probe.head import Head, Normalize
from egotools.processes import compute_alone_if_forked
from egotools.progress import Progress, no_progress
from egotools.tables.windows import Windows
from egotools.training.epochs import batch_count, batches
from egotools.training.fit import fit
from egotools.training.how import How
from egotools.training.optimizers import optimizer_of
from egotools.training.runs import Run
from egotools.training.seeding import seeded
from egotools.types import FloatArray, IntArray

MOMENTUM = 0.9
DEVIATION = 0.01  # of new weights
FLOOR = 1e-12  # of lengths
ROWS = 4096  # scored at a time
METADATA = "heads"  # one entry of the file: the order of several varies
ROW = 1  # beside seed and epoch: the draw of rows, not that of the order


class _Metadata(TypedDict):
    classes: dict[str, list[str]]
    rows: dict[str, list[int]]
    normalize: Normalize


class Labeled(NamedTuple):
    """Features [B, D] and the numbers [B, L] of their classes, on the device."""

    features: Tensor
    labels: Tensor


class LinearHeads(nn.Module):
    """A linear layer for each label; new weights are normal with deviation 0.01, biases 0."""

    def __init__(
        self,
        width: int,
        classes: Mapping[str, Sequence[str]],
        *,
        rows: Mapping[str, Sequence[int]] | None = None,
        normalize: Normalize = "none",
        dropout: float = 0.0,
        loss: Literal["mean", "sum"] = "mean",
    ) -> None:
        """Heads on features of a width D.

        Args:
            width: D.
            classes: by label, in the order of the labels of batches.
            rows: how many training clips each class had, for what answering without looking would reach.
            normalize: `vector`: features are brought to length one; `scalar`: each to -1, 0 or 1.
            dropout: share of features that training drops.
            loss: the mean of the labels' losses, or the sum.
        """
        super().__init__()
        self.classes = {label: tuple(names) for label, names in classes.items()}
        self.rows = {label: tuple((rows or {}).get(label, [1] * len(names))) for label, names in classes.items()}
        self.normalize: Normalize = normalize
        self.loss, self.dropout = loss, nn.Dropout(dropout)
        self.fc = nn.ModuleList(nn.Linear(width, len(names)) for names in self.classes.values())
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=DEVIATION)
            nn.init.zeros_(layer.bias)

    @property
    def layers(self) -> list[nn.Linear]:
        """Of each label."""
        return [layer for layer in self.fc if isinstance(layer, nn.Linear)]

    @property
    def width(self) -> int:
        """D."""
        return self.layers[0].in_features

    def logits(self, features: Tensor) -> list[Tensor]:
        """Features [B, D] to logits [B, K] of each label."""
        if self.normalize == "vector":
            features = functional.normalize(features, dim=1, eps=FLOOR)
        elif self.normalize == "scalar":
            features = features / features.abs().clamp_min(FLOOR)
        features = self.dropout(features)
        return [layer(features) for layer in self.layers]

    def forward(self, batch: Labeled) -> dict[str, Tensor]:
        """`loss`, mean or sum of cross-entropies; of each label this, and `top1`, the share of right ones."""
        found: dict[str, Tensor] = {}
        for number, (label, logits) in enumerate(zip(self.classes, self.logits(batch.features), strict=True)):
            own = batch.labels[:, number]
            found[f"loss_{label}"] = functional.cross_entropy(logits, own)
            found[f"top1_{label}"] = (logits.detach().argmax(dim=1) == own).float().mean()
        losses = torch.stack([found[f"loss_{label}"] for label in self.classes])
        return {"loss": losses.mean() if self.loss == "mean" else losses.sum(), **found}

    @torch.inference_mode()
    def probabilities(self, windows: Windows, rows: IntArray, clips: IntArray) -> dict[str, FloatArray]:
        """By label, probabilities float64 [C, K] of clips: means over rows.

        Args:
            windows: of the clips.
            rows: numbers [M] of rows to average; those of a clip follow each other, and each clip has one.
            clips: of which clip each is, rising [M].

        Raises:
            TableError: features of another width.
        """
        self.check_width(windows.values.shape[1])
        device = self.layers[0].weight.device
        sums = {label: np.zeros((len(windows), len(names))) for label, names in self.classes.items()}
        for at in range(0, len(rows), ROWS):
            piece = slice(at, at + ROWS)
            features = torch.from_numpy(windows.values[rows[piece]]).to(device)
            for label, logits in zip(self.classes, self.logits(features), strict=True):
                np.add.at(sums[label], clips[piece], logits.double().softmax(dim=1).cpu().numpy())
        counts = np.bincount(clips, minlength=len(windows))[:, np.newaxis]
        return {label: each / counts for label, each in sums.items()}

    def constant(self, clips: int) -> dict[str, FloatArray]:
        """By label, the shares [C, K] of the classes among the training clips: what is known without looking."""
        shares = {label: np.array(rows, np.float64) / max(sum(rows), 1) for label, rows in self.rows.items()}
        return {label: np.broadcast_to(each, (clips, len(each))) for label, each in shares.items()}

    def check_width(self, width: int) -> None:
        """Refuses features of another width.

        Raises:
            TableError: says so.
        """
        if width != self.width:
            raise TableError(
                f"the heads were trained on {self.width} features a row, these have {width}; give caches of the same"
                " extractors"
            )

    def to_bytes(self) -> bytes:
        """As a safetensors file, by RepLAI's names `fc.<label>.weight`; classes in its metadata."""
        from safetensors.torch import save

        tensors: dict[str, Tensor] = {}
        for label, layer in zip(self.classes, self.layers, strict=True):
            tensors |= {f"fc.{label}.{name}": value.detach().cpu().contiguous() for name, value in _of(layer)}
        facts = _Metadata(
            classes={label: list(names) for label, names in self.classes.items()},
            rows={label: list(rows) for label, rows in self.rows.items()},
            normalize=self.normalize,
        )
        return save(tensors, metadata={METADATA: json.dumps(facts)})

    @classmethod
    def load(cls, path: Path) -> LinearHeads:
        """From a file that holds `to_bytes`.

        Raises:
            RunError: no such file, or another one.
        """
        from safetensors import SafetensorError, safe_open

        try:
            open_file(path).close()  # a pipe or a device would be waited for
            with safe_open(path, framework="pt") as file:
                facts: _Metadata = parse_json((file.metadata() or {})[METADATA])
                check_shape(facts, _Metadata)
                labels = list(facts["classes"])
                first = file.get_tensor(f"fc.{labels[0]}.weight")
                heads = cls(first.shape[1], facts["classes"], rows=facts["rows"], normalize=facts["normalize"])
                for label, layer in zip(labels, heads.layers, strict=True):
                    layer.load_state_dict({name: file.get_tensor(f"fc.{label}.{name}") for name, _ in _of(layer)})
        except (KeyError, IndexError) as error:
            raise RunError(f"{path} holds no heads: it has no {error}") from error
        except (OSError, SafetensorError, ValueError, RuntimeError) as error:
            raise RunError(f"{path} holds no heads: {' '.join(str(error).split())}") from error
        return heads


def _of(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from layer.state_dict().items()


def fit_heads(
    train: Windows,
    labels: Sequence[str],
    head: Head,
    run: Run | None,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress = no_progress,
) -> LinearHeads:
    """Heads on the rows of clips; each epoch has one row of each clip, drawn at random where there are several.

    Args:
        train: the clips, all of which have every label.
        labels: columns.
        head: epochs, rate, and so on.
        run: keeps metrics and checkpoint; None: nothing is kept.
        seed: of weights, of the order of clips, and of rows.
        device: to compute on.
        progress: told the steps.
    """
    compute_alone_if_forked()
    texts = {label: train.table.column(label).astype(str) for label in labels}
    found = {label: np.unique(each, return_inverse=True, return_counts=True) for label, each in texts.items()}
    numbers = torch.from_numpy(np.stack([each[1].reshape(-1) for each in found.values()], axis=1)).to(device)
    classes = {label: each[0].tolist() for label, each in found.items()}
    counts = {label: each[2].tolist() for label, each in found.items()}
    values = torch.from_numpy(np.ascontiguousarray(train.values)).to(device)
    with seeded(seed):
        facts: dict[str, Any] = {"normalize": head.normalize, "dropout": head.dropout, "loss": head.loss}
        heads = LinearHeads(train.values.shape[1], classes, rows=counts, **facts).to(device)
    per_epoch = batch_count(len(train), head.batch_size)
    options: dict[str, Any] = {"lr": head.learning_rate, "momentum": MOMENTUM, "weight_decay": head.weight_decay}
    options["nesterov"] = head.nesterov
    steps = head.epochs * per_epoch

    def told(done: int) -> None:
        progress("training", done, steps)

    with seeded(seed, torch.device(device)):  # dropout
        fit(
            heads,
            _numbered(train, values, numbers, head, seed),
            optimizer_of(heads, "sgd", **options),
            run,
            steps=steps,
            rate=lambda step: head.rate_at(step, per_epoch),
            after_step=told,
            how=How(log_every=per_epoch),
        )
    return heads.eval()


def _numbered(
    train: Windows, values: Tensor, numbers: Tensor, head: Head, seed: int
) -> Callable[[int], Iterator[Labeled]]:
    """Batches from a number on: orders, and the row of each clip, depend on the seed and the epoch only."""
    clips, per_epoch = torch.arange(len(train)), batch_count(len(train), head.batch_size)

    def numbered(first: int) -> Iterator[Labeled]:
        drawn: tuple[int, Any] = (-1, None)  # Any: no rows yet, or a tensor of them
        parts = batches(first, rows=clips, batch_size=head.batch_size, epochs=head.epochs, seed=seed)
        for number, part in enumerate(parts, first):
            epoch = number // per_epoch
            if drawn[0] != epoch:
                drawn = epoch, torch.from_numpy(train.drawn(np.random.default_rng([seed, epoch, ROW])))
            rows = drawn[1][part.rows]
            yield Labeled(values[rows.to(values.device)], numbers[part.rows.to(numbers.device)])

    return numbered
