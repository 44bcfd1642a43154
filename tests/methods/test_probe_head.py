"""The probe's head of batch norm and dropout: views, means over a clip's rows, runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from egotools.cli.main import root
from tabled import write_cache, write_table

from egotools.errors import TableError
from egotools.methods.probe.head import Head
from egotools.methods.probe.probe import Probe, apply, probe
from egotools.tables.table import Table

HEAD = Head(head="bn-dropout", epochs=30, batch_size=8, learning_rate=0.02)


def table_of(rng: np.random.Generator, clips: int = 48, rows: int = 1, noise: float = 0.4) -> Table:
    """Clips of three classes with several rows each; the first half trains."""
    number = np.repeat(np.arange(clips), rows)
    values = 9 + np.eye(3, 6)[number % 3] + noise * rng.normal(size=(len(number), 6))
    return Table(
        np.array([f"c{each}" for each in number], dtype=object),
        values.astype(np.float32),
        np.zeros((len(number), 2)),
        {"label": np.array([f"l{each % 3}" for each in number], dtype=object)},
        np.where(number < clips // 2, "train", "test").astype(object),
    )


def test_a_clip_is_predicted_by_the_mean_of_its_rows(rng: np.random.Generator) -> None:
    table = table_of(rng, rows=3)
    found = probe(table, "label", Probe(seeds=1), head=HEAD)
    assert (found.figures["rows"], found.figures["train_rows"]) == (24, 72)
    assert found.figures["accuracy"] > 0.8
    test = table.only(np.asarray(table.split == "test", bool))
    means = found.classifier.probabilities(test.values).reshape(24, 3, 3).mean(axis=1)
    assert found.predictions.predicted.tolist() == means.argmax(axis=1).tolist()
    np.testing.assert_allclose(found.predictions.scores, means.max(axis=1), rtol=1e-6)
    applied = apply(found.classifier, table, "label", by_clip=True)
    assert applied.figures["accuracy"] == found.figures["accuracy"]
    assert applied.figures["rows"] == 24


def test_views_are_learned_from_by_id_whatever_their_order(rng: np.random.Generator) -> None:
    table, view = table_of(rng), table_of(rng)
    reversed_view = Table(view.ids[::-1], view.values[::-1].copy(), view.times, view.labels, view.split)
    fits = [
        probe(table, "label", Probe(seeds=1), head=HEAD, views=views).classifier.weight
        for views in ([], [view], [reversed_view])
    ]
    assert (fits[1] == fits[2]).all()
    assert (fits[0] != fits[1]).any()
    with pytest.raises(TableError, match="have 3 features, those of --features 6"):
        probe(table, "label", Probe(), head=HEAD, views=[narrow(view)])


def narrow(table: Table) -> Table:
    return Table(table.ids, table.values[:, :3], table.times, table.labels, table.split)


def test_a_run_is_kept_applied_and_shown(rng: np.random.Generator, tmp_path: Path) -> None:
    table, view = table_of(rng), table_of(rng)
    ids = table.ids.tolist()
    manifest = write_table(tmp_path / "m.csv", ids, {"label": table.labels["label"].tolist()}, table.split.tolist())
    write_cache(tmp_path / "a.lmdb", ids, table.values)
    write_cache(tmp_path / "b.lmdb", ids, view.values)
    words = ["--features", tmp_path / "a.lmdb", "--manifest", manifest, "--label", "label"]
    head = ["--head", "bn-dropout", "--epochs", 5, "--seeds", 2, "--view", tmp_path / "b.lmdb"]
    content = json.loads(run("train", "probe", *words, *head, "--out", tmp_path / "p", "--json").stdout)
    assert [list(entry)[:2] for entry in content["by_seed"]] == [["epochs", "loss"]] * 2
    assert content["arguments"]["head"] == "bn-dropout"
    identity = json.loads((tmp_path / "p/config.json").read_text())["identity"]
    assert (identity["schedule"], list(identity["views"])) == ([60, 80], ["1"])
    applied = json.loads(run("eval", "probe", "--run", tmp_path / "p", *words[:4], "--json").stdout)
    assert applied["accuracy"] == pytest.approx(content["by_seed"][0]["accuracy"])
    done = CliRunner().invoke(root, [*map(str, ["eval", "probe", *words, "--view", tmp_path / "b.lmdb"])])
    assert (done.exit_code, "--view is for --head bn-dropout" in done.output) == (2, True)
    linear = json.loads(run("eval", "probe", *words, "--json").stdout)
    assert "head" not in linear["arguments"]  # so that runs of it from before are the same


def test_retrieval_and_svm_show_and_keep_their_reports(rng: np.random.Generator, tmp_path: Path) -> None:
    table = table_of(rng)
    ids = table.ids.tolist()
    manifest = write_table(tmp_path / "m.csv", ids, {"label": table.labels["label"].tolist()}, table.split.tolist())
    words = ["--features", write_cache(tmp_path / "a.lmdb", ids, table.values), "--manifest", manifest]
    words += ["--label", "label"]
    done = run("eval", "retrieval", *words, "--k", "1,5,50", "--out", tmp_path / "r")
    assert "mean class recall" in done.stdout
    kept = json.loads((tmp_path / "r/report.json").read_text())
    assert [entry["k"] for entry in kept["by_k"]] == [1, 5, 50]
    assert kept["by_k"][-1]["recall"] == 1.0
    assert "rank" in (tmp_path / "r/predictions.csv").read_text().splitlines()[0]
    content = json.loads(run("eval", "svm", *words, "--c", "0.01,0.1", "--seeds", 1, "--json").stdout)
    assert content["accuracy"] > 0.8
    assert content["arguments"]["folds"] == 5
    assert "by class" in run("eval", "svm", *words, "--c", "0.1").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"dropout": 1.0}, "--dropout"),
        ({"batch_size": 1}, "--batch-size must be 2 or more"),
        ({"epochs": 0}, "--epochs"),
        ({"schedule": (80, 60)}, "--schedule must be rising"),
        ({"weight_decay": -1.0}, "--weight-decay"),
    ],
)
def test_options_that_mean_nothing_are_refused(words: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Head(**words)  # type: ignore[arg-type]


def run(*words: object) -> Result:
    done = CliRunner().invoke(root, [*map(str, words)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done


def test_rows_of_length_one_are_learned_from_by_larc_and_reported_as_without_augmentation(
    rng: np.random.Generator,
) -> None:
    head = Head(head="normalized", epochs=40, batch_size=8, learning_rate=20.0, weight_decay=0.0)
    table = table_of(rng, noise=0.1)
    lengths = rng.uniform(0.1, 10, (len(table), 1)).astype(np.float32)
    scaled = replace(table, values=(table.values - 9) * lengths)
    found = probe(scaled, "label", Probe(seeds=1), head=head)
    assert found.figures["accuracy"] > 0.9
    assert (found.figures["is_augmented"], "without augmentation" in found.figures["protocol"]) == (False, True)
    same = probe(scaled, "label", Probe(seeds=1), head=head)
    assert torch.equal(same.classifier.weight, found.classifier.weight)
    applied = apply(found.classifier, scaled, "label", learned=found.learned, by_clip=True)
    assert applied.figures["accuracy"] == found.figures["accuracy"]


def test_a_protocol_sets_the_head_and_flags_win_over_it(tmp_path: Path, rng: np.random.Generator) -> None:
    table = table_of(rng)
    ids = table.ids.tolist()
    manifest = write_table(tmp_path / "m.csv", ids, {"label": table.labels["label"].tolist()}, table.split.tolist())
    words = ["--features", write_cache(tmp_path / "a.lmdb", ids, table.values), "--manifest", manifest]
    words += ["--label", "label", "--protocol", "imagenet", "--epochs", 2, "--json"]
    done = run("train", "probe", *words, "--out", tmp_path / "p")
    arguments = json.loads(done.stdout)["arguments"]
    assert {name: arguments[name] for name in ("head", "epochs", "batch_size", "learning_rate", "cosine_epochs")} == {
        "head": "normalized", "epochs": 2, "batch_size": 1024, "learning_rate": 3.0, "cosine_epochs": None,
    }  # fmt: skip
    assert not {"dropout", "schedule"} & set(arguments)
    assert "cosine_epochs" not in Head(head="bn-dropout").arguments  # runs from before go on
