"""Moments that a training reads from a cache, and the same as a manifest and pictures to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from media_files import write_sound, write_video

from egotools.errors import TableError
from egotools.extractors.moments import Moments
from egotools.manifests.table import read_manifest, write_manifest
from egotools.methods.replai.moments import random_moment, read_moments
from egotools.stores import Recipe, open_writer
from egotools.stores.source import Source
from egotools.types import Clip, Rows

# Seconds of the file and prominence of each moment of the clip "walk", of 10 s from second 20 on.
MOMENTS = ((20.5, 3.0), (20.6, 1.0), (21.0, 0.7), (24.0, 2.0), (29.4, 1.5), (29.5, 5.0))


def rows_of(*moments: tuple[float, float], seconds: float = 10.0) -> Rows:
    values = [(prominence, prominence - 0.1, seconds) for _, prominence in moments]
    return Rows(np.reshape(values, (-1, 3)).astype(np.float32), np.repeat([at for at, _ in moments], 2).reshape(-1, 2))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A manifest m.csv of three clips of a second's sound, and their moments in c.lmdb: of `quiet` and `brief` none."""
    path = write_sound(tmp_path / "walk.wav", np.zeros((1, 8000)), 8000)
    clips = [Clip("walk", path, 20.0, 30.0), Clip("quiet", path, 0.0, 10.0), Clip("brief", path, 2.0, 3.1)]
    write_manifest(tmp_path / "m.csv", clips)
    kept(tmp_path / "c.lmdb", clips, rows_of(*MOMENTS), rows_of((3.0, 0.9)), rows_of((2.6, 4.0), seconds=1.1))
    return tmp_path


def kept(cache: Path, clips: list[Clip], *rows: Rows, extractor: str = "moments") -> None:
    recipe = Recipe({"extractor": extractor, "options": {"prominence": 0.5, "rate": None, "stream": None}})
    with open_writer(cache, recipe) as writer:
        for clip, each in zip(clips, rows, strict=True):
            writer.append(clip.id, each)
            writer.finish(clip.id, Source.of(clip))
        writer.commit()


def test_moments_are_chosen_by_prominence_and_by_the_picture_around_them(place):
    clips = read_manifest(place / "m.csv")
    found = read_moments(place / "c.lmdb", clips, prominence=1.0, margin=0.6)
    assert list(found.times) == ["walk"]
    np.testing.assert_array_equal(found.times["walk"], [20.6, 24.0, 29.4])
    assert found.none == ("quiet", "brief")
    assert "2 of 3 clips left out: no moment of prominence 1 with 0.6 s" in found.remark
    assert "'quiet', 'brief'" in found.remark

    wider = read_moments(place / "c.lmdb", clips, prominence=0.5, margin=0.0)
    np.testing.assert_array_equal(wider.times["walk"], [at for at, _ in MOMENTS])
    assert (wider.none, wider.remark) == ((), "")

    late = read_moments(place / "c.lmdb", clips, prominence=1.0, margin=0.6, begins={"walk": 20.3})
    np.testing.assert_array_equal(late.times["walk"], [24.0, 29.4, 29.5])  # 10 s of picture from 20.3 s on


def test_what_the_cache_cannot_tell_is_refused_in_one_line(place):
    clips = read_manifest(place / "m.csv")
    with pytest.raises(TableError, match=r"prominence 0\.5 and above, so not all of 0\.3.*--prominence 0\.3"):
        read_moments(place / "c.lmdb", clips, prominence=0.3)
    with pytest.raises(TableError, match=r"1 of 4 clips are not in it: 'new'"):
        read_moments(place / "c.lmdb", [*clips, Clip("new", clips[0].path)])
    moved = [Clip("walk", clips[0].path, 10.0, 20.0), *clips[1:]]
    with pytest.raises(TableError, match=r"'walk': its times were .*20.* extract them again"):
        read_moments(place / "c.lmdb", moved)
    kept(place / "d.lmdb", clips[:1], rows_of(*MOMENTS), extractor="log-mel")
    with pytest.raises(TableError, match=r"d\.lmdb: a cache of log-mel, not of moments"):
        read_moments(place / "d.lmdb", clips[:1])
    with pytest.raises(ValueError, match="margin"):
        read_moments(place / "c.lmdb", clips, margin=-1.0)


def test_random_moments_are_even_over_all_that_leave_the_margin(rng):
    clip = Clip("a", Path("a.mp4"), 20.0, 30.0)
    drawn = np.array([random_moment(clip, 10.0, rng, margin=0.6) for _ in range(2000)])
    assert 20.6 <= drawn.min() < 20.7 < 29.3 < drawn.max() <= 29.4
    assert abs(drawn.mean() - 25) < 0.2
    assert random_moment(clip, 1.2, rng, margin=0.6) == pytest.approx(20.6)
    with pytest.raises(ValueError, match=r"'a' of 1\.1 s has no moment with 0\.6 s"):
        random_moment(clip, 1.1, rng, margin=0.6)


def run(place: Path, *words: object) -> Result:
    line = ["manifest", "moments", "--features", place / "c.lmdb", "--manifest", place / "m.csv", *words]
    return CliRunner().invoke(root, list(map(str, line)))


def test_the_list_has_a_clip_around_each_moment_with_its_facts(place):
    done = run(place, "--out", place / "o.csv", "--prominence", 1.5)
    assert done.exit_code == 0, done.output
    clips = read_manifest(place / "o.csv")
    assert [clip.id for clip in clips] == ["walk/0000", "walk/0001", "walk/0002", "walk/0003", "brief/0000"]
    assert [(clip.start, clip.end) for clip in clips[:3]] == [(20.0, 21.5), (23.0, 25.0), (28.4, 30.0)]
    assert (clips[4].start, clips[4].end) == (2.0, 3.1)
    facts = {"clip": "walk", "moment": "24.000000", "prominence": "2.0000", "activity": "1.9000"}
    assert clips[1].labels == facts
    assert "clips without a moment: 1 (quiet)" in done.stderr
    assert len(read_manifest_of(place, "--prominence", 1.0, "--margin", 0.6)) == 3


def read_manifest_of(place: Path, *words: object) -> list[Clip]:
    assert run(place, "--out", place / "p.csv", *words).exit_code == 0
    return read_manifest(place / "p.csv")


def test_clips_that_cannot_be_used_are_named_and_the_others_listed(place):
    clips = read_manifest(place / "m.csv")
    write_manifest(place / "m.csv", [*clips[:2], Clip("new", clips[0].path)])
    done = run(place, "--out", place / "o.csv")
    assert done.exit_code == 1
    assert "failed: new: not in " in done.stderr
    assert len(read_manifest(place / "o.csv")) == 5


def test_a_list_of_nothing_is_not_written_and_no_file_of_the_user_replaced(place):
    done = run(place, "--out", place / "o.csv", "--prominence", 9)
    assert done.exit_code == 1
    assert "no moment of prominence 9" in done.stderr
    assert not (place / "o.csv").exists()
    assert run(place, "--out", place / "m.csv").exit_code == 2
    clips = read_manifest(place / "m.csv")
    write_manifest(place / "m.csv", [Clip("walk", clips[0].path, 20.0, 30.0, labels={"clip": "x"})])
    assert "a column 'clip' already" in str(run(place, "--out", place / "o.csv").exception)


def test_pictures_are_drawn_of_clips_with_sound_and_called_as_the_clips(tmp_path):
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.01, (1, 16000))
    samples[0, 8000:8200] *= 50
    sound, silent = write_sound(tmp_path / "a.wav", samples, 8000), write_video(tmp_path / "b.mp4", 8)
    clips = [Clip("../a/0", sound, 0.0, 2.0), Clip("b", silent)]
    write_manifest(tmp_path / "m.csv", clips)
    kept(tmp_path / "c.lmdb", clips, Moments().rows(clips[0]), rows_of())
    done = run(tmp_path, "--out", tmp_path / "o.csv", "--picture", tmp_path / "p")
    assert done.exit_code == 0, done.output
    drawn = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert drawn == ["p/_/a/0.png"]
    assert len(read_manifest(tmp_path / "o.csv")) == 1


def test_a_clip_whose_sound_cannot_be_read_again_is_named_and_its_moments_are_listed(place):
    (place / "walk.wav").unlink()
    done = run(place, "--out", place / "o.csv", "--picture", place / "p")
    assert done.exit_code == 1
    assert "failed: walk: " in done.stderr
    assert "walk.wav: no such file" in done.stderr
    assert len(read_manifest(place / "o.csv")) == 6
