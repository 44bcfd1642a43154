"""Which of a file's streams of sound is read: an option of the extractors, and part of a recipe where it is given."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root
from media_files import write_tracks

from egotools.errors import RecipeError
from egotools.stores import open_store


def run(*arguments: object) -> Result:
    return CliRunner(catch_exceptions=False).invoke(root, [str(each) for each in arguments])


def extract(folder: Path, out: str, *options: object) -> Result:
    sound = ("waveform", "--rate", 8000, *options)
    return run("extract", "--manifest", folder / "m.csv", "--out", folder / out, "--workers", 1, *sound)


def test_a_stream_is_chosen_kept_in_the_recipe_and_read_again(tmp_path: Path) -> None:
    write_tracks(tmp_path / "a.mkv", 0.0, 0.5, 0.25, default=1)
    (tmp_path / "m.csv").write_text("id,path\na,a.mkv\n")
    loud = {}
    for out, options in (("default", ()), ("first", ("--stream", 0)), ("third", ("--stream", 2))):
        assert extract(tmp_path, out, *options).exit_code == 0
        store = open_store(tmp_path / out / "waveform.lmdb")
        loud[out] = float(store["a"].values.std())
        assert store.recipe.identity["options"].get("stream") == (options[1] if options else None)
    assert "stream" not in open_store(tmp_path / "default" / "waveform.lmdb").recipe.identity["options"]
    np.testing.assert_allclose(list(loud.values()), [0.35, 0.0, 0.18], atol=0.02)
    with pytest.raises(RecipeError, match=r"options\.stream=None, not 2"):
        extract(tmp_path, "default", "--stream", 2)
    os.utime(tmp_path / "a.mkv", (1e9, 1e9))
    rebuilt = run("rebuild", "--workers", 1, tmp_path / "third", "--json")
    assert '"state": "stale"' in rebuilt.stdout  # before, that is
    assert '"is_fresh": true' in rebuilt.stdout
    assert open_store(tmp_path / "third" / "waveform.lmdb")["a"].values.std() == loud["third"]


def test_a_stream_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    write_tracks(tmp_path / "a.mkv", 0.5, 0.5, default=0)
    (tmp_path / "m.csv").write_text("id,path\na,a.mkv\n")
    result = extract(tmp_path, "c", "--stream", 2)
    assert result.exit_code == 1
    assert "a.mkv: no audio stream 2; the file has 2, counted from 0" in result.stderr
    assert extract(tmp_path, "d", "--stream", -1).exit_code == 2
