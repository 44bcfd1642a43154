"""Networks that PyTorch compiles give the rows of the network, or say in one line why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import write_video
from extracted import ODD, assert_same_rows, rows_of, want
from torch import Tensor, nn

from egotools.errors import EgotoolsError
from egotools.extraction import compiled
from egotools.extraction.compiled import Compiled, forget_compiled
from egotools.extraction.engine import extract
from egotools.extraction.forward import Network, runnable
from egotools.extraction.networks import network_of
from egotools.extraction.recipes import recipe_of
from egotools.extraction.request import Resources, check_runtime
from egotools.stores import open_store
from egotools.types import Clip

CPU = torch.device("cpu")
FULL = 4


class Tiny(nn.Module):
    """From frames [B, L, 16, 16, 3] to rows [B, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, windows: Tensor) -> Tensor:
        x = windows[:, 0].permute(0, 3, 1, 2).float() / 255
        rows: Tensor = self.linear(torch.relu(self.convolution(x)).mean((2, 3)))
        return rows


class Branching(Tiny):
    def forward(self, windows: Tensor) -> Tensor:
        return super().forward(windows) if windows.float().mean().item() > 100 else windows.flatten(1).float()


def windows_of(count: int, length: int = 1) -> Tensor:
    shape = (count, length, 16, 16, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(count))


def compiled_network(network: nn.Module) -> Network:
    return runnable(network, CPU, "float32", call=lambda ready: Compiled("tiny", ready, lambda _: FULL))


@pytest.fixture(autouse=True, scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels are made in a folder of the tests, and freed afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        yield
    forget_compiled()


@pytest.fixture(scope="module")
def tiny(kernels: None) -> tuple[Tiny, Network, Tensor]:
    """A network, itself compiled for full batches, and the rows of a full batch that the network gives."""
    torch.manual_seed(0)
    network = Tiny().eval()
    with torch.no_grad():
        rows = network(windows_of(FULL))
    run = compiled_network(network)
    run(windows_of(FULL))
    return network, run, rows


@pytest.mark.integration  # compiles: twenty seconds
def test_a_compiled_network_gives_the_rows_of_the_network(tiny):
    _, run, rows = tiny
    torch.testing.assert_close(run(windows_of(FULL)), rows, rtol=1e-4, atol=1e-5)


@pytest.mark.integration
def test_a_smaller_batch_is_filled_up_instead_of_compiled_anew(tiny):
    _, run, rows = tiny
    with torch.compiler.set_stance("fail_on_recompile"):
        torch.testing.assert_close(run(windows_of(FULL)[:3]), rows[:3], rtol=1e-4, atol=1e-5)


@pytest.mark.integration
def test_weights_are_laid_out_once(tiny):
    network, run, rows = tiny
    with torch.no_grad():
        network.linear.bias.add_(1)
    torch.testing.assert_close(run(windows_of(FULL)), rows, rtol=1e-4, atol=1e-5)


@pytest.mark.integration
def test_windows_of_too_many_lengths_are_refused(tiny, monkeypatch):
    monkeypatch.setattr(compiled, "MOST_SHAPES", 1)
    with pytest.raises(EgotoolsError, match=r"tiny: its windows have more than 1 lengths.*--runtime torch"):
        tiny[1](windows_of(FULL, length=2))


def test_a_network_that_cannot_be_compiled_is_refused_in_one_line():
    with pytest.raises(EgotoolsError, match=r"tiny: cannot be compiled here .*; use --runtime torch") as caught:
        compiled_network(Branching())(windows_of(FULL))
    assert "\n" not in str(caught.value)


def test_without_a_compiler_the_message_says_what_to_install():
    from torch._inductor import config

    with config.patch({"cpp.cxx": (None, "nonesuch")}), pytest.raises(EgotoolsError, match=r"no nonesuch.*install"):
        compiled_network(Tiny())


def test_compiling_is_for_the_cpu(tmp_path):
    with pytest.raises(ValueError, match="--runtime compile computes on the CPU, not with --device cuda"):
        check_runtime("compile", "float32", "cuda")
    wanted = replace(want(tmp_path, "Backwards"), runtime="compile")
    with pytest.raises(EgotoolsError, match="--runtime compile is for the CPU; give --device cpu"):
        network_of(wanted, torch.device("cuda"))


def test_a_cache_may_be_resumed_without_compiling(tmp_path):
    wanted = want(tmp_path, "Backwards")
    one, other = recipe_of(wanted), recipe_of(replace(wanted, runtime="compile"))
    assert one.identity == other.identity
    assert ("runtime" in one.origin, other.origin["runtime"]) == (False, "compile")


@pytest.mark.integration
def test_compiled_rows_are_checked_on_the_users_windows_and_stored(tmp_path):
    for name, frames in (("a", 20), ("b", 7)):
        write_video(tmp_path / f"{name}.mp4", frames, first=ord(name))
    clips = [Clip(name, tmp_path / f"{name}.mp4") for name in "ab"]
    plain = want(tmp_path / "plain", "Backwards")
    wanted = replace(want(tmp_path / "compiled", "Backwards"), runtime="compile")
    stages: list[str] = []
    extract(clips, [plain], resources=Resources("cpu", 8, 1))
    result = extract(clips, [wanted], resources=Resources("cpu", 8, 1), progress=lambda stage, *_: stages.append(stage))
    assert stages[0] == f"compiling {ODD}:Backwards (once; about half a minute)"
    assert result.agreement[wanted.cache].computing == "compiled float32"
    assert result.agreement[wanted.cache].lowest > 0.99999
    assert_same_rows(rows_of(plain), rows_of(wanted))
    assert open_store(Path(wanted.cache)).recipe.origin["runtime"] == "compile"
