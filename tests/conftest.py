"""Fixtures that every test may use: a tiny video whose frames say their own number, real data where present."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from faults import Starter
    from rebuilt import Contents
    from typing_commands import Installed
    from whole import Whole

# On a loaded machine making an example may take seconds; that is no mistake of a test.
settings.register_profile("loaded", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loaded")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; a stranger's clone has none."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout")
    return SHARED


@pytest.fixture(autouse=True)
def _same_randomness() -> Iterator[None]:
    """Every test draws the same from NumPy's and torch's global states, which are as they were after it."""
    import torch

    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    np.random.set_state(numpy_state)
    torch.set_rng_state(torch_state)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def decoded_count(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list of one number: how many frames videos have decoded since."""
    import egotools.media.video

    count = [0]
    real = egotools.media.video.decoded

    def counting(*arguments: Any, **options: Any) -> Iterator[Any]:
        for frame in real(*arguments, **options):
            count[0] += 1
            yield frame

    monkeypatch.setattr(egotools.media.video, "decoded", counting)
    return count


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    if torch.cuda.is_available() or os.environ.get("EGOTOOLS_REQUIRE_GPU"):
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def write_video(
    path: Path, frames: int = 20, *, fps: int = 10, size: tuple[int, int] = (48, 64), first: int = 0
) -> Path:
    """An H.264 video of grey frames with a moving bright square; frame k has the mean brightness of `first` + k."""
    height, width = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            image = np.full((height, width, 3), 20 + 3 * ((first + index) % 70), np.uint8)
            column = 2 * index % (width - 8)
            image[8:16, column : column + 8] = (250, 40, 40)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture
def tiny_video(tmp_path: Path) -> Path:
    """20 frames of 48x64 pixels at 10 Hz."""
    return write_video(tmp_path / "tiny.mp4")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Installed:
    """Runs the installed command in this process: exit status, stdout and stderr of `installed("cache", "ls", ...)`."""
    from typing_commands import typed

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        status, said = typed(monkeypatch, *words), capsys.readouterr()
        return subprocess.CompletedProcess(words, status, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def starter() -> Iterator[Starter]:
    """Starts commands within milliseconds, so that they can be killed by the dozen."""
    from faults import Starter

    with Starter() as starter:
        yield starter


@pytest.fixture(scope="session")
def extracted(starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What `egotools extract` makes of a few videos when nothing disturbs it."""
    from whole import extracted

    return extracted(starter, tmp_path_factory.mktemp("extracted"))


@pytest.fixture(scope="module")
def narrow_memdpc() -> Iterator[None]:
    """New 2D3D ResNets have few channels: those of the published ones cost seconds in drawing and in checkpoints."""
    from memdpc_files import make_narrow

    with pytest.MonkeyPatch.context() as patch:
        make_narrow(patch)
        yield


# What the tests of rebuild share: three clips, and caches of them whose rows were drawn.


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of `a.mp4`, `b.mp4` and `c.mp4`."""
    from planted import write_videos

    return write_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def manifest(videos: Path, tmp_path: Path) -> Path:
    """Clips `a`, `b` and `c`, whose files may be changed."""
    from planted import manifest_of

    return manifest_of(videos, tmp_path)


@pytest.fixture
def color(manifest: Path, tmp_path: Path) -> Path:
    """A cache of all three clips."""
    from planted import plant, want

    return plant(want(tmp_path / "caches/color.lmdb", "color"), manifest)


@pytest.fixture(scope="module")
def truth(videos: Path) -> Contents:
    """What an extraction of `color` gives."""
    from rebuilt import truth_of

    return truth_of(videos)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """Of every extraction of a rebuild: how many clips it computed for each cache."""
    from rebuilt import watch

    return watch(monkeypatch)
