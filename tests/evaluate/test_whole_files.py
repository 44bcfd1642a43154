"""Rows that are labeled by time are evaluated with whole files held out, also when nobody asks for it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from timed_rows import make_cache, make_times, write

from egotools.errors import EgotoolsError, TableError
from egotools.evaluate.classification import Result as Found
from egotools.evaluate.knn import KNN, knn
from egotools.evaluate.splits import Partition
from egotools.evaluate.svm import SVM, svm
from egotools.methods.probe.head import Head
from egotools.methods.probe.probe import Probe, probe
from egotools.tables.table import Table, read_table

VIDEOS, CLIPS, ROWS = 8, 24, 2  # a video is cached in clips of one second, with a row every half second
LABEL = "behavior"


@pytest.fixture
def place(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Features that drift slowly within a video and show nothing of a label that is drawn for every four seconds."""
    clips, values, segments, manifest = {}, {}, [], []
    for video in range(VIDEOS):
        drift = 3 * rng.normal(size=12) + np.cumsum(rng.normal(size=(CLIPS * ROWS, 12)), axis=0)
        for clip in range(CLIPS):
            id, part = f"v{video}-{clip}", slice(clip * ROWS, (clip + 1) * ROWS)
            clips[id] = f"v{video}.mp4", make_times(CLIPS * ROWS)[part]
            values[id] = drift[part]
            manifest.append(f"{id},v{video}.mp4,{clip},{clip + 1},{'test' if video < 2 else 'train'},all")
        for at, name in enumerate(["eat", "rest", *rng.choice(["eat", "rest"], CLIPS // 4 - 2)]):
            segments.append(f"s{video}-{at},v{video}.mp4,{4 * at},{4 * at + 4},{name},p{video % 2},p{at}")
    make_cache(tmp_path / "x.lmdb", clips, values)
    write(tmp_path / "s.csv", f"id,path,start,end,{LABEL},camera,person", *segments)
    write(tmp_path / "splits.csv", "id,path,start,end,split,day", *manifest)
    write(
        tmp_path / "m.csv",
        "id,path,start,end,day",
        *(line.replace(",test", "").replace(",train", "") for line in manifest),
    )
    return tmp_path


def table_of(place: Path, manifest: str = "m.csv") -> Table:
    return read_table(place / manifest, place / "x.lmdb", reduce=None, segments=place / "s.csv")


def run(place: Path, *line: object, manifest: str = "m.csv") -> Result:
    words = [*line, "--manifest", place / manifest, "--features", place / "x.lmdb"]
    return CliRunner().invoke(root, [*map(str, words)])


def shown(place: Path, *line: object, manifest: str = "m.csv") -> tuple[dict[str, Any], str]:
    done = run(place, *line, "--segments", place / "s.csv", "--json", manifest=manifest)
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout), done.stderr


def by_knn(table: Table, partition: Partition = Partition()) -> Found:  # noqa: B008 - frozen
    return knn(table, LABEL, KNN(k=(1,)), partition=partition)


def by_probe(table: Table, partition: Partition = Partition()) -> Found:  # noqa: B008 - frozen
    return probe(table, LABEL, Probe(c=(0.1,), seeds=2), partition=partition)


def by_svm(table: Table, partition: Partition = Partition()) -> Found:  # noqa: B008 - frozen
    return svm(table, LABEL, SVM(c=(0.01,), seeds=2), partition=partition)


def test_a_hurried_command_lets_no_neighboring_row_vote(place: Path) -> None:
    found, said = shown(place, "eval", "knn", "--label", LABEL, "--k", "1", "--out", place / "out")
    table = table_of(place)
    leaking = replace(table, labels={LABEL: table.labels[LABEL]})  # as if the rows' files were not known
    assert by_knn(leaking).figures["accuracy"] > 0.8
    assert found["accuracy"] < 0.65
    assert found["protocol"] == "leave one file out"
    assert "rows of one file are kept together (--group path)" in said
    with (place / "out/predictions.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == VIDEOS * CLIPS * ROWS
    for row in rows:
        assert not any(id.startswith(row["id"].partition("-")[0]) for id in json.loads(row["neighbors"]))


@pytest.mark.parametrize("evaluate", [by_probe, by_svm])
def test_whole_files_are_held_out_without_splits(place: Path, evaluate: Callable[[Table], Found]) -> None:
    found = evaluate(table_of(place))
    assert found.figures["protocol"] == "25% held out, file kept whole"
    rows = found.predictions.rows
    seeds = np.array(found.predictions.details["seed"])
    for seed in "01":  # of a file that is evaluated all rows are
        files, counts = np.unique(rows.labels["path"][seeds == seed].astype(str), return_counts=True)
        assert 0 < len(files) < VIDEOS
        assert set(counts.tolist()) == {CLIPS * ROWS}


def test_splits_that_divide_a_file_leave_its_training_rows_out(place: Path) -> None:
    whole = by_probe(table_of(place, "splits.csv"))
    assert (whole.figures["rows"], whole.figures["train_rows"]) == (2 * CLIPS * ROWS, 6 * CLIPS * ROWS)
    text = (place / "splits.csv").read_text()
    (place / "splits.csv").write_text(text.replace("v2-0,v2.mp4,0,1,train", "v2-0,v2.mp4,0,1,test"))
    table = table_of(place, "splits.csv")
    found = by_probe(table)
    assert (found.figures["rows"], found.figures["train_rows"]) == ((2 * CLIPS + 1) * ROWS, 5 * CLIPS * ROWS)
    said = f"1 of 3 evaluated files are on both sides: {(CLIPS - 1) * ROWS} rows of train left out, 240 trained on"
    assert said in found.remarks
    assert "1 of 3 evaluated files are on both sides: rows of one file are not compared" in by_knn(table).remarks


def test_a_group_that_divides_a_file_is_refused(place: Path) -> None:
    line = ["eval", "knn", "--label", LABEL, "--segments", place / "s.csv", "--group", "person"]
    error = run(place, *line).exception
    assert isinstance(error, EgotoolsError)
    assert f"--group person: the rows of {place}/v0.mp4 are in several groups" in str(error)


def test_a_group_of_the_segments_may_be_wider_than_a_file(place: Path) -> None:
    text = (place / "s.csv").read_text()
    (place / "s.csv").write_text(text.replace(",p0,p3", ",,p3"))  # rows without a group stay with their file
    with pytest.raises(TableError, match=r"v0\.mp4 are in several groups"):
        by_knn(table_of(place), Partition(group="camera"))
    (place / "s.csv").write_text(text)
    found = by_knn(table_of(place), Partition(group="camera"))
    assert found.figures["protocol"] == "leave one camera out"
    with pytest.raises(TableError, match="all 384 rows are of one day: nobody is left to vote"):
        by_knn(table_of(place), Partition(group="day"))


def test_recordings_and_videos_are_kept_whole_where_every_file_has_one(place: Path) -> None:
    header, *lines = (place / "m.csv").read_text().splitlines()
    write(place / "m.csv", f"{header},recording", *(f"{line},r{line[1:2] < '4'}" for line in lines))
    found = by_knn(table_of(place))
    assert found.figures["protocol"] == "leave one recording out"
    assert "rows of one recording are kept together (--group recording)" in found.remarks
    write(place / "m.csv", f"{header},recording", *(f"{line},r{line[:4]}" for line in lines))  # several in a file
    assert by_knn(table_of(place)).figures["protocol"] == "leave one file out"
    write(place / "m.csv", f"{header},video", *(f"{line}," for line in lines))
    assert by_knn(table_of(place)).figures["protocol"] == "leave one file out"


def test_one_video_alone_cannot_be_evaluated_and_says_so(place: Path) -> None:
    write(place / "m.csv", *[line for line in (place / "m.csv").read_text().splitlines() if line[:2] in ("id", "v0")])
    with pytest.raises(TableError, match="all 48 rows are of one file: nobody is left to vote"):
        by_knn(table_of(place))
    with pytest.raises(TableError, match="nothing can be held out"):
        by_probe(table_of(place))


def test_rows_and_their_neighbors_are_told_apart_by_their_times(place: Path) -> None:
    shown(place, "eval", "knn", "--label", LABEL, "--reduce", "none", "--k", "3", "--out", place / "out")
    with (place / "out/predictions.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert len({(row["id"], row["start"], row["end"]) for row in rows}) == len(rows)
    ids, times = json.loads(rows[0]["neighbors"]), json.loads(rows[0]["neighbor_times"])
    assert len({(id, *each) for id, each in zip(ids, times, strict=True)}) == 3
    report = json.loads((place / "out/report.json").read_text())
    assert report["arguments"]["reduce"] == "none"
    assert report["inputs"]["segments"]["path"] == str(place / "s.csv")
    assert len(report["inputs"]["segments"]["digest"]) == 16


def test_a_run_is_judged_on_rows_of_other_files(place: Path) -> None:
    line = ["train", "probe", "--label", LABEL, "--c", "0.1", "--seeds", "1", "--out", place / "p"]
    trained, _ = shown(place, *line)
    assert run(place, *line, "--segments", place / "s.csv").exit_code == 0  # it is done
    judged, said = shown(place, "eval", "probe", "--run", place / "p")
    assert judged["rows"] == trained["rows"]
    assert (
        f"{trained['train_rows']} of 384 rows left out: the run was trained on them, or on others of their file" in said
    )
    learned = json.loads((place / "p/learned.json").read_text())[""]
    assert learned["group"] == "path"
    write(place / "s.csv", *(place / "s.csv").read_text().replace("eat", "sleep").splitlines())
    error = run(place, *line, "--segments", place / "s.csv").exception
    assert "segments" in str(error)


def test_a_run_is_not_judged_on_clips_that_were_cut_from_its_files(place: Path) -> None:
    line = ["train", "probe", "--label", LABEL, "--c", "0.1", "--seeds", "1", "--out", place / "p"]
    trained, _ = shown(place, *line)
    whole = ["derive", "cut", "--features", place / "x.lmdb", "--out", place / "cut", "--manifest", place / "t.csv"]
    write(
        place / "t.csv",
        f"id,path,start,end,{LABEL}",
        *(f"t{video},v{video}.mp4,0,1,eat" for video in range(VIDEOS)),
    )
    assert CliRunner().invoke(root, [*map(str, whole)]).exit_code == 0
    judged = ["eval", "probe", "--run", place / "p", "--features", place / "cut/x.lmdb", "--manifest", place / "t.csv"]
    done = CliRunner().invoke(root, [*map(str, judged), "--json"])
    assert json.loads(done.stdout)["rows"] == trained["rows"] // CLIPS  # a second of the files that were held out
    assert "or on others of their file" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["eval", "knn", "--reduce", "mean"], "--segments labels single rows: it goes with --reduce none, not mean"),
        (["eval", "probe", "--head", "bn-dropout"], "--segments is for --head linear: bn-dropout predicts whole clips"),
        (["train", "probe", "--protocol", "imagenet", "--out", "p"], "normalized predicts whole clips"),
    ],
)
def test_what_has_no_single_rows_is_wrong_usage(place: Path, line: list[str], said: str) -> None:
    done = run(place, *line, "--label", LABEL, "--segments", place / "s.csv")
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())


def test_heads_that_predict_clips_refuse_rows_from_python(place: Path) -> None:
    with pytest.raises(ValueError, match="predicts whole clips"):
        probe(table_of(place), LABEL, Probe(), head=Head(head="bn-dropout"))


def test_a_run_of_whole_clips_has_no_use_for_segments(place: Path) -> None:
    lines = (place / "m.csv").read_text().splitlines()[1:]
    named = (line.replace("all", "xy"[number % 2]) for number, line in enumerate(lines))
    write(place / "c.csv", f"id,path,start,end,{LABEL}", *named)
    line = ["train", "probe", "--label", LABEL, "--c", "0.1", "--seeds", "1", "--out", place / "p"]
    assert run(place, *line, manifest="c.csv").exit_code == 0
    error = run(place, "eval", "probe", "--run", place / "p", "--segments", place / "s.csv").exception
    assert "segments are for runs that were trained with --reduce none" in str(error)
