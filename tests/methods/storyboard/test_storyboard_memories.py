"""Memories of a stream draw what the reference drew, say what they hold, and go on from a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import get_args

import numpy as np
import pytest
import torch
from streams import batches, generator, generators, padded, recorded, through_a_file

from egotools.errors import TrainingError
from egotools.methods.storyboard.held import Memory
from egotools.methods.storyboard.labels import by_length
from egotools.methods.storyboard.memories import Fifo, Kind, Reservoir, Sizes, TwoTier, memory_of
from egotools.methods.storyboard.minred import MinRed

SMALL = Sizes(
    step_batch_size=16,
    curr_batch_size=8,
    replay_batch_size=24,
    short_buffer_size=30,
    long_buffer_size=70,
    subsample=5,  # no divisor of the step
)
KINDS = get_args(Kind)


def made(kind: Kind, frames: int = 700, sizes: Sizes = SMALL) -> Memory:
    return memory_of(kind, frames, sizes, by_length(90), **generators())


def shown(memory: Memory, ids: np.ndarray) -> None:
    """Features, if it asks for them."""
    if isinstance(memory, MinRed):
        memory.seen(ids, torch.from_numpy(np.random.default_rng(ids).random((len(ids), 8), np.float32)))


@pytest.mark.parametrize("case", ["sampler_fifo_oversample", "sampler_fifo_sub4", "sampler_fifo_sub5_small"])
def test_the_last_frames_are_held_and_drawn_as_in_the_reference(case):
    options, golden = recorded(case)
    memory = Fifo(
        options["N"],
        options["step_frame_size"],
        options["buffer_size"],
        options["batch_size"],
        by_length(options["class_length"]),
        Random(0),
        fill=options["init_buffer_size"],
        subsample=options["subsample"],
    )
    states = []
    found = [
        drawn.ids
        for drawn in batches(memory, lambda _: states.append([memory.ids[0], memory.ids[-1], len(memory.ids)]))
    ]
    np.testing.assert_array_equal(padded(found), golden["batches"])
    np.testing.assert_array_equal(states, golden["state_after_each_yield"][:, :3])
    assert memory.state_dict()["head"] == golden["state_after_each_yield"][-1, 3]


@pytest.mark.parametrize("case", ["sampler_reservoir", "sampler_reservoir_early", "sampler_reservoir_full_batch"])
def test_the_reservoir_holds_the_frames_keys_and_batches_of_the_reference(case):
    options, golden = recorded(case)
    sizes = options["N"], options["step_frame_size"], options["buffer_size"], options["batch_size"]
    memory = Reservoir(*sizes, by_length(90), Random(0), generator(), fill=options["init_buffer_size"])
    held = []
    found = [drawn.ids for drawn in batches(memory, lambda _: held.append(len(memory.ids)))]
    np.testing.assert_array_equal(found, golden["batches"])
    np.testing.assert_array_equal(held, golden["state_after_each_yield"][:, 0])
    order = np.argsort(-memory.keys)
    np.testing.assert_array_equal(memory.ids, golden["final_buffer_sorted"])
    np.testing.assert_array_equal(memory.ids[order], golden["final_buffer_by_key"])
    np.testing.assert_array_equal(memory.keys[order], golden["final_keys"])


def test_of_equal_keys_those_of_later_steps_win_and_within_a_step_the_earlier_frames(monkeypatch):
    rand = torch.rand
    monkeypatch.setattr(torch, "rand", lambda *shape, **more: (rand(*shape, **more) * 12).floor() / 12)
    memory = Reservoir(800, 16, 50, 5, by_length(90), Random(0), generator(), fill=50)
    source, expected = generator(), []  # the definition: a stable descending sort of [new, old]
    for head in range(0, 800, 16):
        new = list(zip(torch.rand(16, generator=source).tolist(), range(head, head + 16), strict=True))
        expected = sorted([*new, *expected], key=lambda entry: -entry[0])[:50]
        if head >= 48:
            memory.advance()
            assert memory.ids.tolist() == sorted(frame for _, frame in expected)


def test_two_tiers_draw_in_turn_from_one_random_stream():
    options, golden = recorded("sampler_two_tier")
    fifo, reservoir = options["fifo"], options["reservoir"]
    sizes = Sizes(
        options["step_frame_size"],
        fifo["batch_size"],
        reservoir["batch_size"],
        fifo["buffer_size"],
        reservoir["buffer_size"],
        fifo["subsample"],
    )
    found = [drawn.ids for drawn in batches(made("two-tier", options["N"], sizes))]
    np.testing.assert_array_equal(found, np.concatenate([golden["short"], golden["long"]], axis=1))


def test_iid_batches_and_those_in_order_are_the_references():
    options, golden = recorded("sampler_iid")
    sizes = replace(SMALL, curr_batch_size=options["batch_size"])
    found = [drawn.ids for drawn in batches(made("iid", options["N"], sizes))]
    np.testing.assert_array_equal(found, golden["batches"])
    options, golden = recorded("sampler_sequential")
    sizes = replace(SMALL, curr_batch_size=options["batch_size"], subsample=options["subsample"])
    found = [drawn.ids for drawn in batches(made("none", options["N"], sizes))]
    np.testing.assert_array_equal(padded(found), golden["batches"])


@pytest.mark.parametrize("kind", KINDS)
def test_changes_say_what_is_held_and_every_batch_is_of_it(kind):
    memory, held = made(kind), set()
    for _ in range(memory.steps):
        change = memory.advance()
        arrived, left = set(change.arrived.tolist()), set(change.left.tolist())
        assert not arrived & held
        assert left <= held
        held = (held | arrived) - left
        assert sorted(held) == memory.ids.tolist()
        drawn = memory.draw()
        assert set(drawn.ids.tolist()) <= held
        np.testing.assert_array_equal(drawn.labels, drawn.ids // 90)
        shown(memory, drawn.ids)
    assert max(held) > 600
    with pytest.raises(ValueError, match="last batch, number 43"):
        memory.advance()


@pytest.mark.parametrize("kind", ["two-tier", "fifo", "reservoir", "none", "iid"])
def test_a_memory_that_runs_ahead_without_drawing_holds_the_same(kind):
    memory, ahead = made(kind), made(kind)
    for _ in range(memory.steps):
        np.testing.assert_array_equal(memory.advance().arrived, ahead.advance().arrived)
        memory.draw()
        np.testing.assert_array_equal(memory.ids, ahead.ids)


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_from_wherever_it_was_interrupted(kind):
    def run(memory: Memory) -> list[tuple[list[int], list[int], list[int]]]:
        change, drawn = memory.advance(), memory.draw()
        shown(memory, drawn.ids)
        return [each.tolist() for each in (change.arrived, drawn.ids, drawn.labels)]

    whole = made(kind)
    expected = [run(whole) for _ in range(whole.steps)]
    memory = made(kind)
    for step in range(memory.steps):
        resumed = memory_of(kind, 700, SMALL, by_length(90), **generators(1))
        resumed.load_state_dict(through_a_file(memory.state_dict()))
        memory = resumed
        assert run(memory) == expected[step]
    assert memory.ids.tolist() == whole.ids.tolist()


def test_labels_that_were_given_stay_with_their_frames_through_a_checkpoint():
    memory = made("two-tier")
    assert isinstance(memory, TwoTier)
    memory.advance()
    memory.long.relabel(memory.long.ids >= 50, 7)
    before = dict(zip(memory.long.ids.tolist(), memory.long.labels.tolist(), strict=True))
    state = through_a_file(memory.state_dict())
    memory = made("two-tier")
    memory.load_state_dict(state)
    memory.advance()
    after = dict(zip(memory.long.ids.tolist(), memory.long.labels.tolist(), strict=True))
    assert len(before.keys() & after.keys()) > 40
    assert all(label == before.get(frame, frame // 90) for frame, label in after.items())
    np.testing.assert_array_equal(memory.short.labels, memory.short.ids // 90)  # the other tier's are its own


def test_a_checkpoint_of_a_memory_of_another_size_is_refused_by_name():
    state = made("two-tier").state_dict()
    other = made("two-tier", sizes=replace(SMALL, long_buffer_size=60))
    with pytest.raises(ValueError, match="fill 70, not 60"):
        other.load_state_dict(state)


@pytest.mark.parametrize(
    ("kind", "flag"),
    [
        *((kind, "--long-buffer-size 70") for kind in ("two-tier", "reservoir", "minred", "balanced")),
        *(("fifo", "--short-buffer-size 30"), ("iid", "--curr-batch-size 8"), ("none", "--step-batch-size 16")),
    ],
)
def test_a_stream_that_is_too_short_is_refused(kind, flag):
    frames = int(flag.split()[1]) - 1
    with pytest.raises(TrainingError, match=f"the stream has {frames} frames, fewer than --") as caught:
        made(kind, frames)
    assert flag in str(caught.value) or "--step-batch-size 16" in str(caught.value)
    assert made(kind, max(frames + 1, 16)).steps > 0


def test_wrong_sizes_and_kinds_are_named():
    with pytest.raises(ValueError, match="--long-buffer-size must be above 0"):
        replace(SMALL, long_buffer_size=0)
    with pytest.raises(ValueError, match="--memory must be one of two-tier, fifo"):
        made("lifo")
