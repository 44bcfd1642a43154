"""`egotools eval map`, as a user runs it: files that say what made them, and hostile names that stay text."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from html_elements import EVIL, Elements
from tabled import write_cache, write_table
from timed_rows import make_cache, make_times, write
from typing_commands import complaint

from egotools.manifests.table import write_manifest
from egotools.stores import Recipe, Source, open_writer
from egotools.types import Clip, Rows

IDS = [f"clip{number:02}" for number in range(16)]


@pytest.fixture
def place(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder with a manifest m.csv of 16 clips in two groups, and their features x.lmdb."""
    write_table(tmp_path / "m.csv", IDS, {"video": ["a", "b"] * 8, "score": list(range(16))})
    write_cache(tmp_path / "x.lmdb", IDS, 9 * np.eye(2, 5)[np.arange(16) % 2] + rng.normal(size=(16, 5)))
    return tmp_path


def run(place: Path, *words: object, cache: str = "x.lmdb") -> Result:
    line = ["eval", "map", "--features", place / cache, "--manifest", place / "m.csv", "--out", place / "maps", *words]
    return CliRunner().invoke(root, [*map(str, line)])


def page_data(place: Path) -> dict[str, object]:
    """What the script of the page reads."""
    page = (place / "maps/map.html").read_text()
    start = page.index(">", page.index('id="map-data"')) + 1
    data: dict[str, object] = json.loads(page[start : page.index("</script>", start)])
    return data


def test_a_map_is_a_picture_a_page_a_table_and_a_report(place: Path) -> None:
    done = run(place, "--color", "video", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report == json.loads((place / "maps/report.json").read_text())
    assert [method["method"] for method in report["methods"]] == ["pca", "tsne"]
    assert report["arguments"]["color"] == "video"
    assert len(report["inputs"]["features"][0]["recipe"]) == 16
    assert "--perplexity 30 lowered to 5: there are 16 rows" in done.stderr
    assert (place / "maps/map.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((place / "maps/map.csv").read_text().splitlines()))
    assert list(rows[0]) == ["id", "start", "end", "pca_x", "pca_y", "tsne_x", "tsne_y", "color"]
    assert [(row["id"], row["color"]) for row in rows] == list(zip(IDS, ["a", "b"] * 8, strict=True))
    before = (place / "maps/map.csv").read_bytes()
    run(place, "--color", "video")
    assert (place / "maps/map.csv").read_bytes() == before


def test_the_page_needs_no_network_and_sends_nothing(place: Path) -> None:
    run(place, "--method", "pca", "--color", "score")
    page = (place / "maps/map.html").read_text()
    assert "default-src 'none'" in page
    assert "showSendToCloud: false" in page
    found = Elements(page)
    assert "link" not in found.tags
    assert not [value for name, value in found.attributes if name in ("src", "href")]
    data = page_data(place)
    assert data["texts"][3] == "clip03<br>0.00 to 1.00 s<br>score: 3"  # type: ignore[index]
    (trace,) = data["traces"]  # type: ignore[misc]
    assert trace["marker"]["color"] == list(range(16))
    assert trace["customdata"] == list(range(16))


def test_hostile_ids_and_labels_stay_text(place: Path, rng: np.random.Generator) -> None:
    evil = EVIL.replace("\x00", "")
    ids = [f"{evil}{number}" for number in range(8)]
    write_table(place / "m.csv", ids, {"<b onload=x>": [f"{evil} {number % 2}" for number in range(8)]})
    write_cache(place / "evil.lmdb", ids, rng.normal(size=(8, 3)))
    done = run(place, "--method", "pca", "--color", "<b onload=x>", cache="evil.lmdb")
    assert done.exit_code == 0, done.output
    found = Elements((place / "maps/map.html").read_text())
    assert found.tags.count("script") == 3  # the data, plotly and ours
    assert found.tags.count("img") == 1  # ours
    assert "alert(1)" not in "".join(value or "" for _, value in found.attributes)
    data = page_data(place)
    said = [*data["texts"], *(trace["name"] for trace in data["traces"])]  # type: ignore[misc, attr-defined]
    assert all("<" not in text.replace("<br>", "") for text in said)  # plotly reads markup in them
    assert "&lt;script&gt;alert(1)" in said[0]


def test_without_plotly_the_page_is_left_out_and_an_earlier_one_goes(place, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ("--method", "pca")
    run(place, *line)
    monkeypatch.setitem(sys.modules, "plotly", None)
    done = run(place, *line)
    assert done.exit_code == 0
    assert "no map.html: plotly is not installed; install it with: pip install 'egotools[map]'" in done.stderr
    assert sorted(each.name for each in (place / "maps").iterdir()) == ["map.csv", "map.png", "report.json"]
    assert "plotly is not installed" in complaint(run(place, *line, "--html"))
    assert "is not installed" not in run(place, *line, "--no-html").stderr


def test_frames_are_read_from_the_files_and_missing_ones_are_named(tmp_path: Path, tiny_video: Path) -> None:
    clips = [Clip(f"t{at}", tiny_video, at / 2, at / 2 + 0.5) for at in range(4)]
    clips += [Clip("gone", tmp_path / "gone.mp4"), Clip("nowhere", Path())]
    write_manifest(tmp_path / "m.csv", clips)
    with open_writer(tmp_path / "x.lmdb", Recipe({"extractor": "x"})) as writer:
        for number, clip in enumerate(clips):
            values = np.eye(6, dtype=np.float32)[[number, number]] * [[1], [1.5]]
            times = clip.start + np.array([[0, 0.1], [0.2, 0.3]])
            writer.append(clip.id, Rows(values.astype(np.float32), times))
            writer.finish(clip.id, Source(""))
        writer.commit()
    done = run(tmp_path, "--method", "pca", "--reduce", "none", "--thumbnails", "all", "--color", "time", "--json")
    assert done.exit_code == 0, done.output
    remarks = json.loads(done.stdout)["remarks"]
    assert remarks[0] == "no frames, as the manifest names no files: 'nowhere'"
    assert "no frames of 2 rows" in remarks[1]
    assert "gone.mp4" in remarks[1]
    frames = page_data(tmp_path)["frames"]
    assert sorted(frames) == [str(row) for row in range(8)]  # type: ignore[arg-type, call-overload]
    assert all(each.startswith("data:image/jpeg;base64,") for each in frames.values())  # type: ignore[attr-defined]


def test_large_tables_are_drawn_by_lot_and_it_is_said(place: Path) -> None:
    done = run(place, "--method", "pca", "--most", "6", "--seed", "4")
    assert "6 of 16 rows, drawn by lot" in done.stderr
    ids = [row["id"] for row in csv.DictReader((place / "maps/map.csv").read_text().splitlines())]
    assert len(ids) == 6
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--color", "vidoe"], "no column 'vidoe'; did you mean 'video'?"),
        (["--features", "absent.lmdb"], "absent.lmdb"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(place: Path, words: list[str], message: str) -> None:
    assert message in complaint(run(place, *words))
    assert not (place / "maps").exists()


def test_features_that_cannot_be_drawn_or_joined_are_refused(place: Path) -> None:
    write_cache(place / "same.lmdb", IDS, np.ones((16, 3)))
    assert "all 16 rows are equal" in complaint(run(place, cache="same.lmdb"))
    write_cache(place / "nan.lmdb", IDS, np.full((16, 3), np.nan))
    assert "NaN" in complaint(run(place, cache="nan.lmdb"))
    with open_writer(place / "two.lmdb", Recipe({"extractor": "two"})) as writer:
        for id in IDS:
            writer.append(id, Rows(np.ones((2, 2), np.float32), np.array([[0.0, 1.0], [1.0, 2.0]])))
            writer.finish(id, Source(""))
        writer.commit()
    said = complaint(run(place, "--reduce", "none", "--features", place / "two.lmdb"))
    assert "with different times" in said
    assert run(place, "--most", "1").exit_code == 2


def test_windows_are_colored_by_labels_at_times(tmp_path: Path) -> None:
    make_cache(tmp_path / "x.lmdb", {id: (f"{id}.mp4", make_times(4)) for id in "abc"})
    write(tmp_path / "m.csv", "id", *"abc")
    write(tmp_path / "s.csv", "id,start,end,label", "a,0,1,eat", "b,1,2,rest")
    words = ["--segments", tmp_path / "s.csv", "--method", "pca", "--no-html"]
    done = run(tmp_path, *words, "--color", "label")
    assert done.exit_code == 0, done.output
    with (tmp_path / "maps/map.csv").open() as file:
        colors = [row["color"] for row in csv.DictReader(file)]
    assert colors == ["eat", "eat", "", "", "", "", "rest", "rest", *[""] * 4]
    assert "segments" in json.loads((tmp_path / "maps/report.json").read_text())["inputs"]
    done = run(tmp_path, *words)
    assert (done.exit_code, "--segments is for --color" in done.stderr) == (2, True)


def test_a_run_is_never_overwritten(place: Path) -> None:
    (place / "maps").mkdir()
    (place / "maps/config.json").write_text("{}")
    assert "holds a run" in complaint(run(place, "--method", "pca"))
