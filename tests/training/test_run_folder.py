"""The folder of a run, by its functions: begun, resumed, finished, refused, and never half written."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from tabled import write_cache, write_table

from egotools.errors import OutputError, RunError
from egotools.stores import Recipe
from egotools.training.runs import Run, once, one_writer, provenance_of, results_in, run_recipe

RECIPE = Recipe({"method": "x", "options": {"width": 3}}, {"manifest": "m.csv"})


def test_a_run_is_new_once_and_the_same_one_later(tmp_path):
    assert not Run.exists(tmp_path / "r")
    run = Run.begin(tmp_path / "r", RECIPE)
    assert Run.exists(tmp_path / "r")
    again = Run.begin(tmp_path / "r", Recipe(RECIPE.identity, {"manifest": "elsewhere.csv"}))  # only reported
    assert again.recipe == run.recipe == Run.open(tmp_path / "r").recipe == RECIPE


def test_another_identity_is_refused_with_the_entry_and_both_values(tmp_path):
    Run.begin(tmp_path, RECIPE)
    with pytest.raises(RunError, match=r"options\.width=3, not 4"):
        Run.begin(tmp_path, Recipe({"method": "x", "options": {"width": 4}}))


def test_values_that_json_lacks_are_compared_as_they_were_written(tmp_path):
    """config.json has null for infinity: a run with it is resumed, not refused for `None, not inf`."""
    recipe = Recipe({"max_norm": math.inf, "c": (1.0, 2.0)})
    Run.begin(tmp_path, recipe)
    assert Run.begin(tmp_path, recipe).path == tmp_path


@pytest.mark.parametrize("name", ["notes.txt", "metrics.jsonl"])
def test_a_folder_with_other_files_and_a_file_are_no_place_for_a_run(tmp_path, name):
    (tmp_path / name).write_text("mine")
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(RunError, match="holds no run"):
            Run.begin(place, RECIPE)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "no config.json"), ("[]", "config.json cannot be read"), ('{"identity": {}}', "origin"), ("{", "config")],
)
def test_a_folder_that_is_no_run_is_named(tmp_path, text, said):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match=said) as caught:
        Run.open(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_report_makes_a_run_done_and_what_is_not_finite_is_none(tmp_path):
    run = Run.begin(tmp_path, RECIPE)
    assert not run.is_done
    with pytest.raises(RunError, match=r"no report\.json; rerun"):
        run.report()
    run.write("report.json", '{"loss": NaN, "best": [1.5, Infinity]}')  # as an older egotools wrote it
    assert run.is_done
    assert run.report() == {"loss": None, "best": [1.5, None]}
    with pytest.raises(RunError, match="best"):
        run.report(dict[str, float])


def test_metrics_come_back_in_order_without_the_line_that_a_kill_cut_off(tmp_path):
    run = Run.begin(tmp_path, RECIPE)
    assert run.metrics() == []
    for step in (1, 2, 3):
        run.log({"step": step, "loss": 1 / step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert run.metrics() == [{"step": step, "loss": 1 / step} for step in (1, 2, 3)]
    run.drop_metrics_after(2)
    assert [line["step"] for line in run.metrics()] == [1, 2]
    run.log({"step": 3})  # begins a line of its own: nothing of the cut one is left
    assert [line["step"] for line in run.metrics()] == [1, 2, 3]


@pytest.mark.parametrize("line", ["no JSON", "[1]", '{"loss": 1}', '{"step": "1"}'])
def test_a_line_that_holds_no_figures_is_named_by_its_number(tmp_path, line):
    run = Run.begin(tmp_path, RECIPE)
    run.log({"step": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RunError, match=r"metrics\.jsonl cannot be read: line 2"):
        run.metrics()


def test_dropping_metrics_of_a_run_without_any_makes_no_file(tmp_path):
    run = Run.begin(tmp_path, RECIPE)
    run.drop_metrics_after(0)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_only_an_empty_run_is_forgotten(tmp_path):
    full = Run.begin(tmp_path / "full", RECIPE)
    full.log({"step": 1})
    full.forget_if_empty()
    assert Run.exists(tmp_path / "full")
    empty = Run.begin(tmp_path / "empty", RECIPE)
    empty.forget_if_empty()
    assert not Run.exists(tmp_path / "empty")


def test_once_makes_a_report_and_then_reads_it(tmp_path):
    made = []

    def make(run):
        made.append(run.path)
        run.write("weights", b"12")
        return {"accuracy": 0.5, "nothing": math.nan}

    first = once(tmp_path / "r", RECIPE, make)
    assert first == ({"accuracy": 0.5, "nothing": None}, True)
    assert once(tmp_path / "r", RECIPE, make) == (first[0], False)
    assert made == [tmp_path / "r"]
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"config.json", "report.json", "weights"}


@pytest.mark.parametrize(("has_written", "left"), [(False, set()), (True, {"config.json", "weights"})])
def test_what_a_failing_run_has_written_is_kept_to_resume_from(tmp_path, has_written, left):
    def make(run):
        if has_written:
            run.write("weights", b"12")
        raise RunError("no more")

    with pytest.raises(RunError, match="no more"):
        once(tmp_path / "deep" / "r", RECIPE, make)
    folder = tmp_path / "deep" / "r"
    assert ({path.name for path in folder.iterdir()} if folder.exists() else set()) == left
    assert (tmp_path / "deep").exists() == has_written


def test_a_run_that_another_process_has_just_finished_is_read(tmp_path, monkeypatch):
    """It finishes between the first look and the lock."""
    Run.begin(tmp_path, RECIPE).write("report.json", '{"by": "another"}')
    looks = iter([False, True])
    monkeypatch.setattr(Run, "is_done", property(lambda run: next(looks)))
    assert once(tmp_path, RECIPE, lambda run: pytest.fail("made again")) == ({"by": "another"}, False)


def test_a_lock_leaves_folders_that_were_there_and_takes_its_own_with_it(tmp_path):
    with one_writer(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with pytest.raises(KeyError), one_writer(tmp_path / "a" / "b"):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file/r cannot be written"), one_writer(tmp_path / "file" / "r"):
        pass


def test_results_may_go_beside_other_files_and_never_into_a_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with results_in(tmp_path):
        (tmp_path / "report.json").write_text("{}")
    Run.begin(tmp_path / "r", RECIPE)
    with pytest.raises(RunError, match="holds a run"), results_in(tmp_path / "r"):
        pytest.fail("may write")


def test_a_training_is_known_by_contents_and_not_by_places(tmp_path):
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        write_table(tmp_path / folder / "m.csv", ["a"], {})
        write_cache(tmp_path / folder / "x.lmdb", ["a"], np.ones((1, 2)))
    recipes = [
        run_recipe("x", {"width": 3}, tmp_path / folder / "m.csv", [tmp_path / folder / "x.lmdb"], {"1": {"clips": 1}})
        for folder in ("one", "other")
    ]
    assert recipes[0].identity == recipes[1].identity
    assert recipes[0].identity["features"] == {"1": {"clips": 1}}
    assert recipes[1].origin["features"] == [str(tmp_path / "other" / "x.lmdb")]
    write_table(tmp_path / "other" / "m.csv", ["a", "b"], {})
    changed = run_recipe("x", {"width": 3}, tmp_path / "other" / "m.csv", [], {"1": {"clips": 1}})
    assert changed.identity["manifest"] != recipes[0].identity["manifest"]


def test_a_report_names_its_inputs_by_place_and_digest(tmp_path):
    manifest = write_table(tmp_path / "m.csv", ["a"], {})
    cache = write_cache(tmp_path / "x.lmdb", ["a"], np.ones((1, 2)))
    found = json.loads(json.dumps(provenance_of({"k": 3}, manifest, [cache])))
    assert found["arguments"] == {"k": 3}
    assert found["inputs"]["manifest"]["path"] == str(manifest)
    assert [each["path"] for each in found["inputs"]["features"]] == [str(cache)]
    assert found["versions"]["numpy"] == np.__version__
