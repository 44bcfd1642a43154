"""Which clips a run on cached features is evaluated on, and what is said of them."""

from __future__ import annotations

from pathlib import Path

from egotools.methods.sides import to_test_on
from egotools.training.learned_from import LearnedFrom
from egotools.types import Clip


def clip(id: str, split: str, video: str) -> Clip:
    return Clip(id, Path(), split=split, labels={"video": video})


def test_clips_of_a_video_that_was_learned_from_are_evaluated_and_it_is_said() -> None:
    clips = [clip("a", "train", "v1"), clip("b", "val", "v1"), clip("c", "val", "v2")]
    name, rows, remarks = to_test_on(clips, LearnedFrom(("a",)), None)
    assert (name, rows.tolist()) == ("val", [False, True, True])
    assert any("1 of 2 evaluated videos are on both sides" in each for each in remarks)
    apart = [clips[0], clips[2]]
    assert not any("both sides" in each for each in to_test_on(apart, LearnedFrom(("a",)), None)[2])
