"""The state column of `egotools cache ls`: what can be said of caches at once, without running what they name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from egotools.cli.main import root
from planted import add, edit, plant, touch, want, write_own

from egotools.derive.deriving import Derived, derive
from egotools.derive.pool import Pool
from egotools.extraction.recipes import recipe_of
from egotools.extractors.backbone import View, write_backbone
from egotools.manifests.table import write_manifest
from egotools.stores import Recipe
from egotools.types import Clip


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["cache", *map(str, arguments)])


def state_of(cache: Path, *options: str) -> tuple[str, str]:
    """State and reasons as `cache ls --json` gives them."""
    result = run("ls", cache, "--json", *options)
    assert result.exit_code == 0  # a cache that is stale is not broken
    (entry,) = json.loads(result.stdout)
    return entry["state"], "; ".join(entry["why"])


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Clips `a`, `b` and `c`, whose videos nobody reads here."""
    for name in "abc":
        (tmp_path / f"{name}.mp4").write_bytes(name.encode() * 50)
    write_manifest(tmp_path / "m.csv", [Clip(name, tmp_path / f"{name}.mp4") for name in "abc"])
    return tmp_path / "m.csv"


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_ls_says_what_is_fresh_stale_incomplete_and_unknown(manifest: Path, tmp_path: Path, suffix: str) -> None:
    cache = plant(want(tmp_path / f"color{suffix}", "color"), manifest)
    assert state_of(cache) == ("fresh", "")
    add(manifest, Clip("d", tmp_path / "a.mp4"))
    assert state_of(cache) == ("incomplete", "1 clips not in it, such as 'd'")
    touch(tmp_path / "a.mp4")
    assert state_of(cache)[0] == "stale"
    assert "such as 'a': its file was written on" in state_of(cache)[1]
    assert " stale " in run("ls", cache).stdout
    manifest.unlink()
    assert state_of(cache) == (
        "unknown",
        f"its manifest {manifest} is gone; restore it, or give another with --manifest",
    )
    assert "state" not in json.loads(run("ls", cache, "--no-state", "--json").stdout)[0]


def test_ls_says_why_as_a_dry_run_does(manifest: Path, tmp_path: Path) -> None:
    edit(manifest, c={"end": 2.0})
    cache = plant(want(tmp_path / "color.lmdb", "color"), manifest, failed={"b"})
    edit(manifest, c={"end": 1.0})
    touch(tmp_path / "a.mp4")
    dry = CliRunner().invoke(root, ["rebuild", str(cache), "--dry-run", "--json"])
    (found,) = json.loads(dry.stdout)["caches"]
    state, why = state_of(cache)
    assert state == found["state"] == "stale"
    assert "1 clip failed before, unchanged since" in why
    assert set(found["stale"]) == {"a", "c"}
    assert "2 clips have changed" in why


def test_ls_sees_newer_code_of_a_newer_egotools(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = want(tmp_path / "color.lmdb", "color")
    recipe = recipe_of(wanted, {"manifest": str(manifest)})
    libraries = {**recipe.origin["libraries"], "egotools": "0.0.1"}
    cache = plant(wanted, manifest, recipe=Recipe(recipe.identity, {**recipe.origin, "libraries": libraries}))
    assert state_of(cache)[0] == "fresh"
    monkeypatch.setattr("egotools.extractors.color.Color.version", 2)
    assert state_of(cache) == ("stale", "the version of its extractor's code was 1, is now 2")


def test_ls_sees_weights_that_changed_or_went(manifest: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.npz"
    weights.write_bytes(b"one")
    cache = plant(want(tmp_path / "net.lmdb", "torchvision:squeezenet1_1", weights=str(weights)), manifest)
    assert state_of(cache)[0] == "fresh"
    weights.write_bytes(b"two")
    assert state_of(cache) == ("stale", f"its weights {weights} have changed")
    weights.unlink()
    assert state_of(cache) == ("unknown", f"its weights {weights} are gone; restore them")


@pytest.mark.parametrize("as_extractor", [True, False])
def test_ls_sees_that_a_run_was_trained_again(manifest: Path, tmp_path: Path, as_extractor: bool) -> None:
    run_folder = tmp_path / "run"
    network = "torchvision:squeezenet1_1"
    write_backbone(run_folder, {"default": View(network, {})}, {"x": torch.zeros(1)})
    name, options = (f"run:{run_folder}", {}) if as_extractor else (network, {"weights": f"run:{run_folder}"})
    cache = plant(want(tmp_path / "net.lmdb", name, **options), manifest)
    assert state_of(cache)[0] == "fresh"
    write_backbone(run_folder, {"default": View(network, {})}, {"x": torch.ones(1)})
    assert state_of(cache)[0] == "stale"
    assert "weights" in state_of(cache)[1]
    shutil.rmtree(run_folder)
    assert state_of(cache)[0] == "unknown"


def test_ls_never_runs_code_of_the_users_own(manifest: Path, tmp_path: Path) -> None:
    own, marker = write_own(tmp_path), tmp_path / "imported"
    cache = plant(want(tmp_path / "own.lmdb", f"{own}:Own"), manifest)
    marker.unlink()
    assert state_of(cache) == ("fresh", "")
    write_own(tmp_path, factor=3.0)
    state, why = state_of(cache)
    assert state == "stale"
    assert f"its extractor {own} has changed" in why
    assert f"--trust {own}" in why
    own.unlink()
    assert state_of(cache) == ("unknown", f"its extractor {own} is gone; restore it")
    assert not marker.exists()


def test_weights_of_a_users_own_that_have_no_digest_are_no_matter(manifest: Path, tmp_path: Path) -> None:
    own = write_own(tmp_path)
    own.write_text(f'{own.read_text()}    weights: Path = option(Path("w.npz"), "Those of no digest.")\n')
    (tmp_path / "w.npz").write_bytes(b"one")
    cache = plant(want(tmp_path / "own.lmdb", f"{own}:Own", weights=tmp_path / "w.npz"), manifest)
    assert state_of(cache) == ("fresh", "")


def test_ls_of_what_this_egotools_extracted_loads_no_torch(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(b"one")
    write_backbone(tmp_path / "run", {"default": View("torchvision:squeezenet1_1", {})}, {"x": torch.zeros(1)})
    color = plant(want(tmp_path / "c/color.lmdb", "color"), manifest, failed={"b"})
    for name, weights in (("file", str(tmp_path / "w.npz")), ("run", f"run:{tmp_path / 'run'}"), ("none", "random:0")):
        plant(want(tmp_path / f"c/{name}.h5", "torchvision:squeezenet1_1", weights=weights), manifest)
    plant(want(tmp_path / "c/own.lmdb", f"{write_own(tmp_path)}:Own"), manifest)
    derive(Derived(color.with_name("pooled.lmdb"), "pool", Pool(), {"color": color}))
    (tmp_path / "w.npz").write_bytes(b"two")
    script = (
        "import json, sys; from egotools.cli.main import root; "
        f"root.main(['cache', 'ls', {str(tmp_path / 'c')!r}, '--json'], standalone_mode=False); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'sklearn', 'scipy')))"
    )
    finished = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    states = {Path(entry["path"]).stem: entry["state"] for entry in json.loads(finished.stdout)}
    others = dict.fromkeys(("color", "run", "none", "own", "pooled"), "fresh")
    assert states == {**others, "file": "stale"}
