"""Training on a stream resumes to the same bits anywhere in it, finds segments, and says what cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_video
from PIL import Image
from storyboard_networks import narrow

from egotools.errors import TrainingError
from egotools.methods.storyboard.held import Drawn
from egotools.methods.storyboard.labels import Window
from egotools.methods.storyboard.learners import Learner
from egotools.methods.storyboard.minred import MinRed
from egotools.methods.storyboard.options import StoryboardOptions
from egotools.methods.storyboard.run import default_labels, new_learner, remarks_on
from egotools.methods.storyboard.segments import found_segments
from egotools.methods.storyboard.stream import Stream, stream_of
from egotools.methods.storyboard.training import Trained, learn
from egotools.stores.store import Recipe
from egotools.training.how import How
from egotools.training.runs import Run
from egotools.types import Clip, IntArray

TINY: dict[str, Any] = {
    "method": "simclr",
    "depth": "18",
    "crop_size": 16,
    "step_batch_size": 4,
    "curr_batch_size": 2,
    "replay_batch_size": 2,
    "short_buffer_size": 8,
    "long_buffer_size": 16,
    "subsample": 2,
    "class_length": 6,
}
OFTEN = How(log_every=1, save_every=0.0)


@pytest.fixture(autouse=True)
def _narrow_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """44 frames of two H.264 videos."""
    folder = tmp_path_factory.mktemp("stream")
    names = {"a": 24, "b": 20}
    return stream_of([Clip(name, write_video(folder / f"{name}.mp4", count)) for name, count in names.items()])


def trained(
    stream: Stream, run: Path | None = None, stop: int = -1, accumulate: int = 1, skips: bool = False, **more: Any
) -> tuple[Learner, Trained]:
    options = StoryboardOptions(**{**TINY, **more})
    default, classes = default_labels(options, stream, None)
    learner = new_learner(options, classes, 1)

    def interrupt(stage: str, done: float, total: int | None = None, rows: int | None = None) -> None:
        if done == stop:
            raise KeyboardInterrupt

    kept = None if run is None else Run(run, Recipe({}))
    torch.manual_seed(1)
    how = replace(OFTEN, accumulate=accumulate)
    asked: dict[str, Any] = {"run": kept, "how": how, "progress": interrupt, "skip_unreadable": skips}
    return learner, learn(learner, stream, options, default=default, seed=1, **asked)


@pytest.mark.parametrize(
    "more",
    [
        {"merge_from": 0, "merge_threshold": 0.1},
        {"memory": "minred", "num_grads": 2, "long_buffer_size": 8},
        {"memory": "minred", "accumulate": 2, "long_buffer_size": 8},
        {"memory": "balanced", "long_buffer_size": 8},
        {"memory": "iid"},
    ],
    ids=["merging", "minred", "accumulated", "balanced", "iid"],
)
def test_a_training_interrupted_amid_the_stream_resumes_to_the_same_bits(stream, tmp_path, more):
    whole, found = trained(stream, tmp_path / "whole", **more)
    with pytest.raises(KeyboardInterrupt):
        trained(stream, tmp_path / "parts", stop=7 // more.get("accumulate", 1), **more)
    resumed, again = trained(stream, tmp_path / "parts", **more)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    assert found.mapping == again.mapping
    assert found_segments(stream, found.windows, {}) == found_segments(stream, again.windows, {})
    assert found.steps == again.steps == 44 // 4 * more.get("num_grads", 1) // more.get("accumulate", 1)


def test_segments_follow_each_other_and_are_classes_in_order(stream):
    _, found = trained(stream)
    segments = found_segments(stream, found.windows, {3: 1})
    assert [each.label for each in segments if each.id == "a"][:4] == ["0", "1", "2", "1"]
    assert segments[0].start == 0.0
    by_clip = [[each for each in segments if each.id == name] for name in ("a", "b")]
    for own in by_clip:
        assert [each.end for each in own[:-1]] == [each.start for each in own[1:]]
    assert by_clip[0][-1].end == pytest.approx(2.4)
    assert by_clip[1][0].start == 0.0


@pytest.mark.parametrize("accumulate", [1, 2])
def test_minred_is_told_the_features_of_every_batch(stream, monkeypatch, accumulate):
    told: list[list[int]] = []
    drawn: list[list[int]] = []
    seen, draw = MinRed.seen, MinRed.draw

    def told_of(memory: MinRed, ids: IntArray, features: torch.Tensor) -> None:
        told.append(ids.tolist())
        seen(memory, ids, features)

    def drawn_of(memory: MinRed) -> Drawn:
        drawn.append((found := draw(memory)).ids.tolist())
        return found

    monkeypatch.setattr(MinRed, "seen", told_of)
    monkeypatch.setattr(MinRed, "draw", drawn_of)
    trained(stream, memory="minred", long_buffer_size=8, accumulate=accumulate)
    assert told == drawn
    assert len(told) == 11 - 11 % accumulate


def test_presets_serve_for_the_papers_other_rows():
    """Without segments nothing is merged, whatever the preset says."""
    for preset in ("saycam", "krishnacam"):
        own = StoryboardOptions(**StoryboardOptions.presets[preset])
        assert own.merges
        for more in ({"memory": "reservoir"}, {"memory": "minred"}, {"tc_loss_coef": 0.0}, {"method": "osiris"}):
            other = replace(own, **more)
            assert not other.merges
            assert remarks_on(other, {}) == ["--merge-from has no effect: no segments are found"]


def test_an_evaluation_leaves_the_training_as_it_was(stream):
    options = StoryboardOptions(**TINY)
    default, classes = default_labels(options, stream, None)
    states = []
    for evaluation in (None, lambda learner: {"ok": float(learner.eval().training)}):
        learner = new_learner(options, classes, 1)

        def restoring(one: Learner, wanted: Any = evaluation) -> dict[str, Any]:
            figures: dict[str, Any] = wanted(one)
            one.train()
            return figures

        torch.manual_seed(1)
        given = None if evaluation is None else restoring
        learn(learner, stream, options, default=default, seed=1, evaluation=given, eval_every=2)
        states.append(learner.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"long_buffer_size": 45}, "the stream has 44 frames, fewer than --long-buffer-size 45"),
        ({"short_buffer_size": 23}, "too few for --short-buffer-size 23 with --subsample 2"),
        ({"class_length": 45}, "--class-length 45 is longer than the stream, 44 frames"),
        ({"class_length": 1}, "raise --class-length"),
    ],
)
def test_a_stream_that_is_too_short_is_refused_in_words(stream, more, said):
    with pytest.raises(TrainingError, match=said):
        trained(stream, **more)


def test_features_that_are_not_finite_are_refused_with_the_frame(stream):
    options = StoryboardOptions(**TINY)
    default, classes = default_labels(options, stream, None)
    learner = new_learner(options, classes, 1)
    real = learner.backbone.forward
    learner.backbone.forward = lambda images: real(images) * float("nan")  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="frame 0 of the stream are not finite"):
        learn(learner, stream, options, default=default, seed=1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"method": None}, "--method is needed"),
        ({"class_length": None}, "--class-length is needed"),
        ({"memory": "reservoir", "tc_curr_coef": 1.0}, "--tc-curr-coef .* needs --memory two-tier"),
        ({"memory": "fifo", "method": "osiris"}, "it needs --memory two-tier"),
        ({"memory": "none", "method": "tc"}, "needs a memory"),
        ({"flip": 2.0}, "--flip"),
        ({"scale_min": 0.9, "scale_max": 0.5}, "--scale-min"),
        ({"step_batch_size": 0}, "--step-batch-size must be above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_flag(more, said):
    with pytest.raises(ValueError, match=said):
        StoryboardOptions(**{**TINY, **more})


def test_frames_that_cannot_be_read_end_the_training_or_are_left_out_and_counted(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(44):
        Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8)).save(folder / f"{number:06}.png")
    for number in (9, 20, 21):
        (folder / f"{number:06}.png").write_bytes(b"no picture")
    stream = stream_of([Clip("f", folder, fps=10.0)])
    merging = {"merge_from": 0, "merge_threshold": 0.1}
    with pytest.raises(TrainingError, match=r"000009\.png"):
        trained(stream, **merging)
    whole, found = trained(stream, tmp_path / "whole", skips=True, **merging)
    assert {*found.unreadable} <= {9, 20, 21}
    assert 20 in found.unreadable
    with pytest.raises(KeyboardInterrupt):
        trained(stream, tmp_path / "parts", stop=7, skips=True, **merging)
    resumed, again = trained(stream, tmp_path / "parts", skips=True, **merging)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    assert found.unreadable == again.unreadable


def test_black_frames_are_trained_on(tmp_path):
    """Two views of nothing are alike; their features are of norm 0 or not, never NaN."""
    np.save(tmp_path / "black.npy", np.zeros((44, 24, 32, 3), np.uint8))
    stream = stream_of([Clip("black", tmp_path / "black.npy", fps=10.0)])
    learner, found = trained(stream)
    assert found.steps == 11
    assert all(bool(value.isfinite().all()) for value in learner.state_dict().values())


def test_segments_are_what_the_frames_were_labeled_last(stream):
    """A window's last segment begins before or after the next window, whose first segment it is."""
    windows = [
        Window(0, 2, np.array([0, 5, 9])),
        Window(2, 4, np.array([12, 15, 16])),
        Window(4, 5, np.array([14, 20])),
    ]
    labels = np.zeros(24, int)
    for window in windows:
        for label, start in zip(range(window.first, window.last + 1), window.starts.tolist(), strict=True):
            labels[start:] = label
    segments = found_segments(stream, windows, {})
    assert [(each.label, round(each.start * 10), round(each.end * 10)) for each in segments] == [
        ("0", 0, 5),
        ("1", 5, 9),
        ("2", 9, 14),
        ("4", 14, 20),
    ]
    for each in segments:
        assert (labels[round(each.start * 10) : round(each.end * 10)] == int(each.label)).all()
