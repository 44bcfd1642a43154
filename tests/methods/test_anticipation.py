"""Long-term anticipation: windows of actions, training and evaluation by the commands, and the challenge's format."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from clip_rows import every, write_rows
from egotools.cli.main import root as egotools

from egotools.manifests.table import read_manifest, write_manifest
from egotools.methods.anticipation.options import Anticipation
from egotools.methods.anticipation.run import train_anticipation
from egotools.methods.anticipation.training import drawn_rows, middle_rows
from egotools.methods.anticipation.windows import read_actions, windows_of
from egotools.training.how import How
from egotools.types import Clip, Rows

WIDTH, CYCLE, ROWS = 8, 6, 3


def run(*words: object, status: int = 0) -> Result:
    done = CliRunner().invoke(egotools, [*map(str, words)])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def action(clip: str, index: int, split: str, *, verb: int | None = 0, noun: int | None = 0) -> Clip:
    labels = {"clip_uid": clip, "action_idx": str(index)}
    labels |= {"verb_label": "" if verb is None else str(verb), "noun_label": "" if noun is None else str(noun)}
    return Clip(f"{clip}_{index}", Path(), 2.0 * index, 2.0 * index + 8, split, labels)


def write(folder: Path, actions: list[Clip], *, without: tuple[str, ...] = (), seed: int = 0) -> tuple[Path, Path]:
    """A manifest of the actions in any order, and a cache in which the verb is seen, three rows an action."""
    random, cached = np.random.default_rng(seed), {}
    for each in actions:
        if each.id not in without:
            values = random.normal(scale=0.1, size=(ROWS, WIDTH))
            values[:, int(each.labels["verb_label"] or 0) % WIDTH] += 2.0
            cached[each.id] = Rows(values.astype(np.float32), every(ROWS, 2.0, each.start))
    write_manifest(folder / "l.csv", [actions[at] for at in random.permutation(len(actions))])
    return folder / "l.csv", write_rows(folder / "l.lmdb", cached)


def cycle(clip: str, length: int, split: str, *, begin: int = 0) -> list[Clip]:
    """Actions whose verbs count round and round, and whose nouns are twice as many."""
    return [action(clip, at, split, verb=(begin + at) % CYCLE, noun=2 * ((begin + at) % CYCLE)) for at in range(length)]


# Windows


@pytest.mark.parametrize(("length", "upstream"), [(23, 0), (24, 1), (25, 2), (30, 7)])
def test_the_reference_has_one_window_less_of_each_clip(tmp_path, length, upstream):
    actions = [*cycle("a", 40, "train"), *cycle("b", length, "train")]
    found = read_actions(*(lambda manifest, cache: (manifest, [cache]))(*write(tmp_path, actions)))
    for kind, count in (("upstream", upstream), ("reference", max(upstream - 1, 0))):
        windows = windows_of(found, Anticipation(windows=kind))
        of_b = [name for name in windows.names if name.startswith("b_")]
        assert of_b == [f"b_{3 + at}" for at in range(count)]
        short = 24 + (kind == "reference")
        named = f"1 clip of fewer than {short} actions left out: b" in windows.remarks
        assert named == (count == 0)


def test_a_window_is_four_actions_and_the_twenty_after_them_by_their_numbers(tmp_path):
    manifest, cache = write(tmp_path, cycle("a", 26, "val"))
    windows = windows_of(read_actions(manifest, [cache]), Anticipation())
    assert windows.names == ["a_3", "a_4", "a_5"]
    np.testing.assert_array_equal(windows.actions.numbers[windows.inputs[1]], [1, 2, 3, 4])
    np.testing.assert_array_equal(windows.labels[1, :, 0], np.arange(5, 25) % CYCLE)
    np.testing.assert_array_equal(windows.labels[1, :, 1], 2 * (np.arange(5, 25) % CYCLE))
    assert windows.actions.classes == (CYCLE, 2 * CYCLE - 1)


def test_an_observed_action_without_rows_costs_its_windows_and_one_to_come_costs_none(tmp_path):
    actions = cycle("a", 26, "train")
    del actions[10]
    manifest, cache = write(tmp_path, actions, without=("a_0", "a_20"))
    windows = windows_of(read_actions(manifest, [cache]), Anticipation(future=19))
    assert windows.names == ["a_4", "a_5"]
    said = " ".join(windows.remarks)
    assert "2 clips missing in" in said
    assert "1 window left out: an observed action has no row" in said
    assert "1 clip lacks actions between others" in said


def test_each_epoch_shows_another_of_the_cached_rows_of_an_action(tmp_path):
    manifest, cache = write(tmp_path, cycle("a", 30, "train"))
    actions = read_actions(manifest, [cache])
    shown = [drawn_rows(actions, 0, epoch) - actions.first for epoch in range(40)]
    assert {*np.concatenate(shown)} == set(range(ROWS))
    np.testing.assert_array_equal(drawn_rows(actions, 0, 3) - actions.first, shown[3])
    assert not np.array_equal(shown[0], shown[1])
    assert {*(middle_rows(actions) - actions.first)} == {1}
    for clip, first in zip(actions.clips, actions.first.tolist(), strict=True):
        assert actions.rows[first].argmax() == int(clip.labels["verb_label"])


# By the commands


SMALL = ("--width", 32, "--layers", 1, "--heads", 2, "--feedforward", 32, "--dropout", 0, "--warmup", 5)
LEARNS = (*SMALL, "--learning-rate", 0.01, "--epochs", 20)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    """Four clips to train, one of val, and one of test without labels."""
    folder = tmp_path_factory.mktemp("actions")
    actions = [each for at in range(4) for each in cycle(f"t{at}", 36, "train", begin=at)]
    actions += cycle("v", 30, "val", begin=2)
    actions += [action("u", at, "test", verb=None, noun=None) for at in range(25)]
    return write(folder, actions)


@pytest.fixture(scope="module")
def trained(made, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run") / "l"
    run("train", "anticipation", "--manifest", made[0], "--features", made[1], "--out", out, *LEARNS)
    return out


def evaluated(run_folder: Path, made: tuple[Path, Path], *more: object) -> tuple[dict, Result]:
    line = ("eval", "anticipation", "--run", run_folder, "--manifest", made[0], "--features", made[1], "--json")
    done = run(*line, *more)
    return json.loads(done.stdout), done


def test_a_cycle_of_actions_is_learned_and_beats_the_most_frequent_one(made, trained):
    content, done = evaluated(trained, made)
    assert content["protocol"] == "7 windows of val"
    assert "chosen on val" in done.stderr
    for head, classes in (("verb", CYCLE), ("noun", 2 * CYCLE - 1)):
        figures = content[head]
        assert figures["ed"] < 0.2
        assert figures["constant"]["ed"] == pytest.approx(
            1 - 1 / classes if head == "verb" else 1 - 1 / CYCLE, abs=0.05
        )
        assert len(figures["by_length"]) == 20
        assert figures["by_length"][-1] == figures["ed"]
        assert figures["ed_deviation"] is not None
    report = json.loads((trained / "report.json").read_text())
    assert (report["windows"], report["val_windows"], report["verbs"], report["nouns"]) == (52, 7, 6, 11)
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert report["best"]["verb_ed"] == min(line["val_verb_ed"] for line in lines)


def test_a_submission_has_five_sequences_of_twenty_for_every_window_of_test(made, trained, tmp_path):
    content, done = evaluated(trained, made, "--submission", tmp_path / "lta.json")
    assert (content["windows"], content["labeled"], content["verb"]["ed"]) == (2, 0, None)
    assert "2 windows without labels predicted only" in done.stderr
    found = json.loads((tmp_path / "lta.json").read_text())
    assert list(found) == ["u_3", "u_4"]
    for each in found.values():
        assert list(each) == ["verb", "noun"]
        for head, classes in (("verb", 6), ("noun", 11)):
            assert [len(sequence) for sequence in each[head]] == [20] * 5
            assert {type(label) for sequence in each[head] for label in sequence} == {int}
            assert all(0 <= label < classes for sequence in each[head] for label in sequence)


def test_the_figures_are_those_of_the_submission(made, trained, tmp_path):
    content, _ = evaluated(trained, made, "--submission", tmp_path / "s.json", "--test-split", "val", "--seeds", 1)
    from egotools.metrics.edit_distance import edit_distances

    found, clips = json.loads((tmp_path / "s.json").read_text()), {clip.id: clip for clip in read_manifest(made[0])}
    names = list(found)
    assert names == [f"v_{at}" for at in range(3, 10)]
    predicted = np.array([found[name]["verb"] for name in names]).transpose(0, 2, 1)
    true = [[int(clips[f"v_{int(name[2:]) + z}"].labels["verb_label"]) for z in range(1, 21)] for name in names]
    distances = edit_distances(predicted, np.array(true))
    assert content["verb"]["ed"] == pytest.approx(distances.by_length[-1])
    assert content["verb"]["ed_deviation"] is None


def test_a_single_candidate_is_the_likeliest_whatever_the_seed(made, trained):
    content, _ = evaluated(trained, made, "--candidates", 1)
    assert content["verb"]["ed_deviation"] == 0
    assert content["candidates"] == 1


class Interrupted(Exception):
    pass


def test_an_interrupted_training_resumes_to_the_same_bytes(made, tmp_path):
    sizes = {"width": 16, "layers": 1, "heads": 2, "feedforward": 16, "warmup": 3}
    config = Anticipation(epochs=4, batch_size=20, learning_rate=0.01, **sizes)  # 52 windows: 3 batches

    def interrupt(_: str, epoch: int, __: int) -> None:
        if epoch == 3:
            raise Interrupted

    how = How(save_every=0.0, log_every=2)  # the last checkpoint is in the middle of an epoch
    whole = train_anticipation(tmp_path / "whole", made[0], [made[1]], config, how=how)
    with pytest.raises(Interrupted):
        train_anticipation(tmp_path / "cut", made[0], [made[1]], config, how=how, progress=interrupt)
    assert not (tmp_path / "cut/report.json").exists()
    assert train_anticipation(tmp_path / "cut", made[0], [made[1]], config, how=how) == whole
    for name in ("metrics.jsonl", "anticipation.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_manifest_of_val_alone_is_trained_and_evaluated_on_and_says_so(tmp_path):
    made = write(tmp_path, cycle("a", 26, "val"))
    shared = ("--manifest", made[0], "--features", made[1])
    done = run("train", "anticipation", *shared, "--out", tmp_path / "r", *SMALL, "--epochs", 1)
    assert "no clip has the split 'train': trained on all" in done.stderr
    assert "loss of the last batches" in done.stderr + done.stdout
    assert "--warmup has 5 steps, the training 1: the rate ends at 0.2" in done.stderr
    content, done = evaluated(tmp_path / "r", made)
    assert content["windows"] == 3
    assert "3 of 3 evaluated rows are no test" in done.stderr


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ({"verb_label": "x"}, "clip 'a_3': verb_label 'x' is not a whole number of 0 or more"),
        ({"noun_label": "-1"}, "clip 'a_3': noun_label '-1' is not a whole number of 0 or more"),
        ({"verb_label": ""}, "clip 'a_3': one of verb_label and noun_label is empty"),
        ({"clip_uid": ""}, "clip 'a_3': no clip_uid; 'egotools manifest ego4d"),
        ({"action_idx": "1.5"}, "clip 'a_3': action_idx '1.5' is not"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_by_its_column(tmp_path, labels, problem):
    actions = cycle("a", 26, "train")
    actions[3] = replace(actions[3], labels={**actions[3].labels, **labels})
    actions[0] = replace(actions[0], labels={**actions[0].labels})
    random, cached = np.random.default_rng(0), {}
    for each in actions:
        cached[each.id] = Rows(random.normal(size=(1, WIDTH)).astype(np.float32), every(1))
    write_manifest(tmp_path / "l.csv", actions)
    shared = ("--manifest", tmp_path / "l.csv", "--features", write_rows(tmp_path / "l.lmdb", cached))
    assert problem in str(run("train", "anticipation", *shared, "--out", tmp_path / "r", status=1).exception)
    assert not (tmp_path / "r").exists()


def test_classes_are_counted_or_those_of_a_taxonomy_and_never_too_few(made, trained, tmp_path):
    taxonomy = tmp_path / "taxonomy.json"
    taxonomy.write_text(json.dumps({"verbs": ["v"] * 117, "nouns": ["n"] * 521}))
    line = ("train", "anticipation", "--manifest", made[0], "--features", made[1], *SMALL, "--epochs", 1)
    done = run(*line, "--out", tmp_path / "r", "--taxonomy", taxonomy, "--json")
    assert [json.loads(done.stdout)[name] for name in ("verbs", "nouns")] == [117, 521]
    taxonomy.write_text(json.dumps({"verbs": ["v"] * 5, "nouns": ["n"] * 521}))
    said = str(run(*line, "--out", tmp_path / "r2", "--taxonomy", taxonomy, status=1).exception)
    assert "the verb_label 5 is beyond the 5 verbs of" in said
    other = write(tmp_path, [action("a", at, "val", verb=8, noun=1) for at in range(24)])
    line = ("eval", "anticipation", "--run", trained, "--manifest", other[0], "--features", other[1])
    assert "the verb_label 8 is beyond the 6 verbs of" in str(run(*line, status=1).exception)


def test_nothing_to_learn_or_to_compare_is_refused(trained, tmp_path):
    unlabeled = write(tmp_path, [action("a", at, "test", verb=None, noun=None) for at in range(24)])
    shared = ("--manifest", unlabeled[0], "--features", unlabeled[1])
    said = str(run("train", "anticipation", *shared, "--out", tmp_path / "r", status=1).exception)
    assert "no window has labels" in said
    assert "--submission FILE" in str(run("eval", "anticipation", "--run", trained, *shared, status=1).exception)
    (tmp_path / "short").mkdir()
    short = write(tmp_path / "short", cycle("a", 20, "train"))
    said = str(
        run(
            "train", "anticipation", "--manifest", short[0], "--features", short[1], "--out", tmp_path / "r", status=1
        ).exception
    )
    assert "1 clip of fewer than 24 actions left out: a" in said
    assert "--heads 3" in run("train", "anticipation", *shared, "--out", tmp_path / "r", "--heads", 3, status=2).output


def test_a_training_that_diverges_ends_with_a_line_and_no_report(made, tmp_path):
    line = ("train", "anticipation", "--manifest", made[0], "--features", made[1], "--out", tmp_path / "r", *SMALL)
    said = str(run(*line, "--warmup", 0, "--learning-rate", 1e38, "--epochs", 2, status=1).exception)
    assert "not finite" in said or "the loss is" in said
    assert "--learning-rate" in said
    assert not (tmp_path / "r/report.json").exists()


def facts(features: int) -> str:
    return json.dumps({"features": features, "verbs": 6, "nouns": 11, "frequent_verb": 0, "frequent_noun": 0})


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("anticipation.json", '{"features": 8}', "'verbs' is missing"),
        ("anticipation.json", facts(0), "must be above 0"),
        ("anticipation.json", facts(9), "cannot be used"),
        ("anticipation.safetensors", "x", "cannot be used"),
        ("report.json", "{}", "is missing"),
    ],
)
def test_a_damaged_run_is_refused_by_its_file(made, trained, tmp_path, file, content, problem):
    shutil.copytree(trained, tmp_path / "r")
    (tmp_path / "r" / file).write_text(content)
    line = ("eval", "anticipation", "--run", tmp_path / "r", "--manifest", made[0], "--features", made[1])
    assert problem in str(run(*line, status=1).exception)
