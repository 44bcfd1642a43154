"""The text tower of models of Transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import make_model, make_tokenizer

from egotools.errors import ExtractorError
from egotools.extractors.hf.checkpoints import checkpoint
from egotools.extractors.hf.text import text_rows


def test_texts_are_told_apart_by_the_tokenizer_beside_the_model_and_refused_without_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The library makes a tokenizer without words where there is none: all texts would be the same row."""
    found = checkpoint(str(make_model(tmp_path / "clip", "clip")))
    with pytest.raises(ExtractorError, match="clip: has no tokenizer"):
        text_rows(found, "DEFAULT", ["cup"])
    make_tokenizer(found.folder)
    cup, bicycle = text_rows(found, "DEFAULT", ["cup", "bicycle"])
    assert not np.allclose(cup, bicycle)
    capfd.readouterr()
    with pytest.raises(ExtractorError, match="has 41 tokens; hf:clip reads 16; shorten it"):
        text_rows(found, "DEFAULT", ["cup" * 13])
    assert capfd.readouterr().err == ""
