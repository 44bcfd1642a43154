"""`egotools train segmentation` and `egotools eval segmentation` on files, as users type them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from acted import CLASSES, WIDTH, write_acted
from memorability_files import complaint, run, shown

from egotools.manifests.segments import Segment, read_segments, write_segments
from egotools.methods.segmentation.training import new_head
from egotools.training import how

FAST = ("--width", "8", "--epochs", "2", "--batch-size", "4", "--chunk", "4", "--device", "cpu")

LEARNING = (
    "--epochs",
    "12",
    "--learning-rate",
    "0.02",
    "--zoom",
    "0",
    "--width",
    "16",
    "--batch-size",
    "2",
    "--chunk",
    "2",
)


def trained(data: Path, *more: object, out: str = "run", fast: tuple[str, ...] = FAST) -> list[object]:
    files = ["--manifest", data / "a.csv", "--segments", data / "a.segments.csv", "--features", data / "a.lmdb"]
    return ["train", "segmentation", *files, "--out", data / out, *fast, *more]


def evaluated(data: Path, *more: object, run: str = "run") -> list[object]:
    files = ["--manifest", data / "a.csv", "--segments", data / "a.segments.csv"]
    return ["eval", "segmentation", "--run", data / run, *files, *more]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, and a run that has learned it."""
    folder = write_acted(tmp_path_factory.mktemp("acted"))
    run(*trained(folder, *LEARNING))
    return folder


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    return write_acted(tmp_path)


def test_a_run_learns_and_its_predictions_say_the_same_as_files(data):
    report = shown(*evaluated(data, "--out", data / "report"))
    assert report["total"] > 200
    assert [each["view"] for each in report["views"]] == ["e1", "v1"]
    assert report["videos"] == sum(each["videos"] for each in report["views"]) == 4
    assert {path.name for path in (data / "report").iterdir()} == {"predictions.csv", "report.json", "segments.png"}
    assert json.loads((data / "report/report.json").read_text()) == report
    files = ["--predictions", data / "report/predictions.csv", "--segments", data / "a.segments.csv"]
    again = shown("eval", "segmentation", *files)
    for name in ("mof", "edit", "f1@10", "f1@25", "f1@50", "views", "by_video"):
        assert again[name] == report[name]
    assert any("of other recordings" in remark for remark in again["remarks"])


def test_predictions_hold_what_other_programs_need(data):
    shown(*evaluated(data, "--out", data / "columns"))
    with (data / "columns/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "start", "end", "label", "sequence", "recording", "view"]
    early = [row for row in rows if row["id"] == "r3/e1" and row["sequence"] == "early_r3"]
    assert (early[0]["start"], early[-1]["end"]) == ("0.0", "8.0")
    assert {row["label"] for row in rows} <= {*CLASSES}


def test_the_table_names_each_view_and_all_together(data):
    said = run(*evaluated(data)).stdout
    for text in ("e1", "v1", "all", "MoF", "edit", "F1@10", "F1@25", "F1@50"):
        assert text in said
    one = run(*evaluated(data, "--views", "v1")).stdout
    assert "e1" not in one


def test_several_chunk_sizes_background_and_tail_are_reported(data):
    (data / "tail.txt").write_text("pour\n")
    report = shown(
        *evaluated(data, "--chunks", "2,4,5", "--background", "rest", "--tail", data / "tail.txt", "--average", "video")
    )
    assert report["arguments"]["chunks"] == [2, 4, 5]
    assert 0 <= report["mof_tail"] <= 100
    assert 0 <= report["mof_head"] <= 100
    assert "'sleep' is no class" in complaint(*evaluated(data, "--background", "sleep"))


def test_recordings_of_the_training_are_evaluated_only_on_request(data):
    said = complaint(*evaluated(data, "--split", "train"))
    assert "the run was trained on them" in said
    assert "--all-rows" in said
    report = shown(*evaluated(data, "--all-rows"))
    assert report["videos"] == 16
    assert any("are no test" in remark for remark in report["remarks"])


def test_a_run_of_one_view_is_not_evaluated_on_another_view_of_its_recordings(data, tmp_path):
    run(*trained(data, "--train-views", "v1", "--epochs", "1", out="one"))
    learned = json.loads((data / "one/learned.json").read_text())[""]
    assert learned["ids"] == ["r0/v1", "r1/v1"]
    assert "the run was trained on them" in complaint(*evaluated(data, "--split", "train", "--views", "e1", run="one"))


def test_without_a_split_test_val_is_evaluated_and_that_is_said(fresh, monkeypatch):
    table = (fresh / "a.csv").read_text().replace(",test", ",other")
    (fresh / "a.csv").write_text(table)
    monkeypatch.setattr(how, "has_fast_bf16", lambda _: False)
    done = shown(*trained(fresh, "--precision", "bf16"))
    assert any("--precision bf16: trained in float32" in remark for remark in done["remarks"])
    assert done["precision_used"] == "float32"
    report = shown(*evaluated(fresh, "--weights", "best"))
    assert {each["id"] for each in report["by_video"]} == {"r2/v1", "r2/e1"}
    assert any("no clip has the split test: val is evaluated" in remark for remark in report["remarks"])
    assert any("the best epoch was chosen on val" in remark for remark in report["remarks"])


def test_presets_set_what_is_published_and_the_run_says_so(fresh):
    small = ("--preset", "reference", "--width", "8", "--epochs", "1", "--slots", "384", "--chunk", "4")
    run(*trained(fresh, fast=small))
    config = json.loads((fresh / "run/config.json").read_text())
    wanted = {"padding": "full", "frame_shift": 1, "shared_span": True, "refiner_dropout": True, "width": 8}
    assert wanted.items() <= config["identity"].items()
    assert config["origin"]["preset"] == "reference"
    report = shown(*evaluated(fresh))  # the frame shift of the run holds for the times of predictions
    assert report["uncovered_seconds"] > 0
    assert report["uncovered_seconds"] < 4 * 0.2


def test_a_published_checkpoint_starts_a_training_and_is_evaluated(fresh):
    head = new_head(WIDTH, len(CLASSES), 8, seed=0)
    torch.save({"total_epochs": 1, "model_state_dict": head.state_dict()}, fresh / "tas.pth")
    (fresh / "classes.txt").write_text("".join(f"{number} {name}\n" for number, name in enumerate(CLASSES)))
    run(*trained(fresh, "--head", fresh / "tas.pth", "--classes", fresh / "classes.txt", "--epochs", "1"))
    files = ["--manifest", fresh / "a.csv", "--segments", fresh / "a.segments.csv", "--features", fresh / "a.lmdb"]
    line = ["eval", "segmentation", "--head", fresh / "tas.pth", "--chunks", "4", *files]
    assert shown(*line, "--classes", fresh / "classes.txt")["videos"] == 4
    (fresh / "more.txt").write_text("a\nb\n")
    assert "knows 4 classes, there are 2" in complaint(*line, "--classes", fresh / "more.txt")
    (fresh / "tas.pth").write_bytes((fresh / "tas.pth").read_bytes()[:2000])
    assert "tas.pth" in complaint(*line, "--classes", fresh / "classes.txt")


def test_a_line_that_is_typed_again_has_nothing_to_do_and_another_is_refused(data):
    line = trained(data, *LEARNING)
    assert "nothing to do" in run(*line).stderr
    assert "holds a run with chunk=2, not 5" in complaint(*line, "--chunk", "5")


@pytest.mark.parametrize(
    ("spoil", "more", "says"),
    [
        (lambda f: retitled(f / "a.csv", "train", "pair"), (), "no clip has the split 'train'"),
        (lambda f: (f / "classes.txt").write_text("pour\nrest\n"), ("--classes", "classes.txt"), "none of the classes"),
        (lambda f: None, ("--train-views", "v9"), "no clip has the view 'v9'; there are e1, v1"),
        (lambda f: retitled(f / "a.segments.csv", "r0,2.0,", "r0,1.5,"), (), "overlap"),
        (lambda f: None, ("--init", "run:nowhere"), "nowhere is no run"),
        (lambda f: None, ("--init", "none.model"), "no such file"),
    ],
)
def test_files_that_cannot_be_used_are_named(fresh, monkeypatch, spoil, more, says):
    spoil(fresh)
    monkeypatch.chdir(fresh)
    assert says in complaint(*trained(fresh, *more))
    assert not (fresh / "run").exists()


def retitled(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_runs_of_other_methods_and_damaged_ones_are_refused(fresh, data):
    (fresh / "run").mkdir()
    (fresh / "run/config.json").write_text('{"identity": {"method": "probe"}, "origin": {}}')
    assert "is not a run of 'egotools train segmentation'" in complaint(*evaluated(fresh))
    assert "no such run" in complaint(*evaluated(fresh, run="none")) or "is no run" in complaint(
        *evaluated(fresh, run="none")
    )
    run(*trained(fresh, out="cut"))
    (fresh / "cut/head.safetensors").write_bytes((fresh / "cut/head.safetensors").read_bytes()[:1000])
    assert "head.safetensors" in complaint(*evaluated(fresh, run="cut"))


def test_features_of_another_cache_are_refused(fresh, data):
    other = write_acted(fresh / "wide", width=5)
    said = complaint(*evaluated(data, "--features", other / "a.lmdb"))
    assert "5" in said


def predicted_file(path: Path, sequences: list[tuple[str, str]], *, until: float = 8.0) -> Path:
    """Predictions of the first class for the half of a recording that a sequence is."""
    begin = {"early": 0.0, "late": 8.0}
    parts = [
        Segment(id, begin[name.split("_")[0]], begin[name.split("_")[0]] + until, CLASSES[0], name)
        for id, name in sequences
    ]
    write_segments(path, parts)
    return path


def test_sequences_without_predictions_are_named_and_counted(fresh):
    path = predicted_file(fresh / "p.csv", [("r0/v1", "early_r0")])
    found = run("eval", "segmentation", "--predictions", path, "--segments", fresh / "a.segments.csv", status=1)
    assert "sequences without predictions: 1 (late_r0 of r0)" in found.stderr
    assert "MoF" in found.stdout
    found = run(
        *("eval", "segmentation", "--predictions", path, "--segments", fresh / "a.segments.csv"),
        *("--manifest", fresh / "a.csv", "--split", "train"),
        status=1,
    )
    assert "sequences without predictions: 3" in found.stderr


def test_truth_is_cut_to_what_was_predicted_and_the_rest_is_reported(fresh):
    path = predicted_file(fresh / "p.csv", [("r0", "early_r0"), ("r0", "late_r0")], until=6.5)
    report = shown("eval", "segmentation", "--predictions", path, "--segments", fresh / "a.segments.csv")
    assert report["uncovered_seconds"] == pytest.approx(3.0)
    assert any("3.000 s of truth of 2 videos left out" in remark for remark in report["remarks"])


def test_the_truth_as_a_prediction_is_right_everywhere(fresh):
    truth = fresh / "a.segments.csv"
    report = shown("eval", "segmentation", "--predictions", truth, "--segments", truth, "--background", "rest")
    assert [report[name] for name in ("mof", "edit", "f1@10", "f1@25", "f1@50")] == [100.0] * 5
    twice = complaint("eval", "segmentation", "--predictions", truth, "--predictions", truth, "--segments", truth)
    assert "is predicted in two files" in twice


def test_predictions_that_meet_no_truth_are_refused(fresh):
    path = predicted_file(fresh / "p.csv", [("somewhere", "early_x")])
    said = complaint("eval", "segmentation", "--predictions", path, "--segments", fresh / "a.segments.csv")
    assert "no prediction meets true segments" in said


def test_what_is_evaluated_is_said_once(data):
    files = ["--segments", data / "a.segments.csv"]
    assert "give one of --run" in run("eval", "segmentation", *files, status=2).output
    assert "give --manifest" in run("eval", "segmentation", "--run", data / "run", *files, status=2).output
    both = ("eval", "segmentation", "--predictions", data / "a.segments.csv", "--chunks", "3", *files)
    assert "--predictions only needs" in run(*both, status=2).output


def test_a_picture_shows_few_of_many_videos(data):
    from egotools.methods.segmentation.comparison import compare
    from egotools.methods.segmentation.evaluation import SHOWN, _bands
    from egotools.methods.segmentation.predictions import read_predictions

    truth = [Segment(f"c{number:02}", 0.0, 2.0, f"class {number % 30}", f"c{number:02}") for number in range(40)]
    write_segments(data / "many.csv", truth)
    comparison = compare(read_predictions(data / "many.csv"), read_segments(data / "many.csv"), "many.csv")
    by_video = [{"mof": float(100 - number)} for number in range(40)]
    bands = _bands(comparison, {"by_video": by_video})
    assert len(bands) == 2 * SHOWN
    assert bands[SHOWN].name.startswith("c39")
    np.testing.assert_array_equal(bands[0].true.ends, [2.0])
