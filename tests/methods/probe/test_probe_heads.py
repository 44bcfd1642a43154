"""Heads of several labels: the reference's loss, plain SGD written out, resuming, and rows drawn by epoch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fill
import numpy as np
import pytest
import torch

from egotools.errors import RunError, TableError, TrainingError
from egotools.methods.probe import heads as module
from egotools.methods.probe.head import EGO4D, REPLAI, Head
from egotools.methods.probe.heads import Labeled, LinearHeads, fit_heads
from egotools.stores import Recipe
from egotools.tables.table import table_of_clips
from egotools.tables.windows import Windows
from egotools.training.how import How
from egotools.training.runs import Run
from egotools.training.seeding import seeded
from egotools.types import Clip

LABELS = ("verb", "noun")
HEAD = Head(**{**{k: v for k, v in REPLAI.items() if k != "seeds"}, "epochs": 4, "batch_size": 3, "schedule": (2,)})  # type: ignore[arg-type]


def windows(rng: np.random.Generator, clips: int = 8, width: int = 5) -> Windows:
    """One to three rows a clip, some of which a label can be known by."""
    counts = rng.integers(1, 4, clips)
    labels = [{"verb": str(clip % 3), "noun": "ab"[clip % 2]} for clip in range(clips)]
    table = table_of_clips([Clip(f"c{clip}", Path(), labels=each) for clip, each in enumerate(labels)])
    first = np.cumsum(counts) - counts
    return Windows(table, rng.normal(size=(counts.sum(), width)).astype(np.float32), first, counts)


def test_the_loss_of_the_reference_is_the_mean_of_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = np.load(fill.DATA / "replai" / "lincls_mtl_64.npz")
    own = json.loads((fill.DATA / "replai" / "lincls_mtl_64.json").read_text())["labels"]
    heads = LinearHeads(1, {name: [*map(str, range(len(recorded[f"{name}_norm0"][0])))] for name in own})
    given = [torch.from_numpy(recorded[f"{name}_norm0"]) for name in own]
    monkeypatch.setattr(heads, "logits", lambda _: given)
    found = heads(Labeled(torch.zeros(2, 1), torch.tensor([*own.values()]).T))
    assert found["loss"].item() == pytest.approx(float(recorded["loss"]), rel=1e-6)


def test_features_are_normalized_as_a_vector_or_by_the_references_mistake() -> None:
    features = torch.tensor([[3.0, 0.0, 4.0]])
    logits = {}
    for kind in ("none", "vector", "scalar"):
        heads = LinearHeads(3, {"verb": ["0", "1"]}, normalize=kind)
        heads.layers[0].weight.data = torch.eye(3)[:2] + torch.tensor([0.0, 0, 1])
        logits[kind] = heads.logits(features)[0][0].tolist()
    assert logits["none"] == [7, 4]
    assert logits["vector"] == pytest.approx([1.4, 0.8])
    assert logits["scalar"] == [2, 1]


def test_new_heads_are_small_and_their_biases_nothing() -> None:
    torch.manual_seed(0)
    heads = LinearHeads(512, {"verb": [*map(str, range(97))], "noun": [*map(str, range(300))]})
    for layer in heads.layers:
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert not layer.bias.any()


def test_training_is_sgd_with_momentum_on_a_drawn_row_of_each_clip(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, seen = windows(rng), []
    forward = LinearHeads.forward

    def watched(self: LinearHeads, batch: Labeled) -> dict[str, torch.Tensor]:
        seen.append((batch.features.clone(), batch.labels.clone()))
        return forward(self, batch)

    monkeypatch.setattr(LinearHeads, "forward", watched)
    found = fit_heads(data, LABELS, HEAD, None, seed=3)
    with seeded(3):
        expected = LinearHeads(5, found.classes)
    velocity = [torch.zeros_like(each) for each in expected.parameters()]
    for step, (features, labels) in enumerate(seen):
        rate = 0.005 if step // 3 < 2 else 0.0005
        losses = [
            torch.nn.functional.cross_entropy(layer(features), labels[:, at])
            for at, layer in enumerate(expected.layers)
        ]
        gradients = torch.autograd.grad(torch.stack(losses).mean(), [*expected.parameters()])
        for number, (value, gradient) in enumerate(zip(expected.parameters(), gradients, strict=True)):
            velocity[number] = 0.9 * velocity[number] + gradient
            value.data -= rate * velocity[number]
    for value, other in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(value, other)
    epochs = [torch.cat([features for features, _ in seen[at : at + 3]]).numpy() for at in range(0, 12, 3)]
    owner = {tuple(data.values[row].tolist()): clip for row, clip in zip(*data.spread(), strict=True)}
    drawn = [{owner[tuple(row)]: tuple(row) for row in epoch.tolist()} for epoch in epochs]
    assert all(sorted(each) == [*range(8)] for each in drawn)  # each clip once an epoch
    assert drawn[0] != drawn[1]  # by other rows
    for (_, labels), epoch in zip(seen[:1], epochs, strict=False):
        clips = [owner[tuple(row)] for row in epoch[:3].tolist()]
        assert labels.tolist() == [[clip % 3, clip % 2] for clip in clips]


def test_an_interrupted_training_goes_on_to_the_same_bits(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = windows(rng)
    whole = fit_heads(data, LABELS, HEAD, None, seed=1)
    run = Run.begin(tmp_path / "r", Recipe({}))

    def cut(stage: str, done: float, total: int, rows: int | None = None) -> None:
        if done == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "How", lambda **more: How(**more, save_every=0))
    with pytest.raises(KeyboardInterrupt):
        fit_heads(data, LABELS, HEAD, run, seed=1, progress=cut)
    steps: list[float] = []
    again = fit_heads(
        data, LABELS, HEAD, run, seed=1, progress=lambda stage, done, total, rows=None: steps.append(done)
    )
    assert 1 < steps[0] <= 8
    for value, other in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(value, other)


def test_probabilities_of_a_clip_are_the_mean_of_its_rows(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = windows(rng)
    heads = fit_heads(data, LABELS, HEAD, None)
    monkeypatch.setattr(module, "ROWS", 3)  # several pieces
    found = heads.probabilities(data, *data.spread())["verb"]
    for clip, (first, count) in enumerate(zip(data.first, data.counts, strict=True)):
        rows = torch.from_numpy(data.values[first : first + count])
        mean = heads.layers[0](rows).softmax(dim=1).mean(dim=0).detach().numpy()
        np.testing.assert_allclose(found[clip], mean, rtol=1e-5)
    assert heads.constant(2)["noun"].tolist() == [[0.5, 0.5]] * 2
    with pytest.raises(TableError, match="trained on 5 features a row, these have 4"):
        heads.probabilities(windows(rng, width=4), *data.spread())


def test_heads_come_back_from_their_file_and_damaged_files_are_refused(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    heads = LinearHeads(
        4, {"verb.class": ["0", "1"], "noun": ["a", "b", "c"]}, rows={"noun": [1, 2, 3]}, normalize="vector"
    )
    path = tmp_path / "h.safetensors"
    path.write_bytes(heads.to_bytes())
    again = LinearHeads.load(path)
    assert (again.classes, again.rows, again.normalize) == (heads.classes, heads.rows, "vector")
    features = torch.from_numpy(rng.normal(size=(3, 4)).astype(np.float32))
    assert all(torch.equal(a, b) for a, b in zip(heads.logits(features), again.logits(features), strict=True))
    path.write_bytes(heads.to_bytes()[:-9])
    with pytest.raises(RunError, match="holds no heads"):
        LinearHeads.load(path)


def test_features_too_large_to_learn_from_end_the_training(rng: np.random.Generator) -> None:
    data = windows(rng)
    data.values[:] *= np.float32(1e38)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf)"):
        fit_heads(data, LABELS, HEAD, None)


def test_heads_of_ego4d_drop_features_in_training_only_sum_the_losses_and_warm_up(rng: np.random.Generator) -> None:
    head = replace(HEAD, **{name: value for name, value in EGO4D.items() if name not in ("head", "seeds", "epochs")})
    assert [head.rate_at(step, 250) for step in (0, 500, 1000)] == [0, 0.5, pytest.approx(1)]  # of 1000 steps
    assert [replace(head, warmup=0).rate_at(step, 250) for step in (0, 500, 1000)] == pytest.approx([1, 0.5, 0])
    features, labels = torch.ones(64, 8), torch.zeros(64, 2, dtype=torch.int64)
    heads = LinearHeads(8, {"verb": ["0", "1"], "noun": ["a", "b"]}, dropout=head.dropout, loss=head.loss)
    found = heads.eval()(Labeled(features, labels))
    assert found["loss"].item() == pytest.approx((found["loss_verb"] + found["loss_noun"]).item())
    assert len(heads.logits(features)[0].unique(dim=0)) == 1
    assert len(heads.train().logits(features)[0].unique(dim=0)) > 9


def test_the_rate_of_replais_protocol_is_the_references() -> None:
    recorded = np.load(fill.DATA / "replai" / "lr_schedules_pretrain_probe.npz")["step_lr"]
    head = Head(**{name: value for name, value in REPLAI.items() if name != "seeds"})  # type: ignore[arg-type]
    assert [head.learning_rate * head.rate_at(epoch, 1) for epoch in range(head.epochs)] == pytest.approx(
        recorded, rel=1e-9
    )


def test_runs_of_other_heads_do_not_say_what_they_said_not_before() -> None:
    for name in ("linear", "bn-dropout", "normalized"):
        assert not {"rows", "normalize", "loss", "nesterov", "decay", "warmup"} & set(Head(head=name).arguments)  # type: ignore[arg-type]
    assert {"cosine_epochs", "true_schedule"}.isdisjoint(HEAD.arguments)
    assert [HEAD.rate_at(epoch, 1) for epoch in range(4)] == [1, 1, 0.1, 0.1]
