"""Fits the sample's model: a scikit-learn featurizer and a Linear Learner regressor, each in its own artefact.

`python -m batch_inference.samples.abalone.fit --out DIR` writes featurizer.tar.gz and linear-learner.tar.gz. The
featurizer is pickled by the scikit-learn that runs this script: for AWS's image run it there, or with that image's
version.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from batch_inference.samples.abalone.data import AbaloneRecords, draw_records
from batch_inference.samples.abalone.featurizer import inference
from batch_inference.samples.abalone.linear_learner import build_model_archive, build_tar_gz

FEATURIZER = "featurizer.tar.gz"
LINEAR_LEARNER = "linear-learner.tar.gz"
ROWS = 20_000
SEED = 7  # differs from the seed of the sample input


def fit_featurizer(data: pd.DataFrame) -> Any:
    """Fit median imputation and scaling of the numbers, and one-hot encoding of the sex (most frequent if missing)."""
    return ColumnTransformer(
        [
            (
                "numbers",
                make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
                list(inference.NUMERIC),
            ),
            (
                "sex",
                make_pipeline(
                    SimpleImputer(strategy="most_frequent", missing_values=None),
                    OneHotEncoder(categories=[["F", "I", "M"]], handle_unknown="ignore"),
                ),
                ["sex"],
            ),
        ],
        sparse_threshold=0.0,
    ).fit(data)


def to_frame(data: AbaloneRecords) -> pd.DataFrame:
    columns = {"sex": pd.Series(data.sex.tolist(), dtype=object)}
    columns.update(zip(inference.NUMERIC, data.numbers.T, strict=True))
    return pd.DataFrame(columns)


def write_models(out: Path, rows: int = ROWS, seed: int = SEED) -> tuple[Path, Path]:
    """Fit both models on clean generated data and write their artefacts below `out`; returns the two paths."""
    data = draw_records(rows, np.random.default_rng(seed))
    table = to_frame(data)
    featurizer = fit_featurizer(table)
    # The three one-hot columns and the bias are collinear; ridge regularization resolves it.
    model = Ridge(alpha=1.0).fit(inference.predict_fn(table, featurizer), data.rings)
    pickled = io.BytesIO()
    joblib.dump(featurizer, pickled)
    code = Path(inference.__file__).read_bytes()
    artefacts = {
        FEATURIZER: build_tar_gz({inference.ARTEFACT: pickled.getvalue(), "code/inference.py": code}),
        LINEAR_LEARNER: build_model_archive(model.coef_, float(model.intercept_)),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, content in artefacts.items():
        (out / name).write_bytes(content)
    return out / FEATURIZER, out / LINEAR_LEARNER


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory for the two model.tar.gz files")
    write_models(parser.parse_args().out)


if __name__ == "__main__":
    main()
