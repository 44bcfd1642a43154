"""`egotools report`, as a user runs it: caches, runs and results on one page, whatever is written in them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from html_elements import EVIL, Elements
from tabled import write_cache
from typing_commands import complaint

from egotools.extraction.failures import write_failures
from egotools.plots import scatter_picture
from egotools.stores import Recipe
from egotools.types import Clip

RUNS = Path(__file__).parents[1] / "data/release/runs"


def run(*words: object) -> Result:
    return CliRunner().invoke(root, ["report", *map(str, words)])


def page_of(place: Path, *paths: object, status: int = 0) -> str:
    done = run(*paths, "--out", place / "report.html")
    assert done.exit_code == status, (done.output, done.exception)
    page = (place / "report.html").read_text()
    assert "script" not in Elements(page).tags
    return page


@pytest.fixture
def caches(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder with the caches `a.lmdb`, of which two clips failed, and `deep/b.lmdb`."""
    recipe = Recipe({"extractor": "color", "options": {"bins": 8}}, {"command": EVIL})
    write_cache(tmp_path / "e/a.lmdb", ["one", "two", "three"], rng.normal(size=(3, 5)), recipe)
    failed = [Clip(f"bad<b>{number}", tmp_path / "x.mp4", 1.5, 2.5) for number in range(2)]
    write_failures(
        tmp_path / "e/a.lmdb", failed, [(clip, "decoding fails " + EVIL.replace("\0", "")) for clip in failed]
    )
    write_cache(tmp_path / "e/deep/b.lmdb", ["one"], rng.normal(size=(1, 4)))
    return tmp_path / "e"


def test_caches_are_counted_with_recipe_and_failures(caches: Path, tmp_path: Path) -> None:
    page = page_of(tmp_path, caches)
    texts = Elements(page).texts
    at = texts.index(str(caches / "a.lmdb"))
    assert texts[at + 1 : at + 4] == ["3", "3", "5"]  # clips, rows, width
    assert "recipe.options.bins" in texts
    assert "clips that failed: 2" in texts
    at = texts.index("bad<b>0")
    assert texts[at + 1 : at + 3] == ["1.5", "2.5"]
    assert "decoding fails" in texts[at + 3]
    assert str(caches / "deep/b.lmdb") in texts
    assert "<b>" not in page


def test_a_damaged_cache_is_named_and_the_rest_is_reported(caches: Path, tmp_path: Path) -> None:
    (caches / "c.lmdb").write_bytes(b"no cache" * 2000)
    (caches / "deep/b.lmdb.failed.csv").write_text("nonsense\n1,2\n")
    done = run(caches, "--out", tmp_path / "report.html")
    assert done.exit_code == 1
    assert str(caches / "c.lmdb") in done.stderr
    assert "b.lmdb.failed.csv" in done.stderr
    texts = Elements((tmp_path / "report.html").read_text()).texts
    assert "cannot be read" in texts
    assert "clips that failed: 2" in texts


def test_a_run_shows_figures_curves_pictures_and_what_it_learned_from(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(RUNS / "memorability", folder)
    (folder / "seed-1").mkdir()
    (folder / "seed-1/metrics.jsonl").write_text('{"step": 1, "loss": 2}\n{"step": 2, "loss": 1.5}\n')
    scores = np.arange(4.0)
    (folder / "true.png").write_bytes(scatter_picture(scores, scores, title="t"))
    page = page_of(tmp_path, folder)
    found = Elements(page)
    for text in ("recipe.learning_rate", "last.spearman", "by_network", "metrics.jsonl: 2 lines", "true.png"):
        assert text in found.texts
    assert "seed-1/metrics.jsonl: 2 lines" in found.texts
    sources = [value or "" for name, value in found.attributes if name == "src"]
    assert len(sources) == 4 + 1 + 1  # eleven panels, three a picture; one of seed-1; true.png
    assert all(source.startswith("data:image/png;base64,iVBORw0KGgo") for source in sources)
    at = found.texts.index("what it learned from")
    assert "6" in found.texts[at : at + 8]


def test_runs_without_steps_or_without_a_report_are_shown_as_far_as_they_are(tmp_path: Path) -> None:
    assert "objective" in Elements(page_of(tmp_path, RUNS / "probe", RUNS / "pca")).texts
    folder = tmp_path / "run"
    shutil.copytree(RUNS / "probe", folder)
    (folder / "report.json").unlink()
    assert "not done: there is no report.json yet" in page_of(tmp_path, folder)


def test_what_is_written_in_json_stays_text_and_what_is_damaged_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "result"
    folder.mkdir()
    evil = {"remarks": [EVIL, 3], EVIL: EVIL, "huge": 10**400, "list": [{EVIL: EVIL}, {"b": {"c": [1, None, {}]}}]}
    (folder / "report.json").write_text(json.dumps(evil))
    (folder / "metrics.jsonl").write_text(
        f'{{"step": 1, "loss": 1e999, "x": {"9" * 400}}}\n{{"step": 2, "loss": "a"}}\n'
    )
    page = page_of(tmp_path, folder)
    assert Elements(page).tags.count("img") == 0
    assert "alert(1)" in page
    (folder / "report.json").write_text("{" * 100)
    (folder / "a.png").write_text("<svg onload=alert(1)>")
    (folder / "outside.png").symlink_to("/etc/hostname")
    (folder / "metrics.jsonl").write_text("no json\n")
    done = run(folder, "--out", tmp_path / "report.html")
    assert done.exit_code == 1
    for text in ("report.json cannot be read", "a.png is not a PNG picture", "metrics.jsonl cannot be read: line 1"):
        assert text in done.stderr
    assert "outside" not in (tmp_path / "report.html").read_text()


def test_what_is_not_there_is_one_line_and_no_page(tmp_path: Path) -> None:
    assert "no such cache or folder" in complaint(run(tmp_path / "absent", "--out", tmp_path / "report.html"))
    (tmp_path / "empty").mkdir()
    assert "nothing to report on" in complaint(run(tmp_path / "empty", "--out", tmp_path / "report.html"))
    assert not (tmp_path / "report.html").exists()


def test_a_cache_is_not_replaced_by_a_page(caches: Path) -> None:
    before = (caches / "a.lmdb").read_bytes()
    assert "must end in .html" in complaint(run(caches, "--out", caches / "a.lmdb"))
    assert (caches / "a.lmdb").read_bytes() == before


@pytest.mark.integration
def test_a_report_on_caches_loads_no_torch(caches: Path, tmp_path: Path) -> None:
    code = "import sys; from egotools.cli.main import root; root(standalone_mode=False); print('torch' in sys.modules)"
    line = [sys.executable, "-c", code, "report", str(caches), "--out", str(tmp_path / "report.html")]
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip() == "False"
