"""`egotools extract --runtime openvino`: the rows of PyTorch, or a reason why not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from media_files import noisy, write_video

import egotools
from egotools.errors import EgotoolsError
from egotools.extraction.precision import compare_runtimes
from egotools.extraction.request import Agreement
from egotools.machine import has_fast_bf16
from egotools.manifests.table import write_manifest
from egotools.stores import open_store
from egotools.types import Clip

TESTS = Path(__file__).parents[1]
EDGES, DECIDING = f"{TESTS / 'small_networks.py'}:Edges", f"{TESTS / 'small_networks.py'}:Deciding"
FUNCTION = f"{TESTS / 'odd_extractors.py'}:Backwards"
OPENVINO = ("--runtime", "openvino")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two noisy videos of 6 frames."""
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", noisy(6))
    return listed(tmp_path, "ab")


def listed(folder: Path, names: str) -> Path:
    write_manifest(folder / f"{names}.csv", [Clip(name, folder / f"{name}.mp4") for name in names])
    return folder / f"{names}.csv"


def extract(manifest: Path, *words: object) -> Result:
    line = ["extract", "--manifest", manifest, "--out", manifest.parent / "caches", "--workers", 1, *words]
    return CliRunner().invoke(root, [str(word) for word in line])


def rows(manifest: Path, name: str) -> np.ndarray:
    store = open_store(manifest.parent / "caches" / f"{name}.lmdb")
    return np.concatenate([store[id].values for id in store])


def test_float32_rows_are_those_of_torch_and_the_recipe_tells_them_apart(manifest):
    for how in ((), OPENVINO):
        result = extract(manifest, *how, "--json", "--batch-size", 5, EDGES, "--name", "-".join(how[1:]) or "torch")
        assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["caches"].values()
    assert found["agreement"]["lowest"] > 0.99999
    assert found["agreement"]["computing"] == "OpenVINO float32"
    assert Agreement.between(rows(manifest, "torch"), rows(manifest, "openvino")).lowest > 0.99999
    recipes = [open_store(manifest.parent / f"caches/{name}.lmdb").recipe.identity for name in ("torch", "openvino")]
    assert "runtime" not in recipes[0]
    assert {**recipes[0], "runtime": "openvino"} == recipes[1]
    refused = extract(manifest, EDGES, "--name", "openvino")
    assert "was made with runtime='openvino', not None" in str(refused.exception)


@pytest.mark.skipif(not has_fast_bf16(egotools.machine.choose_device("cpu")), reason="this processor has no bf16")
def test_bf16_rows_are_compared_with_float32_ones_of_torch(manifest):
    result = extract(manifest, *OPENVINO, "--precision", "bf16", EDGES)
    assert result.exit_code == 0, result.output
    assert "OpenVINO bf16 against float32 on" in result.stderr
    assert open_store(manifest.parent / "caches/edges.lmdb").recipe.identity["precision"] == "bf16"


def test_an_int8_network_is_quantized_once_and_stays_that_of_its_cache(manifest):
    how = (*OPENVINO, "--precision", "int8", EDGES)
    first = extract(listed(manifest.parent, "a"), "--json", *how)
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["rows"] == 6  # and nothing else is on stdout
    assert "CUDA" not in first.stderr
    cache, file = manifest.parent / "caches/edges.lmdb", manifest.parent / "caches/edges.lmdb.int8.npz"
    quantized = file.read_bytes()
    assert extract(manifest, *how).exit_code == 0
    assert len(open_store(cache)) == 2
    assert file.read_bytes() == quantized
    write_video(manifest.parent / "a.mp4", noisy(7))
    rebuild = ["rebuild", str(cache), "--workers", "1", "--trust", str(TESTS / "small_networks.py")]
    rebuilt = CliRunner().invoke(root, rebuild)
    assert rebuilt.exit_code == 0, rebuilt.output
    assert len(open_store(cache)["a"].values) == 7
    file.unlink()
    for refused in (extract(manifest, *how), CliRunner().invoke(root, rebuild)):
        assert refused.exit_code == 1
        assert "edges.lmdb.int8.npz" in f"{refused.output} {refused.exception}"
    assert len(open_store(cache)) == 2


@pytest.mark.parametrize(
    ("name", "reason"), [(DECIDING, "data-dependent"), (FUNCTION, "it is a function, not a torch module")]
)
def test_a_network_that_cannot_be_converted_is_refused_with_the_reason(manifest, name, reason):
    result = extract(manifest, *OPENVINO, name)
    assert result.exit_code == 1
    said = str(result.exception)
    assert said.startswith(f"{name}: cannot be converted to OpenVINO (")
    assert reason in said
    assert said.endswith("; use --runtime torch")


def test_an_extractor_without_a_network_runs_as_always(manifest):
    assert extract(manifest, *OPENVINO, "color").exit_code == 0
    assert "runtime" not in open_store(manifest.parent / "caches/color.lmdb").recipe.identity
    assert extract(manifest, "color").exit_code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--precision", "int8"), "--precision int8 needs --runtime openvino"),
        ((*OPENVINO, "--device", "cuda"), "--runtime openvino computes on the CPU, not with --device cuda"),
    ],
)
def test_options_that_exclude_each_other_are_bad_usage(manifest, options, said):
    result = extract(manifest, *options, EDGES)
    assert result.exit_code == 2
    assert said in result.stderr


def test_without_the_library_the_extra_is_named_before_anything_is_written(manifest, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    result = extract(manifest, *OPENVINO, EDGES)
    assert result.exit_code == 1
    assert "openvino is not installed; install it with: pip install 'egotools[openvino]'" in str(result.exception)
    assert not (manifest.parent / "caches").exists()


def test_rows_of_another_runtime_that_differ_are_refused():
    import torch

    batch = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    assert compare_runtimes(lambda x: x, lambda x: 2 * x, [batch], "mine").lowest > 0.99999
    with pytest.raises(EgotoolsError, match=r"mine: OpenVINO float32 rows differ .* use --runtime torch"):
        compare_runtimes(lambda x: x, lambda x: x + 0.1, [batch], "mine")


def test_a_signal_after_networks_are_gone_is_handled():
    """On processors with AMX: OpenVINO gives the thread that first computes a stack for signals, and takes it back."""
    code = (
        "import gc, os, signal, threading, torch\n"
        "from egotools.extraction.openvino_runtime import compiled, converted\n"
        "window, runs = torch.rand(3, 16, 16), []\n"
        "for number in range(2):\n"
        "    model = converted(torch.nn.Conv2d(3, 4, 3), window, 'small')\n"
        "    runs.append(compiled(model, 'float32', 'small'))\n"
        "    runs[-1](window[None])\n"
        "del model, runs[0]\n"
        "thread = threading.Thread(target=lambda: (runs.clear(), gc.collect()))\n"
        "thread.start(), thread.join()\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_the_libraries_report_nothing_to_their_makers(tmp_path):
    code = (
        "import sys\nfrom egotools.extraction import openvino_runtime\nopenvino_runtime.load()\n"
        "openvino_runtime._load_nncf()\n"
        "assert not any(name.startswith('openvino_telemetry') for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"HOME": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())
