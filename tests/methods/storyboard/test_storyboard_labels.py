"""Labels of frames: classes of a fixed length, and the segments of both memories as the reference gave them."""

from __future__ import annotations

import numpy as np
import pytest
from streams import Engine, generators, recorded

from egotools.methods.storyboard.labels import Storyboard, by_length
from egotools.methods.storyboard.memories import Sizes, TwoTier, memory_of


def test_a_class_has_frames():
    with pytest.raises(ValueError, match="--class-length"):
        by_length(0)


def test_segments_and_labels_of_a_whole_stream_are_the_references():
    case, golden = recorded("engine_storyboard")
    engine = Engine(case, segment_from=case["warmup"])
    found = [engine.step() for _ in range(engine.memory.steps)]
    np.testing.assert_array_equal([drawn.ids for drawn in found], golden["batch_frame_ids"])
    np.testing.assert_array_equal([drawn.labels for drawn in found], golden["batch_labels"])
    assert engine.events == [row[row >= 0].tolist() for row in golden["events"]]
    for tier, name in ((engine.memory.short, "final_short_labels"), (engine.memory.long, "final_long_labels")):
        np.testing.assert_array_equal(tier.labels, golden[name][tier.ids])


def small(length: int, frames: int = 400) -> tuple[TwoTier, Storyboard]:
    """20 frames of the last 80, and 40 of all."""
    labels = by_length(length)
    memory = memory_of("two-tier", frames, Sizes(16, 4, 4, 20, 40, 4), labels, **generators())
    assert isinstance(memory, TwoTier)
    return memory, Storyboard(memory, labels)


def test_a_window_of_one_class_needs_no_change_points():
    memory, storyboard = small(length=1000)
    for _ in range(memory.steps):
        memory.advance()
        assert storyboard.due()
        window = storyboard.update(lambda count: pytest.fail("asked"))
        assert (window.first, window.last, window.starts.tolist()) == (0, 0, memory.short.ids[:1].tolist())
    assert {*memory.short.labels.tolist(), *memory.long.labels.tolist()} == {0}


def test_the_very_first_frame_of_a_window_keeps_its_label_in_the_long_term_memory():
    memory, storyboard = small(length=40)
    memory.advance()
    while memory.short.ids[-1] < 100 or memory.short.ids[0] not in memory.long.ids:
        memory.advance()
    memory.long.relabel(slice(None), 99)
    storyboard.update(lambda count: np.arange(1, count))
    start = memory.short.ids[0]
    assert ((memory.long.labels == 99) == (memory.long.ids <= start)).all()


def test_other_than_as_many_change_points_are_refused():
    memory, storyboard = small(length=20)
    memory.advance()
    with pytest.raises(ValueError, match="segments have"):
        storyboard.update(lambda count: np.arange(1, count + 1))
