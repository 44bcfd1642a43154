"""Regressors that a trained network has to beat; nothing of them is kept. Axes: N clips, D features."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Baseline = Literal["ridge", "svr"]
Floats = npt.NDArray[np.floating[Any]]

STRENGTHS = np.logspace(0, 5, 11)  # of ridge; the one of the smallest leave-one-out error is taken


def predict_baseline(kind: Baseline, values: Floats, target: Floats, judged: Floats) -> npt.NDArray[np.float64]:
    """Fits standardized features [N, D] to targets [N]; what it predicts of others [M, D], [M].

    Ridge chooses its strength on the training clips, one left out at a time; the support vector machine has an RBF
    kernel and scikit-learn's defaults.
    """
    if kind == "ridge":
        from sklearn.linear_model import RidgeCV

        model = RidgeCV(alphas=STRENGTHS)
    else:
        from sklearn.svm import SVR

        model = SVR()
    return np.asarray(model.fit(values, target).predict(judged), np.float64)
