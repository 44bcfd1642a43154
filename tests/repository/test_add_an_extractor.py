"""The extractors that docs/add-an-extractor.md shows work as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from shown_files import shown_files
from torchvision.models import resnet18
from typing_commands import typed

from egotools.errors import WeightsError
from egotools.extractors.lookup import find_extractor
from egotools.stores import open_store

PAGE = Path(__file__).parents[2] / "docs/add-an-extractor.md"
FILES = shown_files(PAGE)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder in which somebody has saved the files of the page."""
    monkeypatch.chdir(tmp_path)
    for name, code in FILES.items():
        Path(name).write_text(code)
    return tmp_path


def test_every_python_block_of_the_page_is_a_file():
    assert list(FILES) == ["brightness.py", "tool.py", "loudness.py"]
    assert PAGE.read_text().count("```python") == len(FILES)


@pytest.mark.usefixtures("tiny_video")
def test_the_first_extractor_runs_by_the_command_of_the_page(reader, monkeypatch):
    line = re.search(r"^egotools (extract .* brightness\.py:.*)$", PAGE.read_text(), re.MULTILINE)
    assert line is not None
    for words in ("manifest folder . --out m.csv", line[1]):
        assert typed(monkeypatch, *shlex.split(words)) == 0
    rows = open_store("caches/mine/brightness.lmdb")["tiny"]
    frames = [20 + 3 * index for index in (2, 7, 12, 17)]  # grey levels in the middle of each half second
    assert rows.values[:, 0] * 255 == pytest.approx(frames, abs=8)  # a small bright square moves over the grey


@pytest.mark.usefixtures("reader")
def test_the_network_gives_what_its_backbone_gives(rng):
    backbone = resnet18().eval()
    torch.save(backbone.state_dict(), "resnet18.pth")
    extractor = find_extractor("tool.py:Tool").kind()
    frames = extractor.prepare(rng.integers(0, 256, (48, 64, 3), np.uint8))[None, None]
    normalized = (torch.tensor(frames[:, 0] / 255) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    backbone.fc = torch.nn.Identity()
    with torch.inference_mode():
        expected = backbone(normalized.permute(0, 3, 1, 2).float())
        assert torch.allclose(extractor.network().eval()(torch.tensor(frames)), expected, rtol=1e-4, atol=1e-5)
    digest = extractor.weights_digest()
    torch.save(resnet18().state_dict(), "resnet18.pth")
    assert extractor.weights_digest() != digest


@pytest.mark.usefixtures("reader")
def test_weights_that_do_not_exist_are_refused():
    kind = find_extractor("tool.py:Tool").kind
    with pytest.raises(WeightsError, match="no such weights file"):
        kind().weights_digest()
    with pytest.raises(WeightsError, match="not a weights file"):
        kind(weights="DEFAULT").network()


@pytest.mark.usefixtures("reader")
def test_loudness_is_the_root_mean_square():
    samples = np.array([[0.5, -0.5, 0.5, -0.5], [0, 0, 0, 1]], np.float32)
    loudness = find_extractor("loudness.py:Loudness").kind().network()(samples)
    assert loudness.tolist() == [[0.5], [0.5]]
