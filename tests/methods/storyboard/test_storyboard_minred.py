"""Memories that choose what to forget choose as the reference does, and as their definitions say."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch
from fill import normal
from streams import batches, generators, recorded

from egotools.errors import TrainingError
from egotools.methods.storyboard.labels import by_length
from egotools.methods.storyboard.memories import Sizes, memory_of
from egotools.methods.storyboard.minred import Balanced, MinRed


@pytest.mark.parametrize("case", ["sampler_minred", "sampler_minred_bs40"])
def test_the_most_redundant_frames_are_forgotten_as_in_the_reference(case):
    options, golden = recorded(case)
    first, second = (normal(f"input/feature{view}", (options["N"], 12)) for view in (1, 2))
    sizes = Sizes(
        options["step_frame_size"],
        replay_batch_size=options["batch_size"],
        long_buffer_size=options["buffer_size"],
        frames_per_step="batch",
    )
    memory = memory_of("minred", options["N"], sizes, by_length(90), **generators())
    found, states = [], []
    for step, drawn in enumerate(batches(memory), 1):
        memory.seen(drawn.ids, torch.from_numpy(first[drawn.ids] + np.float32(0.1 * step) + second[drawn.ids]))
        found.append(drawn.ids)
        states.append([memory.state_dict()["head"], len(memory.ids), memory.is_seen.sum()])
    np.testing.assert_array_equal(found, golden["batches"])
    np.testing.assert_array_equal(states, golden["state"])
    np.testing.assert_array_equal(memory.ids, golden["final_buffer"])


class ByDefinition:
    """MinRed in plain loops: a similarity matrix of all, and the row with the largest maximum, again and again."""

    def __init__(self, size: int, random: Random) -> None:
        self.size, self.random = size, random
        self.features: dict[int, np.ndarray | None] = {}

    def take(self, ids: range) -> None:
        self.features |= dict.fromkeys(ids)
        count = len(self.features) - self.size
        if count <= 0:
            return
        seen = [frame for frame, value in self.features.items() if value is not None]
        if len(seen) < 2 * count:
            gone = list(self.features)[:count]
        else:
            x = np.array([self.features[frame] for frame in seen])
            similarity = (x @ x.T + 1) / 2
            np.fill_diagonal(similarity, -10)
            gone = []
            for _ in range(count):
                row = int(similarity.max(1).argmax())
                similarity[row] = similarity[:, row] = -10
                gone.append(seen[row])
        for frame in gone:
            del self.features[frame]

    def draw(self, batch: int) -> list[int]:
        held = list(self.features)
        return self.random.sample(held, batch) if batch < len(held) else self.random.choices(held, k=batch)

    def seen(self, ids: list[int], features: np.ndarray) -> None:
        for frame, feature in zip(ids, features / np.linalg.norm(features, axis=1, keepdims=True), strict=True):
            old = self.features[frame]
            mixed = feature if old is None else 0.5 * old + 0.5 * feature
            self.features[frame] = mixed / np.linalg.norm(mixed)


@pytest.mark.parametrize("batch", [30, 130])  # the second draws some frames twice
def test_minred_forgets_what_its_definition_says(batch):
    memory = MinRed(2000, 16, 100, batch, by_length(90), Random(3), taken=16)
    definition = ByDefinition(100, Random(3))
    generator = np.random.default_rng(0)
    definition.take(range(96))
    head = 96
    for _ in range(60):
        memory.advance()
        definition.take(range(head, head + 16))
        head += 16
        assert memory.ids.tolist() == sorted(definition.features)
        drawn = memory.draw().ids.tolist()
        assert drawn == definition.draw(batch)
        features = generator.standard_normal((batch, 24))
        memory.seen(np.array(drawn), torch.from_numpy(features.astype(np.float32)))
        definition.seen(drawn, features)
    assert memory.is_seen.sum() > 50


def test_of_frames_that_look_the_same_one_stays():
    memory = MinRed(1000, 10, 40, 40, by_length(90), Random(0), taken=10)
    memory.advance()
    places = [*range(20), *range(20)]
    memory.seen(memory.draw().ids, torch.eye(20)[places])
    memory.advance()
    assert memory.ids.tolist() == [*range(10, 50)]  # of each pair the earlier frame went


def test_minred_takes_a_step_at_a_time_and_a_batch_at_a_time_only_if_told():
    sizes = {"step_batch_size": 16, "replay_batch_size": 64, "long_buffer_size": 64}
    heads = {}
    for how in ("step", "batch"):
        memory = memory_of("minred", 2000, Sizes(**sizes, frames_per_step=how), by_length(90), **generators())
        for _ in range(3):
            memory.advance()
        heads[how] = memory.state_dict()["head"]
        assert memory.steps == 125
    assert heads == {"step": 64 + 2 * 16, "batch": 64 + 2 * 64}


def test_features_of_frames_that_are_not_held_or_not_finite_are_refused():
    memory = MinRed(1000, 10, 40, 10, by_length(90), Random(0), taken=10)
    memory.advance()
    with pytest.raises(ValueError, match="not held"):
        memory.seen(np.array([3, 40]), torch.ones(2, 4))
    with pytest.raises(TrainingError, match="not finite: lower --learning-rate"):
        memory.seen(np.array([3, 4]), torch.tensor([[1.0], [torch.nan]]))


def test_the_largest_classes_are_thinned_as_in_the_reference():
    options, golden = recorded("sampler_balanced")
    size, batch = options["buffer_size"], options["batch_size"]
    memory = Balanced(options["N"], 16, size, batch, by_length(options["class_length"]), Random(0), taken=batch)
    found = [drawn.ids for drawn in batches(memory)]
    np.testing.assert_array_equal(found, golden["batches"])
    np.testing.assert_array_equal(memory.ids, golden["final_buffer"])
    np.testing.assert_array_equal(np.unique(memory.labels, return_counts=True)[1], golden["final_class_counts"])


@pytest.mark.parametrize("done", [0, 1, 5])
def test_what_will_be_taken_is_known_ahead(done):
    """From the start, amid the stream, and to its end, after which nothing comes."""
    memory = Balanced(203, 16, 40, 8, by_length(50), Random(0), taken=16)
    for _ in range(done):
        memory.advance()
    expected = memory.intakes()
    for first, end in expected:
        change = memory.advance()
        assert set(change.arrived.tolist()) <= set(range(first, end))
    assert len(expected) == memory.steps - done
    firsts, ends = zip(*expected, strict=True)
    assert firsts[1:] == ends[:-1]
    assert (firsts[0], ends[-1]) == ((0, 48, 112)[(0, 1, 5).index(done)], 203)
