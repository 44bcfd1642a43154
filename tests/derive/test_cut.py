"""Rows of segments, cut from caches of whole videos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cache_rows import make_rows
from click.testing import CliRunner, Result
from egotools.cli.main import root

from egotools.derive.cut import Cut
from egotools.derive.deriving import Derived, Made, derive
from egotools.errors import RecipeError, StoreError
from egotools.manifests.table import read_manifest
from egotools.progress import no_progress
from egotools.rebuild.planning import RebuildOptions
from egotools.rebuild.quick_status import QuickStatus
from egotools.rebuild.rebuilding import HowToRebuild, rebuild
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.stores.source import SourceFiles
from egotools.tables.matching import uncut
from egotools.tables.rows_within import rows_within
from egotools.tables.table import read_table
from egotools.types import Rows

ROWS = 40  # of a video, two a second


def make_whole(seed: int, *, first: float = 0.0, rows: int = ROWS) -> Rows:
    starts = first + np.arange(rows) / 2
    return Rows(make_rows(rows, seed).values, np.stack([starts, starts + 0.5], axis=1))


def make_cache(path: Path, *clips: tuple[str, Source, Rows]) -> Path:
    with open_writer(path, Recipe({"extractor": "color"})) as writer:
        for id, source, rows in clips:
            writer.append(id, rows)
            writer.finish(id, source)
        writer.seal()
    return path


@pytest.fixture
def videos(tmp_path):
    """Two files, and a cache of them under ids that no manifest of segments has."""
    (tmp_path / "v").mkdir()
    sources = {}
    for name in "ab":
        (tmp_path / f"v/{name}.mp4").write_bytes(b"not a video")
        status = (tmp_path / f"v/{name}.mp4").stat()
        place = str(tmp_path / f"v/{name}.mp4")
        sources[name] = Source(place, size=status.st_size, mtime=status.st_mtime, digest="d")
    make_cache(tmp_path / "whole/f.lmdb", *((f"whole-{n}", s, make_whole(ord(n))) for n, s in sources.items()))
    return tmp_path


def manifest(folder: Path, *lines: str, columns: str = "id,path,start,end,behavior,video") -> Path:
    (folder / "s.csv").write_text("\n".join([columns, *lines]) + "\n")
    return folder / "s.csv"


def cut(folder: Path, *, overlap: bool = False, suffix: str = ".lmdb") -> Made:
    wanted = Cut(folder / "s.csv", overlap)
    return derive(Derived(folder / f"cut/f{suffix}", "cut", wanted, {"f": folder / "whole/f.lmdb"}))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, [*map(str, arguments)])


def by_hand(times: np.ndarray, start: float, end: float, overlap: bool) -> list[int]:
    """Row by row, as the definition says it."""
    found = []
    for number, (first, last) in enumerate(times.tolist()):
        if start <= (first + last) / 2 < end or (overlap and first < end and last > start):
            found.append(number)
    return found


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("is_sorted", [True, False])
def test_rows_are_those_of_a_loop_over_rows(overlap, is_sorted):
    generator = np.random.default_rng(0)
    starts = generator.integers(0, 40, 60) / 4  # in quarters, so that many meet a border exactly
    starts = np.sort(starts) if is_sorted else starts
    times = np.stack([starts, starts + (0.5 if is_sorted else generator.integers(0, 8, 60) / 4)], axis=1)
    spans = np.sort(generator.integers(0, 44, (50, 2)) / 4, axis=1)
    spans[0] = 3, np.inf
    for span, picked in zip(spans.tolist(), rows_within(times, spans, overlap=overlap), strict=True):
        assert np.arange(60)[picked].tolist() == by_hand(times, *span, overlap)


def test_a_border_belongs_to_the_later_of_two_segments():
    times = np.array([[0.0, 1.0], [0.5, 1.5], [1.0, 2.0]])  # middles 0.5, 1, 1.5
    spans = np.array([[0.0, 1.0], [1.0, 1.5], [1.5, 9.0]])
    assert [np.arange(3)[each].tolist() for each in rows_within(times, spans, overlap=False)] == [[0], [1], [2]]
    reaching = rows_within(times, spans, overlap=True)
    assert [np.arange(3)[each].tolist() for each in reaching] == [[0, 1], [1, 2], [2]]


@pytest.mark.parametrize("suffix", [".lmdb", ".h5"])
def test_segments_get_the_rows_of_their_file_at_their_times(videos, suffix):
    manifest(videos, "x,v/b.mp4,3,5,eat,b", "y,v/a.mp4,18,,rest,a", "z,v/a.mp4,0,0.75,eat,a")
    made = cut(videos, suffix=suffix)
    assert made == Made(videos / f"cut/f{suffix}", 3, 4 + 4 + 1, 6, True)
    store, whole = open_store(made.cache), open_store(videos / "whole/f.lmdb")
    for id, name, rows in (("x", "b", slice(6, 10)), ("y", "a", slice(36, 40)), ("z", "a", slice(0, 1))):
        assert store[id].values.tolist() == whole[f"whole-{name}"].values[rows].tolist()
        assert store[id].times.tolist() == whole[f"whole-{name}"].times[rows].tolist()


def test_the_source_of_a_segment_is_its_row_and_the_file_as_it_was_read(videos):
    manifest(videos, "x,v/b.mp4,3,5,eat,b")
    made = cut(videos)
    source, (clip,) = open_store(made.cache).source("x"), read_manifest(videos / "s.csv")
    before = open_store(videos / "whole/f.lmdb").source("whole-b")
    assert source == Source(before.path, 3.0, 5.0, before.size, before.mtime, None, "d")
    assert SourceFiles().change(source, clip) == ""
    clip.path.write_bytes(b"another video")
    assert "its file had 11 bytes" in SourceFiles().change(source, clip)


def test_a_link_leads_to_the_file_that_is_cached(videos):
    (videos / "link").symlink_to(videos / "v")
    manifest(videos, f"x,{videos}/link/a.mp4,0,1,eat,a")
    assert cut(videos).rows == 2


def test_the_longest_cached_clip_that_holds_a_segment_gives_its_rows(videos):
    place = str(videos / "v/a.mp4")
    clips = [
        ("long", Source(place, 5.0, 15.0), make_whole(1, first=5, rows=20)),
        ("early", Source(place, 0.0, 8.0), make_whole(2, rows=16)),
        ("late", Source(place, 7.0, 15.0), make_whole(3, first=7, rows=16)),
    ]
    (videos / "whole/f.lmdb").unlink()
    make_cache(videos / "whole/f.lmdb", *clips)
    manifest(
        videos, "in-all,v/a.mp4,7,8,,a", "only-early,v/a.mp4,4,6,,a", "in-none,v/a.mp4,4,9,,a", "open,v/a.mp4,9,,,a"
    )
    made = cut(videos)
    store = open_store(made.cache)
    assert store["in-all"].values.tolist() == clips[0][2].values[4:6].tolist()
    assert store["only-early"].values.tolist() == clips[1][2].values[8:12].tolist()
    assert "4 s to 9 s is not inside what is cached of" in made.failed["in-none"]
    assert "9 s to the end of the file is not inside" in made.failed["open"]
    assert ["1 clip held by several cached clips" in each for each in made.remarks] == [True]


def test_a_segment_too_short_for_a_row_is_an_empty_clip_and_said_so(videos):
    manifest(videos, "short,v/a.mp4,0.3,0.7,eat,a", "past,v/a.mp4,90,95,eat,a", "x,v/a.mp4,0,1,eat,a")
    made = cut(videos)
    assert (made.clips, made.rows, dict(made.failed)) == (3, 2, {})
    assert made.remarks == (
        "1 clip without rows, after the last row of their file: 'past'",
        "1 clip without rows, as no row's middle lies in them: 'short'",
    )


def test_a_missing_video_is_named_and_the_others_are_cut(videos):
    manifest(videos, "x,v/a.mp4,0,1,eat,a", "y,v/c.mp4,0,1,eat,c", "z,,0,1,eat,")
    line = [
        "derive",
        "cut",
        "--features",
        videos / "whole/f.lmdb",
        "--manifest",
        videos / "s.csv",
        "--out",
        videos / "cut",
    ]
    for _ in range(2):  # said again when the cache is there
        done = run(*line)
        assert done.exit_code == 1
        assert "clips failed: 2 ('y': no cached clip is of" in done.stderr
    assert list(open_store(videos / "cut/f.lmdb")) == ["x"]
    (item,) = json.loads(run(*line, "--json").stdout)
    assert (item["clips"], list(item["failed"]), item["is_new"]) == (1, ["y", "z"], False)


def test_nothing_is_made_when_nothing_can_be_cut(videos):
    manifest(videos, "y,v/c.mp4,0,1,eat,c")
    with pytest.raises(StoreError, match=r"none of the 1 clips of .*s\.csv: 'y': no cached clip is of .*c\.mp4"):
        cut(videos)
    assert not (videos / "cut/f.lmdb").exists()


def test_imported_rows_without_files_are_refused(videos):
    make_cache(videos / "whole/i.lmdb", ("a", Source(""), make_whole(1)))
    manifest(videos, "a,v/a.mp4,0,1,eat,a")
    done = run(
        "derive", "cut", "--features", videos / "whole/i.lmdb", "--manifest", videos / "s.csv", "--out", videos / "cut"
    )
    assert done.exit_code == 1
    assert "imported and name no files" in done.stderr


def test_frames_numbered_at_another_rate_are_not_mixed_up(videos):
    place = str(videos / "v/a.mp4")
    (videos / "whole/f.lmdb").unlink()
    make_cache(videos / "whole/f.lmdb", ("w", Source(place, fps=25.0), make_whole(1)))
    manifest(videos, "x,v/a.mp4,0,1,25", "y,v/a.mp4,0,1,30", "z,v/a.mp4,0,1,", columns="id,path,start,end,fps")
    made = cut(videos)
    assert made.failed == {"y": "its fps is 30, that of the cached clip 25"}
    assert [open_store(made.cache).source(id).fps for id in "xz"] == [25.0, 25.0]


def test_a_changed_manifest_makes_the_cache_stale_and_rebuild_follows_it(videos):
    manifest(videos, "x,v/a.mp4,0,1,eat,a")
    cache = cut(videos).cache
    input = {"f": videos / "whole/f.lmdb"}
    assert derive(Derived(cache, "cut", Cut(videos / "s.csv"), input)).is_new is False
    manifest(videos, "x,v/a.mp4,0,2,eat,a", "y,v/b.mp4,1,2,rest,b")
    with pytest.raises(RecipeError, match=r"is stale: its manifest .*s\.csv has changed; run 'egotools rebuild"):
        cut(videos)
    assert QuickStatus()(cache).reasons[0].startswith("options.manifest was")
    made = derive(Derived(cache, "cut", Cut(videos / "s.csv"), input), out=videos / "new.lmdb")
    assert (made.clips, made.rows) == (2, 6)


def test_a_rebuild_cuts_again_and_names_what_fails(videos, monkeypatch):
    manifest(videos, "x,v/a.mp4,0,1,eat,a")
    cache = cut(videos).cache
    manifest(videos, "x,v/a.mp4,0,2,eat,a", "y,v/c.mp4,0,1,eat,c")
    monkeypatch.setattr("egotools.rebuild.derived.not_fresh", lambda *_: [])  # the input names no manifest
    monkeypatch.setattr("egotools.rebuild.rebuilding.not_fresh", lambda *_: [])
    (result,) = rebuild([cache], RebuildOptions(), HowToRebuild(), progress=no_progress)
    assert (result.state, result.computed, list(result.failed)) == ("incomplete", 1, ["y"])
    assert len(open_store(cache)["x"].values) == 4


def test_a_probe_learns_from_cut_rows_with_whole_videos_held_out(videos):
    clips, lines = [], []
    for number in range(6):
        file = videos / f"v/{number}.mp4"
        file.write_bytes(b"")
        rows = make_whole(number)
        is_eating = np.arange(ROWS) // 10 % 2 == 0
        rows.values[is_eating, 0] += 5
        clips.append((f"w{number}", Source(str(file)), rows))
        times = enumerate([("0,5", "eat"), ("5,10", "rest"), ("10,15", "eat"), ("15,20", "rest")])
        lines += [f"{number}-{at},v/{number}.mp4,{span},{label},{number}" for at, (span, label) in times]
    (videos / "whole/f.lmdb").unlink()
    make_cache(videos / "whole/f.lmdb", *clips)
    manifest(videos, *lines)
    cut(videos)
    table = read_table(videos / "s.csv", videos / "cut/f.lmdb")
    assert table.times[:2].tolist() == [[0, 5], [5, 10]]
    line = ["--features", videos / "cut/f.lmdb", "--manifest", videos / "s.csv", "--label", "behavior"]
    done = run("eval", "probe", *line, "--group", "video", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["accuracy"] > 0.9


def test_what_made_cut_rows_is_found_through_several_cuts(videos):
    manifest(videos, "x,v/a.mp4,0,9,eat,a")
    first = cut(videos).cache
    twice = derive(Derived(videos / "twice.lmdb", "cut", Cut(videos / "s.csv"), {"f": first})).cache
    assert open_store(twice)["x"].values.tolist() == open_store(first)["x"].values.tolist()
    assert uncut(open_store(twice)).path == videos / "whole/f.lmdb"
    assert uncut(open_store(videos / "whole/f.lmdb")).recipe.identity == {"extractor": "color"}


def test_what_is_needed_is_said():
    done = run("derive", "cut", "--features", "f.lmdb", "--out", "cut")
    assert done.exit_code == 2
    assert "--manifest is needed: it lists the segments" in done.stderr
