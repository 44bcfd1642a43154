"""Takes a few windows of a few clips, to check a precision on and to time a network."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from egotools.errors import EgotoolsError, first_line
from egotools.extraction.batching import check_rows
from egotools.extraction.forward import Network
from egotools.extraction.messages import Piece, ReadingTask, windows_of
from egotools.extraction.readers import Readers
from egotools.extraction.request import Agreement, CacheRequest
from egotools.sampling import spread
from egotools.types import Clip

SAME = 0.99999  # plain cosine of each row, between runtimes in float32
ENOUGH = 0.98  # centered cosine between precisions; trained networks have 0.993 to 0.998
GATE_ROWS = 8

Array = np.ndarray[Any, Any]
Together = Callable[[Array], int]


def alone(windows: Array) -> int:  # noqa: ARG001 - of all windows
    """One window at a time, so that large ones fit in memory."""
    return 1


def sample_windows(
    request: CacheRequest, clips: Sequence[Clip], *, most: int = GATE_ROWS, each: int = 2
) -> Array | None:
    """Different windows [N, L, ...] of prepared frames, `each` from at most `most` clips; None if no clip can be read.

    All have the same length, the longest: images among videos have shorter ones.
    """
    chosen = [clips[at] for at in spread(len(clips), most)]
    tasks = [ReadingTask(number, clip, (0,)) for number, clip in enumerate(chosen)]
    sources = [request.source] if request.source is not None else []
    found: dict[bytes, Array] = {}
    with Readers([request.extractor], count=1, piece_rows=each, sources=sources, sample=each) as readers:
        readers.give(tasks)
        for message in readers.messages():
            if isinstance(message, Piece) and len(message.rows):
                found.update((window.tobytes(), window) for window in windows_of(message))
    longest = max((len(window) for window in found.values()), default=0)
    windows = [window for window in found.values() if len(window) == longest]
    return np.stack(windows) if windows else None


def check_precision(
    request: CacheRequest, clips: Sequence[Clip], exact: Network, fast: Network, *, together: Together = alone
) -> Agreement | None:
    """Compares rows with those of float32 and PyTorch on at least eight different windows of the user's clips.

    If the clips have fewer, coarse noise makes up the number. `together` gives how many of the windows form a batch.

    Raises:
        EgotoolsError: the rows differ too much.
    """
    windows = sample_windows(request, clips, each=max(2, -(-GATE_ROWS // max(len(clips), 1))))
    if windows is None:
        return None
    if len(windows) < GATE_ROWS:
        windows = np.concatenate([windows, _noise(GATE_ROWS - len(windows), windows.shape[1:], windows.dtype)])
    count = together(windows)
    batches = [torch.from_numpy(windows[at : at + count]) for at in range(0, len(windows), count)]
    if request.precision == "float32":
        return compare_runtimes(exact, fast, batches, request.found.name, request.computing)
    return compare_precisions(exact, fast, batches, request.found.name, request.computing)


def _noise(count: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Windows of coarse blocks of random brightness (frames), or of noise (others); always the same."""
    generator = np.random.default_rng(0)
    if dtype != np.uint8:
        return generator.normal(scale=0.1, size=(count, *shape)).astype(dtype)
    if len(shape) < 4:  # not frames [L, H, W, 3]
        return generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    height, width = shape[-3], shape[-2]
    blocks = generator.integers(0, 256, (count, *shape[:-3], 8, 8, shape[-1]), dtype=np.uint8)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    return np.ascontiguousarray(blocks[..., rows, :, :][..., columns, :])


def without_bf16(name: str, error: RuntimeError) -> EgotoolsError:
    """The error for a network that runs in float32 but not in bf16, because an operation lacks a bf16 kernel."""
    return EgotoolsError(f"{name}: cannot be computed in bf16 here ({first_line(error)}); use --precision float32")


def compare_runtimes(
    exact: Network, other: Network, batches: Sequence[Tensor], name: str, computing: str = "OpenVINO float32"
) -> Agreement:
    """Compares another runtime with PyTorch, both in float32, on real windows.

    Raises:
        EgotoolsError: the plain cosine of a row is not above 0.99999.
    """
    expected, rows = (_rows(run, batches, name) for run in (exact, other))
    found = Agreement.between(expected, rows, computing)
    if not found.lowest > SAME:  # also refuses NaN
        raise EgotoolsError(
            f"{name}: {computing} rows differ from PyTorch's in float32 (cosine {found.lowest:.6f} of one of "
            f"{found.rows} rows, not above {SAME}); use --runtime torch"
        )
    return found


def compare_precisions(
    exact: Network, fast: Network, batches: Sequence[Tensor], name: str, computing: str = "bf16"
) -> Agreement:
    """Compares a lower precision with float32 on real windows before a cache is computed with it.

    Raises:
        EgotoolsError: the centered cosine is below 0.98, rows are not finite, or an operation has no such precision.
    """
    expected = _rows(exact, batches, name)
    try:
        rows = _rows(fast, batches, name)
    except RuntimeError as error:
        raise without_bf16(name, error) from error
    found = Agreement.between(expected, rows, computing)
    if not found.centered >= ENOUGH:  # also refuses NaN
        raise EgotoolsError(
            f"{name}: {computing} rows differ from float32 ones (cosine {found.plain:.5f}, "
            f"centered {found.centered:.4f} below {ENOUGH} on {found.rows} rows); use --precision float32"
        )
    return found


def _rows(run: Network, batches: Sequence[Tensor], name: str) -> Array:
    """Rows [N, D] of all batches, of those networks, too, that give several a window."""
    found = []
    for batch in batches:
        values = run(batch)
        check_rows(name, values.shape, len(batch))
        found.append(values.flatten(0, -2).cpu().numpy())
    return np.concatenate(found)
