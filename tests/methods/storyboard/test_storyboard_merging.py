"""Classes that look alike are merged as in the reference, and after an interruption as without one."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from fill import normal
from streams import Engine, generator, recorded, through_a_file

from egotools.errors import TrainingError
from egotools.methods.storyboard import merging
from egotools.methods.storyboard.labels import Window, by_length
from egotools.methods.storyboard.memories import Reservoir
from egotools.methods.storyboard.merging import Merging


def by_number(ids: np.ndarray) -> np.ndarray:
    """Images that say which frame they are."""
    return ids.astype(np.uint8)


def of_labels(counts: dict[int, int]) -> Reservoir:
    """A memory of all frames of a stream: label l has counts[l] consecutive ones."""
    frames = sum(counts.values())
    memory = Reservoir(frames, frames, frames, 1, by_length(1), Random(0), generator(), fill=frames)
    memory.advance()
    memory.relabel(slice(None), np.repeat([*counts], [*counts.values()]))
    return memory


@pytest.mark.parametrize("together", [1024, 40])
def test_one_merging_is_the_references(together, monkeypatch):
    monkeypatch.setattr(merging, "TOGETHER", together)
    case, golden = recorded("merge_unit")
    counts = {
        0: 12,
        1: 5,
        2: 32,
        3: 7,
        5: 9,
        6: 20,
        7: 3,
        8: 15,
        9: 2,
        11: 30,
        12: 8,
        13: 14,
        14: 1,
        15: 25,
        17: 6,
        18: 10,
    }
    memory = of_labels(counts)
    features = normal("input/centers", (5, 20))[memory.labels % 5] + np.float32(0.7) * normal("input/emb", (199, 20))
    found = Merging(memory, Random(0), merge_from=case["warmup"], threshold=case["merge_threshold"])
    found.merged = case["merged_classes"]
    found.mapping = {int(label): target for label, target in case["label_mapping_before"].items()}
    window = Window(12, case["shortmem_base_label"], np.array(case["change_points_frame_id"]))
    merged = found.update(window, by_number, lambda images: features[images])
    assert merged is not None
    assert merged.classes == len(golden["similarity"])
    assert merged.level == pytest.approx(golden["quantile_level"])
    assert merged.threshold == pytest.approx(golden["threshold"], abs=1e-6)
    assert sorted(found.mapping.items()) == [tuple(row) for row in golden["label_mapping"].tolist()]
    assert found.merged == golden["merged_classes_after"]


def test_the_labels_of_a_whole_stream_with_merging_are_the_references_wherever_it_is_interrupted():
    case, golden = recorded("engine_merging")
    engine = Engine(case, merge_from=case["warmup"])
    found = []
    for step in range(engine.memory.steps):
        found.append(engine.step())
        if step % 23 == 0:
            resumed = Engine(case, merge_from=case["warmup"])
            for name, part in engine.parts().items():
                resumed.parts()[name].load_state_dict(through_a_file(part.state_dict()))
            for name in ("steps", "events", "thresholds", "merges"):
                setattr(resumed, name, getattr(engine, name))
            engine = resumed
    np.testing.assert_array_equal([drawn.ids for drawn in found], golden["batch_frame_ids"])
    np.testing.assert_array_equal([drawn.labels for drawn in found], golden["batch_labels"])
    assert engine.events == [row[row >= 0].tolist() for row in golden["events"]]
    np.testing.assert_allclose(engine.thresholds, golden["thresholds"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(engine.merges, golden["merges"])
    for tier, name in ((engine.memory.short, "final_short_labels"), (engine.memory.long, "final_long_labels")):
        np.testing.assert_array_equal(tier.labels, golden[name][tier.ids])


def test_images_are_read_once_of_frames_that_are_held_and_stay_when_their_class_has_left():
    case, _ = recorded("engine_merging")
    engine = Engine(case, merge_from=case["warmup"])
    assert engine.merging is not None
    for _ in range(engine.memory.steps):
        engine.images_read.clear()
        engine.step()
        assert len({*engine.images_read}) == len(engine.images_read)
        assert {*engine.images_read} <= {*engine.memory.long.ids.tolist()}
    kept = {frame for each in engine.merging.prototypes.values() for frame in each.ids.tolist()}
    assert kept - {*engine.memory.long.ids.tolist()}
    assert max(len(each.ids) for each in engine.merging.prototypes.values()) == 32


def test_classes_before_the_first_window_are_left_alone_and_those_in_it_found_by_its_segments():
    """The reference counts from class 0 here, and relabels other frames."""
    memory = of_labels({0: 20, 1: 20, 2: 20, 3: 20})
    features = np.eye(4)[[*[0] * 20, *[3] * 20, *[0] * 10, *[1] * 10, *[2] * 20]]
    memory.relabel(slice(50, 60), 3)  # the window has found that class 2 ends at frame 50
    found = Merging(memory, Random(0), merge_from=0, threshold=0.25)
    merged = found.update(Window(2, 4, np.array([40, 50, 60])), by_number, lambda images: features[images])
    assert merged is not None
    assert merged.merges == [(2, 0)]
    assert memory.labels.tolist() == [*[0] * 20, *[1] * 20, *[0] * 10, *[3] * 30]


def test_nothing_happens_before_its_class_has_come_or_without_a_class_that_is_over():
    memory = of_labels({0: 10, 1: 10})
    found = Merging(memory, Random(0), merge_from=2, threshold=0.01)
    for window in (Window(0, 2, np.array([0, 5, 9])), Window(3, 3, np.array([15]))):
        assert found.update(window, pytest.fail, pytest.fail) is None
        assert found.merged == window.last


def test_features_that_are_not_finite_and_a_wrong_threshold_are_named():
    memory = of_labels({0: 10, 1: 10})
    found = Merging(memory, Random(0), merge_from=0, threshold=0.01)
    features = np.repeat([[1.0], [np.nan]], 10, axis=0)
    with pytest.raises(TrainingError, match="features of class 1 are not finite"):
        found.update(Window(0, 1, np.array([0, 10])), by_number, lambda images: features[images])
    with pytest.raises(ValueError, match="--merge-threshold"):
        Merging(memory, Random(0), merge_from=0, threshold=0.5)
