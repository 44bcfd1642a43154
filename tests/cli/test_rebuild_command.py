"""`egotools rebuild`, as a user runs it: from extraction to a network's new weights, and what it says of bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from egotools.cli.main import root
from planted import ODD, add, contents, edit, plant, touch, want, write_own
from torchvision import models
from typing_commands import Installed

from egotools.errors import ClusterError
from egotools.extractors.backbone import View, write_backbone
from egotools.stores import open_store
from egotools.stores.store import part_of
from egotools.stores.verify import verify
from egotools.stores.writer_lock import WriterLock
from egotools.types import Clip

NETWORK = ("torchvision:squeezenet1_1", "--resize", "32x32", "--frames", 2)


def run(*arguments: object) -> Result:
    return CliRunner(catch_exceptions=False).invoke(root, [str(each) for each in arguments])


def rebuild(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["rebuild", "--workers", "1", *map(str, arguments)])


def said(result: Any, name: str = "") -> Any:
    """What `--json` says; of the cache of that name, if one is given."""
    found = json.loads(result.stdout)
    if not name:
        return found
    (cache,) = (each for each in found["caches"] if Path(each.get("before", each)["cache"]).name == name)
    return cache


def extract(manifest: Path, out: Path, *extractors: object) -> None:
    assert run("extract", "--manifest", manifest, "--out", out, "--workers", 1, *extractors).exit_code == 0


def assert_close(one: Path, other: Path) -> None:
    """The design's promise for float32 rows of another pass."""
    a, b = open_store(one), open_store(other)
    assert list(a) == list(b)
    for id in a:
        np.testing.assert_allclose(a[id].values, b[id].values, rtol=1e-4, atol=1e-4 * np.abs(b[id].values).max())
        np.testing.assert_array_equal(a[id].times, b[id].times)


def save_weights(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    torch.save(models.squeezenet1_1(weights=None).state_dict(), path)


def test_new_weights_make_what_an_extraction_with_them_makes(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches = tmp_path / "caches"
    extract(manifest, caches, *NETWORK, "--weights", "random:0", "--name", "net", "color")
    old, untouched = contents(caches / "net.lmdb"), (caches / "color.lmdb").stat().st_ino
    save_weights(tmp_path / "new.pth", seed=1)
    monkeypatch.chdir(tmp_path)
    result = rebuild("caches", "--weights", "net=new.pth", "--keep-old", "--json")
    assert (result.exit_code, said(result)["is_fresh"]) == (0, True)
    made = said(result, "net.lmdb")
    assert (made["before"]["state"], made["state"], made["computed"], made["carried"]) == ("stale", "fresh", 3, 0)
    assert "the digest of its weights was 'random:0', is now" in made["before"]["reasons"][0]
    assert contents(Path(made["kept"])) == old
    assert said(result, "color.lmdb")["carried"] == 3
    assert (caches / "color.lmdb").stat().st_ino == untouched
    assert not list(caches.glob(".net*"))

    monkeypatch.chdir("/")  # the new weights are the cache's own now, wherever one stands
    assert rebuild(caches, "--dry-run").exit_code == 0
    extract(manifest, tmp_path / "anew", *NETWORK, "--weights", tmp_path / "new.pth", "--name", "net")
    assert_close(caches / "net.lmdb", tmp_path / "anew/net.lmdb")
    assert open_store(caches / "net.lmdb").recipe.identity == open_store(tmp_path / "anew/net.lmdb").recipe.identity
    save_weights(tmp_path / "new.pth", seed=2)
    assert rebuild(caches, "--dry-run").exit_code == 1


def test_caches_follow_a_run_by_themselves(manifest: Path, tmp_path: Path) -> None:
    def train(seed: int) -> None:
        torch.manual_seed(seed)
        tensors = models.squeezenet1_1(weights=None).state_dict()
        write_backbone(
            tmp_path / "run", {"default": View("torchvision:squeezenet1_1", {"resize": "32x32", "frames": 2})}, tensors
        )

    train(1)
    given = (f"run:{tmp_path / 'run'}", *NETWORK, "--weights", f"run:{tmp_path / 'run'}")
    extract(manifest, tmp_path / "caches", *given)
    assert rebuild(tmp_path / "caches", "--dry-run").exit_code == 0
    train(2)
    dry = rebuild(tmp_path / "caches", "--dry-run", "--json")
    assert (dry.exit_code, [each["state"] for each in said(dry)["caches"]]) == (1, ["stale", "stale"])
    assert rebuild(tmp_path / "caches").exit_code == 0
    extract(manifest, tmp_path / "anew", *given)
    for name in ("run.lmdb", "squeezenet1_1.lmdb"):
        assert_close(tmp_path / "caches" / name, tmp_path / "anew" / name)


def test_a_dry_run_says_what_and_why_and_changes_nothing(manifest: Path, color: Path) -> None:
    edit(manifest, "b")
    add(manifest, Clip("d", manifest.with_name("a.mp4")))
    touch(manifest.with_name("a.mp4"))
    before = {path.name: path.read_bytes() for path in color.parent.iterdir() if not path.name.endswith("-lock")}
    result = rebuild(color.parent, "--dry-run", "--json")
    assert result.exit_code == 1
    assert said(result)["is_fresh"] is False
    found = said(result, "color.lmdb")
    assert (found["state"], found["fresh"], found["missing"], found["dropped"]) == ("stale", 1, ["d"], ["b"])
    assert found["stale"]["a"].startswith("its file was written on ")
    table = rebuild(color.parent, "--dry-run")
    assert table.exit_code == 1
    for text in ("color.lmdb", "stale", "its file was written on", "1 clips not in it", "no longer in the manifest"):
        assert text in " ".join(table.stdout.split())
    after = {path.name: path.read_bytes() for path in color.parent.iterdir() if not path.name.endswith("-lock")}
    assert after == before


def test_the_table_of_a_rebuild_says_what_was_done(manifest: Path, color: Path) -> None:
    touch(manifest.with_name("a.mp4"))
    result = rebuild(color)
    assert (result.exit_code, result.stderr) == (0, "")
    line = next(line for line in result.stdout.splitlines() if "stale" in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells[1:] == ["stale", "fresh", "1", "2", "0", ""]


def test_an_extraction_goes_on_in_a_cache_that_was_made_again(manifest: Path, color: Path) -> None:
    touch(manifest.with_name("a.mp4"))
    assert rebuild(color).exit_code == 0
    add(manifest, Clip("d", manifest.with_name("a.mp4")))
    extract(manifest, color.parent, "color")
    assert list(open_store(color)) == ["a", "b", "c", "d"]
    assert rebuild(color, "--dry-run").exit_code == 0


def test_digests_that_an_extraction_keeps_are_compared_on_request(manifest: Path, tmp_path: Path) -> None:
    extract(manifest, tmp_path / "caches", "--digest", "color")
    touch(manifest.with_name("a.mp4"))
    assert rebuild(tmp_path / "caches", "--dry-run").exit_code == 1
    assert rebuild(tmp_path / "caches", "--dry-run", "--digest").exit_code == 0


def test_failures_are_tried_again_when_they_are_mended_or_on_request(manifest: Path, tmp_path: Path) -> None:
    caches, video = tmp_path / "caches", manifest.with_name("b.mp4")
    whole = video.read_bytes()
    video.write_text("not a video")
    assert run("extract", "--manifest", manifest, "--out", caches, "--workers", 1, "color").exit_code == 1
    assert rebuild(caches).exit_code == 0  # known, and unchanged
    tried = rebuild(caches, "--retry-failed", "--json")
    assert (tried.exit_code, set(said(tried, "color.lmdb")["failed"])) == (1, {"b"})
    video.write_bytes(whole)
    mended = rebuild(caches, "--json")
    assert (mended.exit_code, said(mended, "color.lmdb")["computed"]) == (0, 1)
    assert list(open_store(caches / "color.lmdb")) == ["a", "b", "c"]
    assert not list(caches.glob("*.failed.csv"))


def test_a_clip_that_is_lost_keeps_the_cache_until_it_may_be_dropped(
    manifest: Path, color: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest.with_name("b.mp4").write_text("not a video any more")
    monkeypatch.setattr("egotools.extractors.color.Color.version", 2)
    before = color.read_bytes()
    result = rebuild(color)
    assert (result.exit_code, color.read_bytes() == before) == (1, True)
    assert "--drop-failed" in result.stdout
    result = rebuild(color, "--drop-failed", "--json")
    assert (result.exit_code, said(result, "color.lmdb")["state"]) == (1, "incomplete")  # a clip is still not there
    assert list(open_store(color)) == ["a", "c"]
    assert rebuild(color).exit_code == 0


def test_code_of_the_users_own_runs_if_it_is_named(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_own(tmp_path)
    cache = plant(want(tmp_path / "own.lmdb", f"{own}:Own"), manifest)
    (tmp_path / "imported").unlink()
    write_own(tmp_path, factor=3.0)
    result = rebuild(cache, "--json")
    assert result.exit_code == 1
    assert f"its extractor {own} has changed" in said(result, "own.lmdb")["problem"]
    assert "--trust" in said(result, "own.lmdb")["problem"]
    assert not (tmp_path / "imported").exists()
    monkeypatch.chdir(tmp_path)
    assert rebuild(cache, "--trust", "own.py").exit_code == 0
    assert (tmp_path / "computed").read_text().split() == ["a", "b", "c"]


def test_merged_caches_lose_no_clip(manifest: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy2(manifest.with_name("a.mp4"), other)
    (other / "m.csv").write_text("id,path\nx,a.mp4\n")
    one = plant(want(tmp_path / "one.lmdb", "color"), manifest)
    two = plant(want(tmp_path / "two.lmdb", "color"), other / "m.csv")
    merged = tmp_path / "merged.h5"
    assert run("cache", "merge", one, two, "--out", merged).exit_code == 0
    touch(other / "a.mp4")
    assert said(rebuild(merged, "--json"), "merged.h5")["computed"] == 1
    assert list(open_store(merged)) == ["a", "b", "c", "x"]
    assert rebuild(merged, "--dry-run").exit_code == 0


def test_an_interrupted_sealing_is_ended(manifest: Path, tmp_path: Path) -> None:
    wanted = want(tmp_path / "caches/color.h5", "color")
    plant(wanted, manifest, "a")
    plant(wanted, manifest, "b", "c", seal=False)
    dry = rebuild(tmp_path / "caches", "--dry-run", "--json")
    assert (dry.exit_code, said(dry, "color.h5")["state"]) == (1, "incomplete")
    assert rebuild(tmp_path / "caches").exit_code == 0
    assert list(open_store(wanted.cache)) == ["a", "b", "c"]
    assert not part_of(wanted.cache).exists()


def test_a_cache_that_is_being_written_is_refused_by_name(manifest: Path, color: Path, installed: Installed) -> None:
    touch(manifest.with_name("a.mp4"))
    lock = WriterLock(color)
    try:
        result = installed("rebuild", color, "--json")
    finally:
        lock.release()
    assert (result.returncode, said(result)["is_fresh"]) == (1, False)
    assert "is being written by another process (process " in said(result, "color.lmdb")["problem"]


# --- bad input: named, kept, exit status 1


def assert_kept(cache: Path, problem: str, *options: object) -> None:
    """Each of a dry run and a rebuild says what is wrong, in `--json` and in the table, and leaves the cache."""
    before = cache.stat().st_ino, cache.read_bytes()
    for more in (("--dry-run",), ()):
        result = rebuild(cache, *options, *more, "--json")
        assert (result.exit_code, said(result)["is_fresh"]) == (1, False)
        assert problem in said(result, cache.name)["problem"]
        table = rebuild(cache, *options, *more)
        assert (table.exit_code, problem.split()[-1] in table.stdout) == (1, True)  # paths are folded
    assert (cache.stat().st_ino, cache.read_bytes()) == before


def test_a_manifest_that_is_gone(manifest: Path, color: Path) -> None:
    there = manifest.rename(manifest.with_name("there.csv"))
    assert_kept(color, f"its manifest {manifest} is gone")
    assert rebuild(color, "--manifest", there).exit_code == 0
    assert_kept(color, "nowhere.csv is gone", "--manifest", "nowhere.csv")


def test_weights_that_are_gone(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(b"weights")
    wanted = want(tmp_path / "net.lmdb", "torchvision:squeezenet1_1", weights=str(tmp_path / "w.npz"))
    cache = plant(wanted, manifest)
    (tmp_path / "w.npz").unlink()
    assert_kept(cache, f"{tmp_path / 'w.npz'}: no such weights file")
    assert_kept(cache, "no such weights file", "--weights", f"net={tmp_path / 'elsewhere.npz'}")


def test_a_cache_of_a_newer_egotools(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("egotools.extractors.color.Color.version", 9)
        code = plant(want(tmp_path / "code.lmdb", "color"), manifest)
    with monkeypatch.context() as patch:
        patch.setattr("egotools.stores.header.VERSION", 2)
        layout = plant(want(tmp_path / "layout.h5", "color"), manifest)
    assert_kept(code, "made by version 9 of color, and this egotools has 1; update egotools")
    assert_kept(layout, "a cache of layout 2, but this egotools reads layout 1; update egotools")


def test_a_cache_that_is_none_stops_no_other(manifest: Path, color: Path) -> None:
    touch(manifest.with_name("a.mp4"))
    (color.parent / "text.lmdb").write_text("text " * 100)
    result = rebuild(color.parent, "--json")
    assert (result.exit_code, said(result, "color.lmdb")["state"]) == (1, "fresh")
    assert "not a cache" in said(result, "text.lmdb")["problem"]
    assert (color.parent / "text.lmdb").read_text() == "text " * 100


def test_what_cannot_be_begun_is_one_line(color: Path, tmp_path: Path, installed: Installed) -> None:
    (tmp_path / "empty").mkdir()
    refused = rebuild(tmp_path / "empty")
    assert (refused.exit_code, str(refused.exception)) == (1, f"{tmp_path / 'empty'}: no caches found")
    refused = rebuild(tmp_path / "nowhere")
    assert (refused.exit_code, str(refused.exception)) == (1, f"{tmp_path / 'nowhere'}: no such cache or folder")
    result = installed("rebuild", color, "--weights", "net=random:1")
    assert (result.returncode, result.stdout) == (1, "")
    assert "no cache 'net' for its --weights; choose from color" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Missing argument"),
        (["x", "--weights", "net"], "'net' is not NAME=FILE"),
        (["x", "--weights", "=w.npz"], "'=w.npz' is not NAME=FILE"),
        (["x", "--weights", "net="], "'net=' is not NAME=FILE"),
        (["x", "--workers", "0"], "--workers"),
    ],
)
def test_wrong_usage_is_status_two(arguments: list[str], problem: str) -> None:
    result = CliRunner().invoke(root, ["rebuild", *arguments])
    assert (result.exit_code, problem in result.stderr) == (2, True)


def test_an_address_needs_the_engine_that_has_addresses(color: Path) -> None:
    result = rebuild(color, "--address", "auto")
    assert (result.exit_code, "--engine ray" in result.stderr) == (2, True)


def test_the_help_has_the_lines_that_people_copy() -> None:
    text = run("rebuild", "--help").stdout
    for example in ("egotools rebuild caches --dry-run", "egotools rebuild caches/mine --weights resnet18=new.pth"):
        assert example in text


def test_extractors_of_a_users_file_are_made_again_beside_built_in_ones(manifest: Path, tmp_path: Path) -> None:
    extract(manifest, tmp_path / "caches", f"{ODD}:Brightness", "color")
    expected = {name: contents(tmp_path / "caches" / name) for name in ("brightness.lmdb", "color.lmdb")}
    for name in "abc":
        touch(manifest.with_name(f"{name}.mp4"))
    assert rebuild(tmp_path / "caches", "--trust", ODD).exit_code == 0
    assert {name: contents(tmp_path / "caches" / name) for name in expected} == expected
    assert all(verify(tmp_path / "caches" / name).is_sound for name in expected)


def test_a_cluster_that_cannot_be_reached_is_one_line(manifest: Path, color: Path) -> None:
    with manifest.open("a") as file:
        file.write("another," + manifest.read_text().splitlines()[-1].partition(",")[2] + "\n")
    result = rebuild(color, "--engine", "ray", "--address", "127.0.0.1:1")
    assert isinstance(result.exception, ClusterError)
    assert "127.0.0.1:1 cannot be reached" in str(result.exception)
