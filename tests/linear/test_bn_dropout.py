"""The head of batch norm, dropout and a linear layer against torch's own modules, trained as the reference trains."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from egotools.linear.bn_dropout import Training, fit_bn_dropout
from egotools.methods.probe.head import Head


def how(dropout: float = 0.0, epochs: int = 6, **more: float) -> Training:
    head = Head(head="bn-dropout", schedule=(2, 4))
    options = {"batch_size": 8, "learning_rate": 1e-2, "weight_decay": 1e-3, **more}
    return Training(epochs=epochs, dropout=dropout, rate=head.rate, **options)  # type: ignore[arg-type]


def data(clips: int = 21, rows: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(clips) % 3
    x = torch.randn(clips * rows, 5, generator=draw) + 2 * torch.eye(3, 5)[labels].repeat_interleave(rows, 0) + 7
    return x, labels, torch.arange(clips + 1) * rows


@pytest.mark.parametrize("rows", [1, 4])
def test_weights_are_those_of_torchs_modules_trained_as_the_reference_does(rows: int) -> None:
    x, labels, starts = data(rows=rows)
    fit, standardization = fit_bn_dropout(x, labels, starts, 3, how(), torch.Generator().manual_seed(5))
    draw = torch.Generator().manual_seed(5)
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(0.0), nn.Linear(5, 3))
    nn.init.orthogonal_(model[2].weight, generator=draw)
    nn.init.zeros_(model[2].bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-3)
    rates = [1, 1, 1, 0.1, 0.1, 0.1]  # the drop at 2 acts from 3 on, that at 4 never
    for rate in rates:
        optimizer.param_groups[0]["lr"] = 1e-2 * rate
        order = torch.randperm(21, generator=draw)
        chosen = rows * torch.arange(21) + (rows * torch.rand(21, generator=draw, dtype=torch.float64)).long()
        for batch in (order[:8], order[8:16]):  # the rest does not fill a batch
            loss = nn.functional.cross_entropy(model(x[chosen[batch]]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    torch.testing.assert_close(fit.logits(standardization(x)), model(x), rtol=1e-4, atol=1e-5)


def test_the_seed_decides_alone() -> None:
    x, labels, starts = data()
    fits = [
        fit_bn_dropout(x, labels, starts, 3, how(dropout=0.5), torch.Generator().manual_seed(seed))[0]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(fits[0].weight, fits[1].weight)
    assert not torch.equal(fits[0].weight, fits[2].weight)


def test_the_true_schedule_drops_at_each_milestone_on_time() -> None:
    published, true = Head(schedule=(2, 4)), Head(schedule=(2, 4), true_schedule=True)
    assert [published.rate(epoch) for epoch in range(6)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1])
    assert [true.rate(epoch) for epoch in range(6)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
