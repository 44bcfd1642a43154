"""What computes does so in a forked process, too, where OpenMP waits for threads that were not copied."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import write_video

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process tells that it was forked"),
]

# Parent and forked workers do the same; what hangs is nothing after a minute.
SCRIPT = """
import concurrent.futures, json, multiprocessing
from pathlib import Path
import numpy as np, torch
from egotools.derive.clusters import group, network, tsne
from egotools.evaluate.knn import KNN, knn
from egotools.methods.probe.probe import Probe, probe
from egotools.training.fit import fit
from egotools.extraction.engine import extract
from egotools.extraction.forward import runnable
from egotools.extraction.request import CacheRequest, Resources
from egotools.extractors.lookup import find_extractor
from egotools.tables.table import Table
from egotools.types import Clip

rng = np.random.default_rng(0)
labels = rng.integers(0, 3, 1500)
values = (3 * np.eye(64)[labels] + rng.normal(size=(1500, 64))).astype(np.float32)
split = np.array(["test" if i % 3 == 0 else "train" for i in range(1500)])
table = Table(np.arange(1500).astype(str), values, np.zeros((1500, 2)), {"label": labels.astype(str)}, split)

class Square(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(256, 256, bias=False)
        torch.nn.init.constant_(self.linear.weight, 0.01)

    def forward(self, batch):
        return {"loss": self.linear(batch).square().mean()}

def trained():
    model = Square()
    fit(model, lambda _: iter([torch.ones(4096, 256)] * 3), torch.optim.SGD(model.parameters(), 0.1), None, steps=3)
    return float(model.linear.weight.detach().sum())

JOBS = {
    "knn": lambda: knn(table, "label", KNN(k=(5,))).figures["accuracy"],
    "lbfgs": lambda: probe(table, "label", Probe(seeds=1)).figures["accuracy"],
    "sgd": lambda: probe(table, "label", Probe(seeds=1, solver="sgd", c=(0.1,))).figures["accuracy"],
    "fit": trained,
    "network": lambda: float(runnable(torch.nn.Conv2d(3, 64, 3), torch.device("cpu"), "float32")(
        torch.ones(8, 3, 128, 128)).isfinite().sum()),
    "similarity": lambda: group(values[:90], values[90:120], embed=tsne(0), learn=network(0, []), eps=3.0,
                                noise="last").width,
}

def job(name):
    return JOBS[name]()

def read(out):
    found = find_extractor("color")
    wanted = [CacheRequest(Path(out), found.built(), found)]
    return extract([Clip("tiny", Path("tiny.mp4"))], wanted, resources=Resources("cpu", workers=1)).rows

if __name__ == "__main__":
    found = {name: job(name) for name in JOBS}
    fork = multiprocessing.get_context("fork")
    with fork.Pool(2) as pool:
        forked = {name: pool.apply_async(job, (name,)) for name in JOBS}
        print(json.dumps([found, {name: result.get(60) for name, result in forked.items()}]))

    assert read("parent.lmdb") > 0
    executor = concurrent.futures.ProcessPoolExecutor(1, mp_context=fork)
    print(executor.submit(read, "forked.lmdb").exception(60))
    with fork.Pool(1) as pool:
        try:
            pool.apply_async(read, ("pool.lmdb",)).get(60)
        except Exception as error:
            print(error)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the script says: a line of figures, and two of errors."""
    folder = tmp_path_factory.mktemp("forked")
    write_video(folder / "tiny.mp4")
    (folder / "script.py").write_text(SCRIPT)
    several = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder, env={**os.environ, **several}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_whatever_computes_gives_its_figures_in_workers_that_were_forked_from_a_process_with_threads(
    said: list[str],
) -> None:
    parent, forked = json.loads(said[0])
    assert forked == pytest.approx(parent, rel=1e-4)  # sums of one thread have other last bits than those of two
    assert min(parent["knn"], parent["lbfgs"], parent["sgd"]) > 0.8


def test_a_process_that_cannot_start_reading_ones_says_which_start_method_to_use(said: list[str]) -> None:
    _, first, second = said
    assert "use the start method 'spawn' or 'forkserver'" in first
    assert "multiprocessing.Pool cannot start any" in second


def test_a_process_knows_whether_it_was_forked() -> None:
    code = """
import os
from egotools.processes import is_forked
print(is_forked(), flush=True)
if os.fork() == 0:
    print(is_forked(), flush=True)
    os._exit(0)
os.wait()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
