"""`egotools find`, as a user runs it: texts, images and clips, tables and files, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from clip_rows import every, scenes, write_rows
from conftest import write_video
from egotools.cli.main import root
from extracted import want
from PIL import Image

from egotools.derive import found_picture
from egotools.derive.cut import Cut
from egotools.derive.deriving import Derived, derive
from egotools.extraction.engine import extract
from egotools.extraction.recipes import recipe_of
from egotools.extractors import text_tower
from egotools.files.csv_files import read_csv
from egotools.manifests.table import write_manifest
from egotools.media.video import open_frames
from egotools.plots import Strip
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.types import Clip, Rows


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["find", *map(str, arguments)])


@pytest.fixture
def drawn(monkeypatch) -> list[Strip]:
    """What the pictures show, which are drawn."""
    strips: list[Strip] = []
    real = found_picture.strips_picture

    def kept(each: list[Strip], *, title: str) -> bytes:
        strips.extend(each)
        return real(each, title=title)

    monkeypatch.setattr(found_picture, "strips_picture", kept)
    return strips


@pytest.fixture
def tower(monkeypatch) -> None:
    """A text tower whose row of a text is that of the scene with its number."""
    monkeypatch.setattr(
        text_tower, "text_rows", lambda _, texts: np.eye(8, dtype=np.float32)[[int(text) for text in texts]]
    )


@pytest.fixture
def cache(tmp_path, tiny_video) -> Path:
    """Rows of two clips of a video of 20 frames in 2 s, of which the scenes 0, 1 and 2 last 6, 7 and 7."""
    clips = {"walk/park": Rows(scenes(6, 7, 7), every(20)), "walk/way": Rows(scenes(6, 7, 7, seed=1), every(20))}
    return write_rows(tmp_path / "c/f.lmdb", clips, str(tiny_video))


@pytest.mark.usefixtures("tower")
def test_texts_find_their_scenes(cache, tmp_path, drawn, tiny_video):
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"id,path,place\nwalk/way,{tiny_video},street\n")
    out = tmp_path / "found"
    done = run(
        *("--features", cache, "--text", 1, "--text", 2, "--manifest", manifest, "--top", 3, "--min-gap", 0.2),
        *("--out", out),
    )
    assert done.exit_code == 0, done.output
    assert "walk/way" in done.stdout
    assert "walk/park" not in done.output
    columns, rows = read_csv(out / "found.csv")
    assert columns == ["query", "rank", "similarity", "id", "start", "end", "path"]
    assert [(row["query"], row["rank"]) for _, row in rows] == [(q, r) for q in "12" for r in "123"]
    for _, row in rows:
        first, last = {"1": (0.6, 1.3), "2": (1.3, 2.0)}[row["query"]]
        assert first <= float(row["start"]) < float(row["end"]) <= last
        assert float(row["similarity"]) > 0.9
        assert row["path"] == str(tiny_video)
    report = json.loads((out / "found.json").read_text())
    assert [each["query"] for each in report["queries"]] == ["1", "2"]
    assert report["queries"][0]["moments"][0]["labels"] == {"place": "street"}
    assert report["arguments"] == {"top": 3, "min_gap": 0.2}
    assert (out / "found.png").read_bytes().startswith(b"\x89PNG")
    frames = [*open_frames(tiny_video).frames(range(20))]
    for strip, moments in zip(drawn, (each["moments"] for each in report["queries"]), strict=True):
        for shot, moment in zip(strip.shots, moments, strict=True):
            assert (shot.frame == frames[round(moment["start"] * 10)]).all()
            first, *others = shot.caption.splitlines()
            assert first.startswith(f"{moment['rank']}: {moment['similarity']:.3f} at ")
            assert others == ["walk/way", "street"]


@pytest.mark.usefixtures("tower")
def test_near_copies_count_once_and_fewer_moments_are_told(cache):
    done = run("--features", cache, "--text", 0, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    (moment,) = report["queries"][0]["moments"]
    assert moment["end"] == pytest.approx(0.6) or moment["end"] < 0.6
    assert report["remarks"] == ["'0': 1 moment, not 12: there are no more that are 2 s apart (--min-gap)"]


def test_a_text_is_refused_with_the_reason(cache, tmp_path):
    done = run("--features", cache, "--text", "a bicycle", "--out", tmp_path / "found")
    assert done.exit_code == 1
    assert "f.lmdb: " in str(done.exception)
    assert "was imported: no extractor is known that gives a text its rows" in str(done.exception)
    assert not (tmp_path / "found").exists()


def test_a_clip_finds_others_and_itself_only_if_asked(cache, drawn, tmp_path):
    """The other clip is of the same seconds of the same file: it would be a copy."""
    done = run("--features", cache, "--clip", "walk/park", "--at", 0.8)
    assert done.exit_code == 1
    assert "--include-clip" in done.stderr
    assert "nothing was found" in done.stderr
    done = run(
        *("--features", cache, "--clip", "walk/park", "--at", 0.8, "--include-clip", "--top", 1),
        *("--out", tmp_path / "found", "--json"),
    )
    assert done.exit_code == 0, done.output
    (query,) = json.loads(done.stdout)["queries"]
    assert query["clip"] == {"id": "walk/park", "start": pytest.approx(0.8), "end": pytest.approx(0.9)}
    assert (query["moments"][0]["id"], query["moments"][0]["similarity"]) == ("walk/park", pytest.approx(1))
    (strip,) = drawn
    assert strip.title == "clip: walk/park at 0.8 s"
    assert strip.shots[0].caption == "the query"
    assert (strip.shots[0].frame == strip.shots[1].frame).all()


def test_an_unknown_clip_names_similar_ones(cache):
    done = run("--features", cache, "--clip", "park")
    assert done.exit_code == 1
    assert "no clip 'park'; similar ids: 'walk/park'" in str(done.exception)


def test_frames_of_files_that_are_gone_or_unknown_are_missing_with_a_remark(tmp_path, drawn):
    rows = Rows(scenes(10), every(10, 1.0))
    with open_writer(tmp_path / "f.lmdb", Recipe({"imported": {"content": "x"}})) as writer:
        for id, source in (("gone", Source("/nowhere/v.mp4", size=3)), ("unknown", Source(""))):
            writer.append(id, Rows(rows.values.astype(np.float32), rows.times))
            writer.finish(id, source)
        writer.commit()
    done = run("--features", tmp_path / "f.lmdb", "--clip", "gone", "--include-clip", "--out", tmp_path / "found")
    assert done.exit_code == 0, done.output
    assert "no frame of gone: /nowhere/v.mp4: " in done.stderr
    assert "no frame of unknown: neither a manifest nor" in done.stderr
    assert all((shot.frame == found_picture.UNKNOWN).all() for shot in drawn[0].shots)
    assert json.loads((tmp_path / "found/found.json").read_text())["remarks"][-1] in done.stderr


def test_a_video_or_times_that_have_changed_are_told(cache, tmp_path, tiny_video):
    with open_writer(tmp_path / "f.lmdb", Recipe({"imported": {"content": "x"}})) as writer:
        writer.append("a", Rows(scenes(20).astype(np.float32), every(20)))
        writer.finish("a", Source.of(Clip("a", tiny_video)))
        writer.commit()
    write_video(tiny_video, 30)
    asked = ("--features", tmp_path / "f.lmdb", "--clip", "a", "--include-clip")
    assert "a: the features are older: its file had" in run(*asked).stderr
    (tmp_path / "m.csv").write_text(f"id,path,start,end\na,{tiny_video},1,2\n")
    done = run(*asked, "--manifest", tmp_path / "m.csv")
    assert done.exit_code == 0, done.output
    assert "a: the features are older: its times were 0 to the end, now 1 to 2 s" in done.stderr


def test_an_image_goes_through_the_extractor_of_the_cache(tmp_path, tiny_video):
    request = want(tmp_path, "pixels", fps=10.0)
    assert extract([Clip("a", tiny_video)], [request]).is_complete
    (frame,) = open_frames(tiny_video).frames([13])
    Image.fromarray(frame).save(tmp_path / "frame.png")
    done = run("--features", request.cache, "--image", tmp_path / "frame.png", "--out", tmp_path / "found", "--json")
    assert done.exit_code == 0, done.output
    (moment, *_) = json.loads(done.stdout)["queries"][0]["moments"]
    assert (moment["start"], moment["similarity"]) == (pytest.approx(1.3), pytest.approx(1, abs=1e-6))
    done = run("--features", request.cache, "--image", tiny_video)
    assert done.exit_code == 1
    assert "has 20 frames, not one" in str(done.exception)
    done = run("--features", request.cache, "--image", tmp_path / "none.png")
    assert done.exit_code == 1
    assert "none.png" in str(done.exception)


def test_images_and_texts_find_moments_of_cut_clips_through_the_extractor_of_their_input(
    tmp_path, tiny_video, monkeypatch
):
    request = want(tmp_path, "pixels", fps=10.0)
    assert extract([Clip("a", tiny_video)], [request]).is_complete
    write_manifest(tmp_path / "s.csv", [Clip("first", tiny_video, 0, 1), Clip("then", tiny_video, 1, 2)])
    derive(Derived(tmp_path / "cut.lmdb", "cut", Cut(tmp_path / "s.csv"), {"pixels": request.cache}))
    (frame,) = open_frames(tiny_video).frames([13])
    Image.fromarray(frame).save(tmp_path / "frame.png")
    done = run("--features", tmp_path / "cut.lmdb", "--image", tmp_path / "frame.png", "--json")
    assert done.exit_code == 0, done.output
    (moment, *_) = json.loads(done.stdout)["queries"][0]["moments"]
    assert (moment["id"], moment["start"]) == ("then", pytest.approx(1.3))
    width, asked = open_store(request.cache).width, []
    monkeypatch.setattr(text_tower, "text_rows", lambda recipe, _: [asked.append(recipe), np.ones((1, width))][1])
    assert run("--features", tmp_path / "cut.lmdb", "--text", "a dog", "--json").exit_code == 0
    assert [recipe.identity["extractor"] for recipe in asked] == ["pixels"]


@pytest.mark.parametrize(
    ("identity", "origin", "reason"),
    [
        ({"derivation": "pool"}, {}, "was derived from another cache (pool)"),
        ({"imported": {"content": "x"}}, {}, "was imported"),
        ({"extractor": "waveform", "options": {}}, {"extractor": "waveform"}, "takes sound, not images"),
        ({"extractor": "moments", "options": {}}, {"extractor": "moments"}, "takes whole files, not images"),
        ({"extractor": "colour", "options": {}}, {"extractor": "colour"}, "did you mean 'color'"),
        ({"extractor": "own.Mine", "options": {}}, {"extractor": "/own.py:Mine"}, "--trust /own.py"),
    ],
)
def test_caches_into_which_no_image_fits_are_refused(identity, origin, reason, tmp_path):
    with open_writer(tmp_path / "f.lmdb", Recipe(identity, origin)) as writer:
        writer.append("a", Rows(np.ones((2, 3), np.float32), every(2)))
        writer.finish("a", Source(""))
        writer.commit()
    Image.new("RGB", (20, 20)).save(tmp_path / "frame.png")
    done = run("--features", tmp_path / "f.lmdb", "--image", tmp_path / "frame.png")
    assert done.exit_code == 1
    assert reason in str(done.exception)
    assert str(tmp_path / "f.lmdb") in str(done.exception)


def test_an_image_is_refused_if_the_weights_are_no_longer_those_of_the_cache(tmp_path):
    recipe = recipe_of(want(tmp_path, "resnet18", weights="random:0"))
    with open_writer(tmp_path / "f.lmdb", Recipe({**recipe.identity, "weights": "0123"}, recipe.origin)) as writer:
        writer.append("a", Rows(np.ones((2, 512), np.float32), every(2)))
        writer.finish("a", Source(""))
        writer.commit()
    Image.new("RGB", (20, 20)).save(tmp_path / "frame.png")
    done = run("--features", tmp_path / "f.lmdb", "--image", tmp_path / "frame.png")
    assert done.exit_code == 1
    assert "f.lmdb was made with weights='0123'; here it is 'random:0'" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "give one of --text, --image and --clip"),
        (("--text", "a", "--clip", "b"), "give one of --text, --image and --clip"),
        (("--text", " "), "--text is empty"),
        (("--text", "a", "--at", 3), "--at is for --clip"),
        (("--text", "a", "--include-clip"), "--include-clip is for --clip"),
        (("--text", "a", "--top", 0), "--top must be 1 or more"),
        (("--text", "a", "--min-gap", -1), "--min-gap must be 0 or more"),
        (("--text", "a", "--features", "other.lmdb"), "one cache, not in 2"),
    ],
)
def test_wrong_usage_is_told(cache, words, reason):
    done = run("--features", cache, *words)
    assert done.exit_code == 2
    assert reason in done.stderr


def test_rows_as_extracted_are_found_through_csv_with_odd_ids(tmp_path):
    """Ids and texts may hold commas, quotes and line ends."""
    odd = 'a,"b"\nc'
    cache = write_rows(tmp_path / "f.lmdb", {odd: Rows(scenes(4), every(4, 5.0))})
    done = run("--features", cache, "--clip", odd, "--include-clip", "--out", tmp_path / "found")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO((tmp_path / "found/found.csv").read_text())))
    assert {row["id"] for row in rows} == {odd}
    assert len(rows) == len(open_store(cache)[odd].values)
