"""Batches of windows of many clips: every row comes back to its own clip, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from egotools.errors import EgotoolsError, ExtractorError
from egotools.extraction.batching import Batcher
from egotools.extraction.messages import Piece, windows_of
from egotools.extraction.precision import compare_precisions
from egotools.extraction.request import Agreement, Extraction
from egotools.types import Clip


def piece_of(clip, values, windows=None):
    """A piece of units [U, 1] with these values, as windows of one unit each unless said."""
    count = len(values) if windows is None else len(windows)
    times = np.stack([np.arange(count) + 100.0 * clip, np.arange(count) + 100.0 * clip + 1], axis=1)
    units = np.asarray(values, np.float32).reshape(-1, 1)
    return Piece(clip, 0, 0, count, np.arange(count), times, units, windows)


def doubled(seen):
    """A network that gives the sum of a window, twice; it notes the size of each batch."""

    def run(batch):
        seen.append(len(batch))
        return batch.flatten(1).sum(dim=1, keepdim=True) * 2

    return run


def rows_of(pieces):
    """By clip, (row, start, value) of everything that came out."""
    found = {}
    for piece in pieces:
        assert piece.is_computed
        assert piece.windows is None
        own = zip(piece.rows.tolist(), piece.times[:, 0].tolist(), piece.units[:, 0].tolist(), strict=True)
        found.setdefault(piece.clip, []).extend(own)
    return found


@given(lengths=some.lists(some.integers(1, 9), max_size=8), size=some.integers(1, 7))
def test_every_row_comes_back_to_its_clip_in_order_from_full_batches(lengths, size):
    seen = []
    batcher, found = Batcher("x", doubled(seen), size), []
    for clip, length in enumerate(lengths):
        found += batcher.add(piece_of(clip, [10 * clip + at for at in range(length)]))
    found += batcher.flush()
    assert rows_of(found) == {
        clip: [(at, 100.0 * clip + at, 2.0 * (10 * clip + at)) for at in range(length)]
        for clip, length in enumerate(lengths)
    }
    assert seen == [size] * (sum(lengths) // size) + ([sum(lengths) % size] if sum(lengths) % size else [])
    assert list(batcher.flush()) == []


def test_a_result_is_fetched_when_the_next_batch_runs():
    seen = []
    batcher = Batcher("x", doubled(seen), 2)
    assert list(batcher.add(piece_of(0, [1, 2]))) == []
    assert seen == [2]
    assert rows_of(batcher.add(piece_of(1, [3, 4]))) == {0: [(0, 0.0, 2.0), (1, 1.0, 4.0)]}
    assert rows_of(batcher.flush()) == {1: [(0, 100.0, 6.0), (1, 101.0, 8.0)]}


def test_windows_of_another_length_begin_a_new_batch():
    seen = []
    batcher = Batcher("x", doubled(seen), 10)
    found = list(batcher.add(piece_of(0, [1, 2, 3], np.array([[0, 1], [1, 2]]))))
    found += batcher.add(piece_of(1, [5], np.array([[0]])))
    found += batcher.flush()
    assert seen == [2, 1]
    assert rows_of(found) == {0: [(0, 0.0, 6.0), (1, 1.0, 10.0)], 1: [(0, 100.0, 10.0)]}


@pytest.mark.parametrize(("most", "sizes"), [(None, [4]), (8, [4]), (5, [2, 2]), (1, [1, 1, 1, 1])])
def test_long_windows_make_smaller_batches_of_one_at_least(most, sizes):
    seen = []
    batcher = Batcher("x", doubled(seen), 4, most_frames=most)
    windows = np.array([[0, 1], [1, 2], [2, 0], [0, 0]])
    found = [*batcher.add(piece_of(0, [1, 2, 4], windows)), *batcher.flush()]
    assert seen == sizes
    assert [value for _, _, value in rows_of(found)[0]] == [6.0, 12.0, 10.0, 4.0]


def test_a_network_may_give_several_rows_a_window_with_its_times():
    batcher = Batcher("x", lambda batch: torch.stack([batch[:, 0], batch[:, 0] + 0.5], 1).float()[..., None], 2)
    found = [*batcher.add(piece_of(0, [10, 20, 30])), *batcher.flush()]
    assert [piece.total for piece in found] == [6, 6]
    assert np.concatenate([piece.rows for piece in found]).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.concatenate([piece.units for piece in found])[:, 0].tolist() == [10, 10.5, 20, 20.5, 30, 30.5]
    starts = np.concatenate([piece.times for piece in found])[:, 0]
    assert starts[0::2].tolist() == starts[1::2].tolist()


@pytest.mark.parametrize("result", [torch.zeros(3), torch.zeros(2, 1), torch.zeros(3, 1, 1, 1)])
def test_a_network_that_gives_no_row_a_window_is_refused(result):
    batcher = Batcher("mine", lambda batch: result, 3)
    with pytest.raises(ExtractorError, match=r"mine: its network gives .* for 3 windows, not \[B, D\]"):
        for _ in (*batcher.add(piece_of(0, [1, 2, 3])), *batcher.flush()):
            pass


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AssertionError("wrong size"), r"mine: its network refuses windows \(2, 1\): wrong size"),
        (torch.OutOfMemoryError("too much"), "mine: 2 windows per batch do not fit in memory; lower --batch-size"),
    ],
)
def test_a_network_that_cannot_take_a_batch_is_one_line(error, said):
    def run(batch):
        raise error

    with pytest.raises(ExtractorError, match=said):
        list(Batcher("mine", run, 2).add(piece_of(0, [1, 2])))


def test_windows_gather_their_units_and_a_part_of_them_is_a_part():
    piece = piece_of(0, [1, 2, 3], np.array([[2, 0], [1, 1], [0, 2]]))
    assert windows_of(piece).squeeze(-1).tolist() == [[3, 1], [2, 2], [1, 3]]
    assert windows_of(piece, 1, 2).squeeze(-1).tolist() == [[2, 2]]
    assert windows_of(piece_of(0, [1, 2, 3]), 1).tolist() == [[2], [3]]


def test_agreement_is_the_mean_cosine_with_and_without_the_mean_row(rng):
    exact = rng.normal(5, 1, (9, 4))
    other = (exact + rng.normal(0, 0.3, exact.shape)).astype(np.float32)

    def cosines(one, two):
        return [a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in zip(one, two, strict=True)]

    found = Agreement.between(exact, other)
    assert found.rows == 9
    assert found.plain == pytest.approx(np.mean(cosines(exact, other.astype(float))))
    assert found.centered == pytest.approx(np.mean(cosines(exact - exact.mean(0), other - other.mean(0))), rel=1e-5)
    assert found.centered < found.plain
    turned = Agreement.between(other, exact)
    assert (turned.plain, turned.centered) == pytest.approx((found.plain, found.centered))
    scaled = Agreement.between(exact, 7 * exact)
    assert (scaled.plain, scaled.centered) == pytest.approx((1, 1))
    nothing = Agreement.between(np.zeros((3, 2)), np.ones((3, 2)))
    assert (nothing.plain, nothing.centered) == (0, 0)


def test_a_precision_is_accepted_by_what_it_does_to_the_differences_between_rows(rng):
    windows = [torch.from_numpy(rng.normal(100, 1, (1, 6))) for _ in range(8)]
    noise = [torch.from_numpy(rng.normal(0, 1, (1, 6))) for _ in range(8)]

    def off_by(scale):
        rest = iter(noise)
        return lambda batch: batch + scale * next(rest)

    assert compare_precisions(lambda batch: batch, off_by(0.05), windows, "x").centered > 0.99
    with pytest.raises(EgotoolsError, match=r"^x: bf16 rows differ .*centered 0\.\d+.* on 8 rows.*float32"):
        compare_precisions(lambda batch: batch, off_by(1.0), windows, "x")  # plain cosine is above 0.999
    with pytest.raises(EgotoolsError, match="bf16 rows differ"):
        compare_precisions(lambda batch: batch, lambda batch: batch * np.nan, windows, "x")

    def lacking(batch):
        raise RuntimeError("no kernel for bf16\nand more")

    with pytest.raises(EgotoolsError, match=r"^x: cannot be computed in bf16 here \(no kernel for bf16\)"):
        compare_precisions(lambda batch: batch, lacking, windows, "x")


def test_an_extraction_is_complete_without_failures_and_changes(tmp_path):
    clip = Clip("a", tmp_path)
    assert Extraction().is_complete
    assert Extraction(done={tmp_path: 1}, failed={tmp_path: []}, changed={tmp_path: []}).is_complete
    assert not Extraction(failed={tmp_path: [(clip, "gone")]}).is_complete
    assert not Extraction(changed={tmp_path: ["a"]}).is_complete
