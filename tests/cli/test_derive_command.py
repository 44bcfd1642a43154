"""`egotools derive`, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cache_rows import make_rows
from click.testing import CliRunner, Result
from derived_caches import CLIPS, damage, make_cache
from egotools.cli.main import root

from egotools.derive.lookup import BUILT_IN
from egotools.stores import open_store


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["derive", *map(str, arguments)])


@pytest.fixture
def two(tmp_path):
    """Two caches of the same clips."""
    return [make_cache(tmp_path / "a" / name) for name in ("resnet18.lmdb", "csn.h5")]


def test_each_cache_makes_one_of_its_own_named_after_it(tmp_path, two):
    done = run("pool", "--features", two[0], "--features", two[1], "--out", tmp_path / "p", "--statistics", "mean,std")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "p").glob("*.lmdb")) == ["csn.lmdb", "resnet18.lmdb"]
    rows = open_store(tmp_path / "p/csn.lmdb")["a"].values
    expected = np.concatenate([CLIPS["a"].values.mean(0), CLIPS["a"].values.std(0)])
    np.testing.assert_allclose(rows, expected[None], rtol=1e-5)  # NumPy's own sums are float32
    assert "made" in done.stdout


def test_json_says_what_is_there_and_the_second_time_that_nothing_was_made(tmp_path, two):
    line = ["pool", "--features", two[0], "--out", tmp_path / "p", "--store", "hdf5", "--name", "mine", "--json"]
    there = {"cache": str(tmp_path / "p/mine.h5"), "clips": 3, "rows": 2, "width": 6}
    expected = {**there, "is_new": True, "remarks": [], "failed": {}}
    assert json.loads(run(*line).stdout) == [expected]
    assert json.loads(run(*line).stdout) == [{**expected, "is_new": False, "remarks": []}]
    assert "there already: nothing to do" in run(*line[:-1]).stdout


def test_the_recipe_keeps_the_command(tmp_path, two, installed):
    line = ["pool", "--features", two[0], "--out", tmp_path / "p"]
    assert installed("derive", *line).returncode == 0
    command = open_store(tmp_path / "p/resnet18.lmdb").recipe.origin["command"]
    assert command == " ".join(map(str, ["egotools", "derive", *line]))


def test_no_torch_is_needed(tmp_path, two):
    code = "import sys; from egotools.cli.main import main; sys.modules['torch'] = None; main()"
    line = ["derive", "pool", "--features", two[1], "--out", tmp_path / "p", "--store", "hdf5"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, line)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(open_store(tmp_path / "p/csn.h5")) == 3


def test_what_cannot_be_made_is_named_and_the_others_are_made(tmp_path, two):
    damage(two[0], CLIPS["a"])
    line = ["pool", "--features", two[0], "--features", two[1], "--out", tmp_path / "p"]
    done = run(*line)
    assert done.exit_code == 1
    assert "resnet18.lmdb: damaged: clip 'a' is not what was written" in done.stderr
    assert [path.name for path in (tmp_path / "p").glob("*.lmdb")] == ["csn.lmdb"]
    broken, made = sorted(json.loads(run(*line, "--json").stdout), key=len)
    assert (Path(broken["cache"]).name, Path(made["cache"]).name) == ("resnet18.lmdb", "csn.lmdb")
    assert "clip 'a'" in broken["error"]


def test_other_options_need_another_place(tmp_path, two):
    line = ["pool", "--features", two[0], "--out", tmp_path / "p"]
    run(*line)
    done = run(*line, "--statistics", "max")
    assert done.exit_code == 1
    assert "was made with options.statistics=['mean'], not ['max']; choose another --out or --name" in done.stderr
    assert run(*line, "--statistics", "max", "--name", "largest").exit_code == 0
    assert open_store(tmp_path / "p/largest.lmdb")["a"].values.tolist() == [CLIPS["a"].values.max(0).tolist()]


def test_its_own_input_is_never_replaced(tmp_path, two):
    done = run("pool", "--features", two[0], "--out", tmp_path / "a")
    assert done.exit_code == 1
    assert "resnet18.lmdb is one of its own inputs" in done.stderr
    assert len(open_store(two[0])["a"].values) == 5


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["pol"], "unknown derivation 'pol'; did you mean 'pool'?"),
        (["pool", "--out", "p"], "Missing option '--features'"),
        (["pool", "--features", "a.lmdb"], "Missing option '--out'"),
        (["pool", "--features", "a.lmdb", "--out", "p", "--statistics", "median"], "--statistics takes mean, std"),
        (["pool", "--features", "a.lmdb", "--out", "p", "--statistics", "mean,mean"], "names a statistic twice"),
        (["pool", "--features", "a.lmdb", "--features", "b/a.h5", "--out", "p"], "two caches would be called a;"),
        (["pool", "--features", "a.lmdb", "--features", "b.h5", "--out", "p", "--name", "n"], "would be called n;"),
    ],
)
def test_wrong_usage_is_said_so(arguments, problem):
    done = run(*arguments)
    assert done.exit_code == 2
    assert problem in " ".join(done.output.split())


def test_the_help_names_every_derivation_and_shows_an_example():
    listed = run("--help").stdout
    for name, (_, text) in BUILT_IN.items():
        assert name in listed
        assert text.split(":")[0] in listed
        shown = run(name, "--help").stdout
        assert f"egotools derive {name} --features" in shown
        assert "--out" in shown
    assert "--statistics" in run("pool", "--help").stdout


@pytest.mark.integration
def test_a_killed_command_leaves_no_half_and_the_same_line_makes_it(tmp_path):
    source = make_cache(tmp_path / "many.lmdb", {f"{index:05}": make_rows(2, index) for index in range(4000)})
    line = [Path(sys.executable).with_name("egotools"), "derive", "pool", "--features", source, "--out", tmp_path / "p"]
    kills = 0
    for delay in (0.05, 0.15, 0.3):
        process = subprocess.Popen([*map(str, line)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (tmp_path / "p/.many.lmdb.derive").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        if (tmp_path / "p/many.lmdb").exists():
            break
    assert kills
    assert not (tmp_path / "p/many.lmdb").exists() or len(open_store(tmp_path / "p/many.lmdb")) == 4000
    subprocess.run(line, check=True, capture_output=True)
    store = open_store(tmp_path / "p/many.lmdb")
    assert (len(store), store.rows) == (4000, 4000)
    assert not (tmp_path / "p/.many.lmdb.derive").exists()
