"""Files of runs and recipes of caches that are not what they should be: one line that names the file and the entry."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from safetensors.numpy import load_file, save_file
from tabled import write_cache, write_table

from egotools.errors import EgotoolsError
from egotools.files.json_files import check_shape, read_json
from egotools.stores import Recipe

IDS = [f"clip/{number}" for number in range(24)]
OPTIONS = {"fps": 1.0, "frames": None, "stride": None, "bins": 8}
COLOR = Recipe(
    {"extractor": "color", "version": 1, "options": OPTIONS, "precision": "float32", "dtype": "float32"},
    {"extractor": "color", "weights": None},
)
DEEP = "[" * 200_000


def invoke(*line: object) -> Result:
    return CliRunner().invoke(root, [str(part) for part in line])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs: `m` of memorability, `p` of a probe, `c` of a PCA."""
    folder, rng = tmp_path_factory.mktemp("trained"), np.random.default_rng(0)
    labels = {"label": ["a", "b"] * 12, "memorability": rng.random(24).round(3)}
    write_table(folder / "m.csv", IDS, labels, ["train"] * 16 + ["test"] * 4 + ["val"] * 4)
    write_cache(folder / "x.lmdb", IDS, rng.normal(size=(24, 30)), COLOR)
    for line in (
        ["memorability", "--hidden", "4", "--epochs", "2", "--out", folder / "m"],
        ["probe", "--label", "label", "--c", "1", "--out", folder / "p"],
        ["pca", "--components", "2", "--out", folder / "c"],
    ):
        result = invoke("train", *line, "--manifest", folder / "m.csv", "--features", folder / "x.lmdb")
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "t")


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """What `change` returns, or the value that it has changed, takes the place of a file's JSON."""
    value = json.loads(path.read_text())
    changed = change(value)
    path.write_text(changed if isinstance(changed, str) else json.dumps(value if changed is None else changed))


def put(*names: str | int, value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for name in names[:-1]:
            content = content[name]
        content[names[-1]] = value

    return change


def lines(place: Path, video: Path) -> dict[str, list[list[Any]]]:
    """By method the commands that read its run."""
    joined = ["--features", place / "x.lmdb", "--manifest", place / "m.csv"]
    return {
        "m": [
            ["predict", "memorability", "--run", place / "m", video],
            ["eval", "memorability", "--run", place / "m", "--manifest", place / "m.csv", "--draws", "5"],
        ],
        "p": [
            ["predict", "probe", "--run", place / "p", video],
            ["eval", "probe", "--run", place / "p", *joined, "--all-rows"],
        ],
    }


STRANGE: list[tuple[str, str, Callable[[Any], Any], str]] = [
    *((run, f"{name}.json", lambda _: DEEP, "nested deeper than 64 levels") for run, name in (
        ("m", "features"), ("m", "config"), ("m", "report"), ("p", "config"), ("p", "learned"), ("m", "learned"))),
    *((run, f"{name}.json", lambda _, text=text: text, said) for text, said in (
        ("", "Expecting value"), ("null", "it is None, not an object"), ("[]", "it is [], not an object"),
        ('"x"', "it is 'x', not an object"), ("{}", "is missing")) for run, name in (
        ("m", "features"), ("m", "config"), ("p", "config"))),
    ("m", "config.json", put("identity", value=[]), "'identity' is [], not an object"),
    ("m", "config.json", put("origin", value=None), "'origin' is None, not an object"),
    ("m", "config.json", put("identity", "seed", value="0"), "'identity.seed' is '0', not a whole number"),
    ("m", "config.json", put("identity", "target", value=[1]), "'identity.target' is [1], not text"),
    ("m", "config.json", put("identity", "hidden", value="4"), "the option 'hidden' cannot be '4'"),
    ("m", "config.json", put("identity", "epochs", value=-1), "--epochs must be above 0, not -1"),
    ("m", "config.json", put("identity", "standardize", value={}), "the option 'standardize' cannot be {}"),
    ("m", "config.json", put("origin", "init", value=3), "'origin.init' is 3, not text"),
    ("m", "config.json", put("origin", "folds", value="nowhere"), "--folds is FILE.json:KEY, not 'nowhere'"),
    ("m", "features.json", put("groups", value={}), "'groups' is {}, not a list"),
    ("m", "features.json", put("groups", value=[]), "'groups' are none"),
    ("m", "features.json", put("groups", 0, value={}), "is missing"),
    ("m", "features.json", put("groups", 0, "start", value=1), "'groups.0' has the columns 1 to 30, after 0"),
    ("m", "features.json", put("groups", 0, "stop", value=10**30), "'groups.0.stop' is 1000"),
    ("m", "features.json", put("groups", 0, "stop", value=31), "takes 30 columns, the features of the run have 31"),
    ("m", "features.json", put("groups", 0, "classes", value=5), "'groups.0' has the columns"),
    ("m", "features.json", put("groups", 0, "cache", value=None), "'groups.0.cache' is None, not text"),
    ("m", "features.json", put("groups", 0, "identity", value=[]), "'groups.0.identity' is [], not an object"),
    ("m", "features.json", put("records", value={}), "the entry 'records.x' is missing"),
    ("m", "features.json", put("records", "x", value={}), "'records.x.identity' is missing"),
    ("m", "features.json", put("records", "x", value=[]), "'records.x' is [], not an object"),
    ("m", "features.json", put("records", "x", "identity", value="x"), "'records.x.identity' is 'x', not an object"),
    ("m", "features.json", put("records", "x", "identity", "extractor", value={}), "'records.x.identity.extractor'"),
    ("m", "features.json", put("records", "x", "origin", "inputs", value=["y"]), "'records.x.origin.inputs' is ['y']"),
    ("m", "features.json", put("records", "x", "inputs", value={"y": {}}), "'records.x.inputs.y.identity' is missing"),
    ("m", "features.json", put("records", "x", "file", value="/etc/passwd"), "which is no file of the run"),
    ("m", "features.json", put("records", "x", "file", value="files/../../p"), "which is no file of the run"),
    ("m", "features.json", put("members", value=[]), "'members' are none"),
    ("m", "features.json", put("members", 0, "fold", value="../p"), "'members.0.fold' is '../p', which is no fold"),
    ("m", "features.json", put("members", 0, "seed", value=None), "'members.0.seed' is None, not a whole number"),
    ("m", "features.json", put("judged", value={"": [1]}), "'judged..0' is 1, not text"),
    ("m", "learned.json", put("", "ids", value="clip"), "'ids' is 'clip', not a list"),
    ("p", "config.json", put("identity", "label", value=1), "'identity.label' is 1, not text"),
    ("p", "config.json", put("identity", "reduce", value="most"), "'identity.reduce' is 'most', not 'mean'"),
    ("p", "config.json", put("identity", "features", value=[]), "'identity.features' is [], not an object"),
    ("p", "config.json", put("identity", "features", "1", value=[]), "'identity.features.1' is [], not an object"),
    ("p", "features.json", put("records", value=[]), "'records' is [], not an object"),
    ("p", "features.json", put("records", "x", "inputs", value={"y": {}}), "'records.x.inputs.y.identity' is missing"),
    ("p", "features.json", put("records", "x", "file", value="/etc/passwd"), "which is no file of the run"),
    ("p", "learned.json", put("", "groups", value=None), "'groups' is None, not a list"),
]  # fmt: skip


@pytest.mark.parametrize(("run", "file", "change", "said"), STRANGE, ids=range(len(STRANGE)))
def test_a_strange_file_of_a_run_is_one_line(
    place: Path, tiny_video: Path, run: str, file: str, change: Callable[[Any], Any], said: str
) -> None:
    edit(place / run / file, change)
    for line in lines(place, tiny_video)[run]:
        if file == "learned.json" and line[0] == "predict":  # which judges nothing
            continue
        error = invoke(*line).exception
        assert isinstance(error, EgotoolsError), (line, error)
        assert said in str(error)
        assert str(place / run) in str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text", [DEEP, "[]", "{}", '{"remarks": 3}', '{"remarks": [], "protocol": 1, "arguments": {}}']
)
@pytest.mark.parametrize("method", ["memorability", "probe", "pca"])
def test_a_strange_report_of_a_run_that_is_done_is_one_line(place: Path, method: str, text: str) -> None:
    more = {"memorability": ["--hidden", "4", "--epochs", "2"], "probe": ["--label", "label", "--c", "1"]}
    line = ["train", method, "--manifest", place / "m.csv", "--features", place / "x.lmdb"]
    line += more.get(method, ["--components", "2"])
    run = place / {"memorability": "m", "probe": "p", "pca": "c"}[method]
    (run / "report.json").write_text(text)
    error = invoke(*line, "--out", run).exception
    assert isinstance(error, EgotoolsError), error
    assert str(run / "report.json") in str(error)


def test_a_probe_from_before_records_were_kept_contradicts_itself_in_one_line(place: Path, tiny_video: Path) -> None:
    (place / "p/features.json").unlink()
    edit(place / "p/config.json", put("origin", "features", value=[]))
    said = str(invoke(*lines(place, tiny_video)["p"][1]).exception)
    assert f"{place / 'p/config.json'} cannot be read: it has 1 features, and the names of 0" in said


def test_tensors_that_do_not_fit_a_run_are_one_line(place: Path, tiny_video: Path) -> None:
    path = place / "m/normalization.safetensors"
    arrays = load_file(path)
    for changed, said in (
        ({"mean": arrays["mean"]}, "it has no 'deviation'"),
        ({**arrays, "mean": arrays["mean"][:3]}, "has 3 means and 30 deviations, not 30"),
    ):
        save_file(changed, path)
        assert said in str(invoke(*lines(place, tiny_video)["m"][0]).exception)
    probe = place / "p/probe.safetensors"
    tensors = load_file(probe)
    for name, value, said in (
        ("weight", tensors["weight"][0], "'weight' is float32 [30], not float32 [2]"),
        ("bias", tensors["bias"].astype("int64"), "'bias' is int64 [2], not float32 [2]"),
        ("mean", tensors["mean"][:2], "'mean' is float32 [2], not float32 [30]"),
    ):
        save_file({**tensors, name: value}, probe, metadata={"classes": '["a", "b"]'})
        error = invoke(*lines(place, tiny_video)["p"][0]).exception
        assert isinstance(error, EgotoolsError), error
        assert said in str(error)
    for classes, said in (
        ("3", "'classes' is 3, not a list"),
        ('["a", 1]', "'classes.1' is 1, not text"),
        (DEEP, "nested deeper"),
    ):
        save_file(tensors, probe, metadata={"classes": classes})
        assert said in str(invoke(*lines(place, tiny_video)["p"][0]).exception)


def test_lines_of_metrics_that_are_none_are_named(place: Path) -> None:
    (place / "m/report.json").unlink()
    with (place / "m/metrics.jsonl").open("a") as file:
        file.write("[]\n")
    line = ["train", "memorability", "--manifest", place / "m.csv", "--features", place / "x.lmdb"]
    error = invoke(*line, "--hidden", "4", "--epochs", "2", "--out", place / "m").exception
    assert f"{place}/m/metrics.jsonl cannot be read: line 3: it is [], not an object" in str(error)


def test_caches_that_were_derived_from_each_other_are_one_line(place: Path) -> None:
    paths = [place / "a.lmdb", place / "b.lmdb"]
    for path, other in zip(paths, reversed(paths), strict=True):
        identity = {"derivation": "pool", "version": 1, "options": {}, "inputs": {other.stem: ""}, "dtype": "float32"}
        recipe = Recipe(identity, {"inputs": {other.stem: str(other)}})
        write_cache(path, IDS, np.random.default_rng(1).normal(size=(24, 3)), recipe)
    for more in ([], ["--dry-run"]):
        result = invoke("rebuild", *paths, "--json", *more)
        assert result.exit_code == 1
        for found in json.loads(result.stdout)["caches"]:
            assert "its inputs form a cycle" in found["problem"]
    listed = json.loads(invoke("cache", "ls", *paths, "--json").stdout)
    assert {each["state"] for each in listed} == {"unknown"}
    line = ["train", "memorability", "--manifest", place / "m.csv", "--features", paths[0], "--out", place / "new"]
    assert "its inputs form a cycle" in str(invoke(*line).exception)
    assert not (place / "new").exists()


@pytest.mark.parametrize(
    ("identity", "origin"),
    [
        ({"precision": "fp12"}, {}),
        ({"dtype": "object"}, {}),
        ({}, {"libraries": None}),
        ({"options": {"bins": []}}, {}),
        ({"derivation": "pool", "dtype": "<U1"}, {"inputs": {}, "learned": {"file": ""}}),
        ({"derivation": "pool"}, {"inputs": {"x": "\0"}, "learned": {"file": "x\0", "classes": None}}),
    ],
)
def test_a_strange_recipe_of_a_cache_is_one_line(tmp_path: Path, identity: Any, origin: Any) -> None:
    (tmp_path / "m.csv").write_text("id,path\na,\n")
    recipe = Recipe({**COLOR.identity, **identity}, {**COLOR.origin, "manifest": str(tmp_path / "m.csv"), **origin})
    cache = write_cache(tmp_path / "x.lmdb", ["a"], np.ones((1, 3)), recipe)
    for line in (["cache", "ls"], ["cache", "info"], ["rebuild"], ["rebuild", "--weights", "x=random:0", "--dry-run"]):
        error = invoke(*line, cache).exception
        assert error is None or isinstance(error, (EgotoolsError, SystemExit)), (line, error)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(place: Path, tiny_video: Path) -> None:
    for run, name in (("m", "features.json"), ("m", "normalization.safetensors"), ("p", "probe.safetensors")):
        content = (place / run / name).read_bytes()
        (place / run / name).unlink()
        os.mkfifo(place / run / name)
        assert "not a regular file" in str(invoke(*lines(place, tiny_video)[run][0]).exception)
        (place / run / name).unlink()
        (place / run / name).write_bytes(content)


@pytest.mark.parametrize(
    ("value", "shape", "said"),
    [
        ({"a": [1, "x"]}, dict[str, list[int]], "'a.1' is 'x', not a whole number"),
        (True, int, "it is True, not a whole number"),
        (1 << 63, int, "not a whole number"),
        ("x", float | None, "it is 'x', not a number"),
        (["x" * 99], list[bool], "x..., not true or false"),
    ],
)
def test_values_of_another_shape_are_named(value: Any, shape: Any, said: str) -> None:
    with pytest.raises(ValueError, match="not") as error:
        check_shape(value, shape)
    assert said in str(error.value)


def test_values_of_the_right_shape_pass(tmp_path: Path) -> None:
    for value, shape in ((1, float), (None, int | None), ([], list[str]), ({"a": {}}, dict[str, dict[str, int]])):
        check_shape(value, shape)
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "x.json", dict[str, int]) == {"a": 1}
