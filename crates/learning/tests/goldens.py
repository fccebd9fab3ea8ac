#!/usr/bin/env python3
"""Makes goldens.json: fits of scikit-learn and intervals of SciPy for the tests of this crate.

    pip install scikit-learn==1.9.1 scipy numpy
    python goldens.py

Scikit-learn fits with its Newton solver until nothing changes, so that its rest of an error is far below 1e-6.
"""
import json
from pathlib import Path

import numpy as np
from scipy.stats import binom, binomtest
from sklearn.linear_model import LogisticRegression

rng = np.random.default_rng(19)


def fit(rows, features, labels, c, balanced):
    x = rng.normal(size=(rows, features)).round(6)
    gold = rng.integers(0, labels, size=rows)
    x[np.arange(rows), gold % features] += 1.5
    counts = np.bincount(gold, minlength=labels)
    weights = (rows / labels / counts[gold]) if balanced else np.ones(rows)
    model = LogisticRegression(C=c, solver="newton-cg", tol=1e-12, max_iter=10_000)
    model.fit(x, gold, sample_weight=weights)
    coefficients, intercept = model.coef_, model.intercept_
    if labels == 2:
        # Scikit-learn fits one function w for two labels, where two functions -w/2 and w/2 have half its penalty.
        model.set_params(C=2 * c).fit(x, gold, sample_weight=weights)
        coefficients = np.vstack([-model.coef_ / 2, model.coef_ / 2])
        intercept = np.array([-model.intercept_[0] / 2, model.intercept_[0] / 2])
    return {
        "features": x.tolist(),
        "gold": gold.tolist(),
        "weights": weights.tolist(),
        "c": c,
        "coefficients": coefficients.tolist(),
        "intercept": (intercept - intercept.mean()).tolist(),
        "probabilities": model.predict_proba(x).tolist(),
    }


fits = [
    fit(30, 5, 3, 1.0, False),
    fit(60, 8, 4, 10.0, True),
    fit(12, 20, 5, 100.0, False),
    fit(40, 6, 2, 1.0, True),
]
intervals = []
for right, rows, confidence in [(93, 100, 0.95), (57, 60, 0.95), (0, 50, 0.95), (20, 20, 0.9), (811, 1000, 0.99), (1, 3, 0.95)]:
    low, high = binomtest(right, rows).proportion_ci(confidence, "exact")
    intervals.append({"right": right, "rows": rows, "confidence": confidence, "low": low, "high": high})
# The most wrong automatic rows that prove the promise, or -1.
allowed = []
for rows in (20, 50, 100, 200, 400, 1000):
    for epsilon in (0.02, 0.05, 0.1, 0.2):
        for delta in (0.05, 0.1):
            proven = binom.cdf(np.arange(rows), rows, epsilon) <= delta
            allowed.append({"rows": rows, "epsilon": epsilon, "delta": delta, "wrong": int(proven.sum()) - 1})

path = Path(__file__).with_name("goldens.json")
path.write_text(json.dumps({"fits": fits, "intervals": intervals, "allowed": allowed}) + "\n")
