"""What runs a network computes what the network computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision import models

from egotools.errors import EgotoolsError, ExtractorError
from egotools.extraction import forward
from egotools.extraction.forward import fold_batch_norms, runnable
from egotools.extraction.precision import compare_precisions, compare_runtimes
from egotools.extraction.request import Agreement
from egotools.machine import choose_device, has_fast_bf16
from egotools.pixels.preprocessing import Normalize

CPU = torch.device("cpu")


def seeded(build):
    """A network whose batch-norms do something, as trained ones do."""
    torch.manual_seed(0)
    network = build()
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


def norms_of(network):
    return sum(isinstance(module, _BatchNorm) for module in network.modules())


def timm_network(name):
    timm = pytest.importorskip("timm")
    return timm.create_model(name, pretrained=False, num_classes=0)


def assert_computes_the_same(build, shape):
    """Compares a network as it is run with itself as it was built; returns the former."""
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = seeded(build)(batch)
    network = seeded(build)
    found = runnable(network, CPU, "float32")(batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    return network


WHOLE = [
    (lambda: models.resnet18(num_classes=10), (2, 3, 64, 64)),
    (lambda: models.video.r2plus1d_18(num_classes=10), (1, 3, 4, 32, 32)),
    (lambda: timm_network("tf_efficientnet_lite0"), (2, 3, 64, 64)),  # Conv2dSame and BatchNormAct2d
    (lambda: timm_network("repvgg_a0"), (2, 3, 64, 64)),  # branches, and batch-norms without a convolution
]


@pytest.mark.parametrize(("build", "shape"), WHOLE)
def test_a_network_that_is_folded_and_laid_out_anew_computes_the_same(build, shape):
    network = assert_computes_the_same(build, shape)
    assert norms_of(network) < norms_of(build())


@pytest.mark.parametrize(
    "build", [WHOLE[0][0], WHOLE[1][0], WHOLE[2][0]], ids=["resnet18", "r2plus1d_18", "efficientnet-lite0"]
)
def test_no_batch_norm_is_left_where_each_follows_a_convolution(build):
    network = seeded(build)
    count = norms_of(network)
    assert fold_batch_norms(network) == count > 0
    assert norms_of(network) == 0


class Standardized(nn.Conv2d):
    """Its weights are not those that it multiplies with."""

    def forward(self, x):
        centered = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, centered / centered.std((1, 2, 3), keepdim=True), self.bias)


class Squashing(nn.BatchNorm2d):
    def forward(self, x):
        return torch.sigmoid(super().forward(x))


class Branching(nn.Module):
    """The convolution's output is used beside the batch-norm too."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.convolution(x)
        return self.norm(x) + x


class Weighing(Branching):
    def forward(self, x):
        return self.norm(self.convolution(x)) + self.convolution.weight.sum()


class Deciding(Branching):
    """Cannot be traced: its way depends on the values."""

    def forward(self, x):
        x = self.norm(self.convolution(x))
        return x if x.mean() > 0 else -x


class LookingUp(Branching):
    """Cannot be traced either, and says so in its own way."""

    def forward(self, x):
        return {2: 1.0}[x.shape[0]] * self.norm(self.convolution(x))


def twice_the_same_norm():
    norm = nn.BatchNorm2d(4)
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Conv2d(4, 4, 3), norm)


def weight_normalized():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Sequential(Standardized(3, 4, 3), nn.BatchNorm2d(4)),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Squashing(4)),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4)),
        Branching,
        Weighing,
        Deciding,
        LookingUp,
        twice_the_same_norm,
        weight_normalized,
    ],
)
def test_what_cannot_be_folded_is_left_as_it_is(build):
    network = assert_computes_the_same(build, (2, 3, 12, 12))
    assert norms_of(network) == norms_of(build())


def test_a_layer_that_something_listens_to_stays():
    network = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    heard = []
    network[1].register_forward_hook(lambda module, given, result: heard.append(result))
    runnable(network, CPU, "float32")(torch.randn(1, 3, 8, 8))
    assert len(heard) == 1


def test_convolutions_of_shared_weights_are_folded_apart():
    def build():
        first, second = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
        second.weight = first.weight
        return nn.Sequential(first, nn.BatchNorm2d(3), second, nn.BatchNorm2d(3, affine=False))

    assert norms_of(assert_computes_the_same(build, (2, 3, 12, 12))) == 0


def framewise(network):
    return sum(isinstance(module, forward.FramewiseConv) for module in network.modules())


@pytest.mark.parametrize(
    ("convolution", "count"),
    [
        (lambda: nn.Conv3d(3, 4, (1, 3, 5), stride=(1, 2, 1), padding=(0, 1, 2), bias=False), 1),
        (lambda: nn.Conv3d(4, 4, (1, 3, 3), dilation=(1, 2, 2), groups=2), 1),
        (lambda: nn.Conv3d(3, 4, (1, 3, 3), stride=(2, 1, 1)), 0),
        (lambda: nn.Conv3d(3, 4, (1, 3, 3), padding=(1, 1, 1)), 0),
        (lambda: nn.Conv3d(3, 4, (1, 3, 3), padding="same"), 0),
        (lambda: nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1), padding_mode="replicate"), 0),
        (lambda: nn.Conv3d(3, 4, (3, 1, 1)), 0),
        (lambda: nn.Conv3d(3, 4, 1), 1),
        (lambda: nn.Conv3d(3, 4, 1, stride=(1, 2, 2)), 1),
        (lambda: nn.Conv3d(3, 4, 1, stride=2), 0),
    ],
)
def test_a_convolution_within_frames_runs_frame_by_frame(convolution, count):
    channels = convolution().in_channels
    network = assert_computes_the_same(lambda: nn.Sequential(convolution()), (2, channels, 5, 9, 8))
    assert framewise(network) == count


def test_a_row_does_not_depend_on_the_others_of_its_batch():
    run = runnable(seeded(WHOLE[0][0]), CPU, "float32")
    batch = torch.randn(5, 3, 64, 64)
    whole = run(batch)
    alone = torch.cat([run(batch[at : at + 1]) for at in range(5)])
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-4)


def test_nothing_is_left_to_train_and_dropout_is_off():
    network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9))
    run = runnable(network.train(), CPU, "float32")
    batch = torch.randn(3, 4)
    assert torch.equal(run(batch), run(batch))
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not run(batch).requires_grad


def as_bf16(monkeypatch):
    """Lets machines without the hardware emulate it: slow, and the same numbers."""
    monkeypatch.setattr(forward, "has_fast_bf16", lambda device: True)


class Seeing(nn.Module):
    def __init__(self):
        super().__init__()
        self.normalize = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.network = models.resnet18(num_classes=64)

    def forward(self, pixels):
        return self.network(self.normalize(pixels))


def test_bf16_agrees_with_float32(monkeypatch, rng):
    as_bf16(monkeypatch)
    coarse = rng.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    batch = torch.from_numpy(coarse)
    exact, fast = runnable(seeded(Seeing), CPU, "float32"), runnable(seeded(Seeing), CPU, "bf16")
    assert fast(batch).dtype == torch.float32
    assert not torch.equal(fast(batch), exact(batch))
    found = compare_precisions(exact, fast, [batch[:5], batch[5:]], "resnet18")
    assert found.plain > 0.999
    assert found.rows == 8


def test_bf16_where_the_machine_only_emulates_it_is_refused(monkeypatch):
    monkeypatch.setattr(forward, "has_fast_bf16", lambda device: False)
    with pytest.raises(
        EgotoolsError, match=r"--precision bf16: this cpu does not compute bf16 in hardware; use float32"
    ):
        runnable(nn.Linear(2, 2), CPU, "bf16")


def test_the_question_for_bf16_has_an_answer_here():
    assert has_fast_bf16(CPU) in (True, False)


@pytest.mark.parametrize(
    "spoil", [lambda x: x.flip(0), lambda x: x * float("nan"), lambda x: torch.zeros_like(x), lambda x: x.round()]
)
def test_rows_that_differ_are_refused_with_the_numbers(spoil):
    def exact(batch):
        return batch

    batches = [torch.rand(4, 6, generator=torch.Generator().manual_seed(at)) for at in range(2)]
    with pytest.raises(EgotoolsError, match=r"mine: bf16 rows differ .* on 8 rows\); use --precision float32"):
        compare_precisions(exact, spoil, batches, "mine")


def test_agreement_is_the_mean_cosine_of_rows_plain_and_centered(rng):
    exact = rng.normal(3, 1, (9, 5))
    other = exact + rng.normal(0, 0.1, (9, 5))

    def mean_cosine(a, b):
        return np.mean([x @ y / (x @ x * (y @ y)) ** 0.5 for x, y in zip(a, b, strict=True)])

    found = Agreement.between(exact.astype(np.float32), other.astype(np.float32))
    assert found.plain == pytest.approx(mean_cosine(exact, other), rel=1e-6)
    assert found.centered == pytest.approx(mean_cosine(exact - exact.mean(0), other - other.mean(0)), rel=1e-5)
    assert found.centered < found.plain


@pytest.mark.filterwarnings("ignore")  # CUDA builds warn of missing drivers
@pytest.mark.parametrize("name", ["cuda:99", "quantum", "", "cpu:x"])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(EgotoolsError, match=rf"--device {name}: not available on this machine") as error:
        choose_device(name)
    assert "\n" not in str(error.value)


def test_the_automatic_device_is_the_gpu_where_there_is_one():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == CPU


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_gpu_gives_the_rows_of_the_cpu(precision):
    batch = torch.randint(0, 256, (8, 64, 64, 3), dtype=torch.uint8)
    exact = runnable(seeded(Seeing), CPU, "float32")
    fast = runnable(seeded(Seeing), torch.device("cuda"), precision)
    found = Agreement.between(exact(batch).numpy(), fast(batch).cpu().numpy())
    assert found.plain > (0.99999 if precision == "float32" else 0.99)


class OwnFloats(nn.Module):
    """A user's network, which makes its own floats of the bytes that it is given."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 5)

    def forward(self, windows):
        return self.layer(windows.float() / 255)


@pytest.mark.skipif(not has_fast_bf16(CPU), reason="this processor has no bf16")
def test_a_network_that_makes_its_own_floats_runs_in_bf16_too():
    torch.manual_seed(0)
    batch = torch.randint(0, 256, (9, 6), dtype=torch.uint8)
    network = OwnFloats()
    exact, fast = runnable(network, CPU, "float32")(batch), runnable(network, CPU, "bf16")(batch)
    assert fast.dtype == torch.float32
    assert not torch.equal(exact, fast)
    assert Agreement.between(exact.numpy(), fast.numpy()).plain > 0.999


def test_a_network_that_gives_no_rows_is_refused():
    with pytest.raises(ExtractorError, match="gives a tuple, not a tensor"):
        runnable(lambda x: (x, x), CPU, "float32")(torch.ones(2, 3))
    with pytest.raises(ExtractorError, match=r"mine: its network gives \(2,\) for 2 windows, not \[B, D\]"):
        compare_runtimes(lambda x: x[:, 0], lambda x: x, [torch.ones(2, 3)], "mine")


def test_rows_of_zeros_agree():
    rows = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 1.0]])
    assert Agreement.between(rows, rows + 1e-9 * rows).lowest > 0.99999
    assert Agreement.between(rows, np.where(rows == 2, np.nan, rows)).lowest != 1
