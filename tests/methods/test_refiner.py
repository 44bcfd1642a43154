"""Refiners from files: of runs, and of published checkpoints."""

from __future__ import annotations

from pathlib import Path

import assembly
import fill
import numpy as np
import pytest
import torch

from egotools.errors import EgotoolsError
from egotools.methods.two_stream.refiner import RefinerFacts, read_refiner, write_refiner
from egotools.nn.view_invariance import Refiner
from egotools.stores import Recipe
from egotools.training.runs import Run

FACTS = RefinerFacts(16, 2, 4, 32, 0.0, "none", "view-invariance", "e4", "v3")


def published(folder: Path, prefix: str = "", name: str = "ssl_vic_epoch-250.model") -> Path:
    shapes = assembly.golden("ssl_our_method_small")[0]["state_dict"]["refiner"]
    torch.save({prefix + key: value for key, value in fill.state_dict(shapes).items()}, folder / name)
    return folder / name


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_published_checkpoint_refines_as_the_reference(tmp_path, prefix):
    refiner, facts = read_refiner(str(published(tmp_path, prefix)))
    assert facts == RefinerFacts(64, 6, 32, 2048, 0.1, "batch")
    arrays, x = assembly.golden("ssl_our_method_small")[1], fill.input_of("src", 3, 20, 64)
    for item, count in enumerate((20, 13, 7)):
        x[item, count:] = 0
    with torch.no_grad():
        np.testing.assert_allclose(refiner(x, "batch"), arrays["refined_src"], rtol=2e-4, atol=2e-4)


def test_a_run_gives_its_refiner_back_and_that_of_its_best_epoch(tmp_path):
    run, refiner = Run.begin(tmp_path / "run", Recipe({"method": "two-stream"})), Refiner(16, 2, 4, 32, 0.0)
    write_refiner(run, refiner, FACTS, {name: value + 1 for name, value in refiner.state_dict().items()})
    found, facts = read_refiner(f"run:{run.path}")
    best, _ = read_refiner(f"run:{run.path}#best")
    assert facts == FACTS
    for name, value in refiner.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
        assert torch.equal(best.state_dict()[name], value + 1)


def test_distillation_refines_all_views_but_the_one_that_it_imitates():
    facts = RefinerFacts(16, 2, 4, 32, objective="sync-kd", student="e4", teacher="v3")
    assert [facts.refines(view) for view in ("e4", "v3", "v4")] == [False, True, True]
    assert FACTS.refines("e4")


def test_what_is_no_refiner_is_refused_in_one_line(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save({"layers.0.linear1.weight": torch.zeros(8, 16)}, tmp_path / "half.pth")
    (tmp_path / "text.model").write_text("hello")
    run = Run.begin(tmp_path / "run", Recipe({"method": "pca"}))
    for source, said in (
        (tmp_path / "absent.model", "no such file"),
        (tmp_path / "other.pth", "contains no refiner, whose parameters are .* it has 'conv1.weight'"),
        (tmp_path / "half.pth", "16 features cannot be shared among 32 attention heads"),
        (tmp_path / "text.model", "not readable as weights|other things than tensors"),
        (f"run:{run.path}", "has no refiner.safetensors: it is no run of 'egotools train two-stream'"),
        (f"run:{run.path}#first", "not #first"),
        (f"run:{tmp_path / 'nowhere'}", "is no run"),
    ):
        with pytest.raises(EgotoolsError, match=said):
            read_refiner(str(source))
    with pytest.raises(EgotoolsError, match="11 missing such as"):
        read_refiner(str(tmp_path / "half.pth"), heads=4)
    write_refiner(run, Refiner(16, 2, 4, 32, 0.0), FACTS)
    for old, new, said in (('"none"', '"sideways"', "attention_axis"), ('"width": 16', '"width": "16"', "width")):
        text = (run.path / "refiner.json").read_text()
        (run.path / "refiner.json").write_text(text.replace(old, new))
        with pytest.raises(EgotoolsError, match=f"refiner.json cannot be read: .*{said}"):
            read_refiner(f"run:{run.path}")
        (run.path / "refiner.json").write_text(text)
