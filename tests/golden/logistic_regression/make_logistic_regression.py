#!/usr/bin/env python3
"""Makes cases.json: features with labels, and what scikit-learn's LogisticRegression makes of them.

    make_logistic_regression.py

Made with scikit-learn 1.9.1, numpy 2.4.6.
"""

import json
import pathlib

import numpy as np
from sklearn.linear_model import LogisticRegression

HERE = pathlib.Path(__file__).parent


def case(rows, dim, classes, c, spread, seed):
    random = np.random.default_rng(seed)
    centres = random.normal(0, 1, (classes, dim))
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, rows - classes)])
    features = (centres[labels] + random.normal(0, spread, (rows, dim))).round(3).astype(np.float32)
    model = LogisticRegression(C=c, tol=1e-10, max_iter=100_000).fit(features, labels)
    probes = random.normal(0, 1.5, (5, dim)).round(3).astype(np.float32)
    return {"classes": classes, "c": c, "labels": labels.tolist(), "features": features.astype(float).round(3).tolist(),
            "weights": model.coef_.round(6).tolist(), "probes": probes.astype(float).round(3).tolist(),
            "probabilities": model.predict_proba(probes).round(6).tolist()}


cases = [case(60, 6, 3, 1.0, 1.0, 1), case(40, 12, 4, 0.316, 0.5, 2), case(90, 3, 5, 50.0, 2.0, 3), case(12, 20, 6, 10.0, 0.3, 4)]
(HERE / "cases.json").write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n", encoding="utf-8")
