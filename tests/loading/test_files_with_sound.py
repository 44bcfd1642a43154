"""Sound is looked up with the frames of a training's files, kept with the run, and used again."""

from __future__ import annotations

import pickle
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from audible import sounding, write_audible
from PIL import Image

from egotools.errors import NoSound, TrainingError
from egotools.loading.files import OpenFiles
from egotools.loading.kept_files import FILES, files_of, read_files
from egotools.types import Clip


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    write_audible(tmp_path / "a.mp4", seconds=2, size=(32, 64))
    write_audible(tmp_path / "mute.mp4", seconds=1, rate=0, size=(32, 64))
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "folder" / "1.png")
    (tmp_path / "none.mp4").write_bytes(b"nothing")
    return [Clip(name, tmp_path / name, fps=1.0) for name in ("a.mp4", "mute.mp4", "folder", "none.mp4")]


def test_files_have_sound_or_not(clips, tmp_path):
    found = files_of(clips, tmp_path / FILES, sound=True)
    assert {path.name: source.sound is not None for path, source in found.sources.items()} == {
        "a.mp4": True,
        "folder": False,
        "mute.mp4": False,
    }
    assert [path.name for path in found.failed] == ["none.mp4"]
    kept = read_files(tmp_path / FILES)
    for files in (found, kept, pickle.loads(pickle.dumps(found))):
        opened = OpenFiles(1)
        sound = opened.sound(files.sources[tmp_path / "a.mp4"])
        assert opened.sound(files.sources[tmp_path / "a.mp4"]) is sound
        np.testing.assert_allclose(sound.alone(0.5, 1.0), sounding(2.0, 16000)[0, 8000:16000], atol=2e-4)
        with pytest.raises(NoSound, match=r"mute\.mp4: no audio stream in this file"):
            opened.sound(files.sources[tmp_path / "mute.mp4"])


def test_sound_is_only_looked_up_where_it_is_asked_for(clips, tmp_path):
    found = files_of(clips[:1])
    assert found.sources[tmp_path / "a.mp4"].sound is None
    with closing(found.sources[tmp_path / "a.mp4"].open_sound()) as sound:  # all the same it can be read
        assert sound.info.end == 2.0


def test_damaged_descriptions_are_refused(clips, tmp_path):
    files_of(clips, tmp_path / FILES, sound=True)
    with np.load(tmp_path / FILES) as archive:
        arrays = dict(archive)
    text = arrays["content"].tobytes().replace(b'"rate": 16000', b'"rate": -1')
    np.savez(tmp_path / FILES, **{**arrays, "content": np.frombuffer(text, np.uint8)})
    with pytest.raises(TrainingError, match=r"files\.npz cannot be used: a sound without a part or a rate"):
        read_files(tmp_path / FILES)
