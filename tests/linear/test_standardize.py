"""Standardization: the same numbers as its definition, constant features, and types."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from egotools.linear import standardize
from egotools.linear.standardize import Standardization, fit_standardization

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_standardized_rows_have_mean_zero_and_deviation_one(rng, dtype):
    values = torch.from_numpy(rng.normal(5, 3, (50, 4)).astype(np.float32))
    fitted = fit_standardization(values, dtype)
    assert fitted.mean.dtype == fitted.deviation.dtype == dtype
    np.testing.assert_allclose(fitted.mean, values.double().mean(0), rtol=1e-6)
    np.testing.assert_allclose(fitted.deviation, values.double().std(0, correction=0), rtol=1e-6)
    standard = fitted(values)
    assert standard.dtype == torch.float32
    np.testing.assert_allclose(standard.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(0, correction=0), 1, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_feature_that_was_constant_is_0_for_all_rows(dtype):
    values = torch.tensor([[0.1, 0.0, 1.0], [0.1, 0.0, 2.0], [0.1, 0.0, 3.0]])
    fitted = fit_standardization(values, dtype)
    assert fitted.deviation.isinf().tolist() == [True, True, False]
    assert not fitted(torch.tensor([[9.0, 9.0, 2.0]])).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_alone_is_no_deviation(dtype):
    """Means of equal windows differ in their last bit."""
    value = np.float32(1000.1)
    values = torch.tensor([[value], [np.nextafter(value, np.float32(2000))]])
    assert fit_standardization(values, dtype).deviation.isinf().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_of_rows_in_place_or_not_give_the_same_bits(rng, monkeypatch, dtype):
    values = torch.from_numpy(rng.normal(5, 3, (50, 4)).astype(np.float32))
    fitted = fit_standardization(values, dtype)
    expected = ((values - fitted.mean) / fitted.deviation).float()
    monkeypatch.setattr(standardize, "ROWS", 7)
    assert torch.equal(fitted(values), expected)
    assert fitted(values, in_place=True) is values
    assert torch.equal(values, expected)
    assert fitted(values[:0]).shape == (0, 4)


def test_mean_0_and_deviation_1_change_no_bit(rng):
    values = torch.from_numpy(rng.normal(5, 3, (9, 4)).astype(np.float32))
    whole = Standardization(torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    assert torch.equal(whole(values), values)
