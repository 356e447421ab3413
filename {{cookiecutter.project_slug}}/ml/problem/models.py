"""The ladder: from knowing only the base rate to a neural network, simplest first.

Every rung is an unfitted scikit-learn estimator with `predict_proba`, fitted on a frame that holds the number
features first (float32, NaN where missing) and the category features after them (text, "" where missing).
Columns are named by place, so that the whole rung exports as one ONNX graph.
"""

from lightgbm import LGBMClassifier
from sklearn.base import ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from ml.features.table import CATEGORIES, NAMES, NUMBERS
from ml.models.network import EmbeddingNetwork
from ml.models.skew import Skewed
from ml.models.space import Real, Space, Whole

FEW = ["carrier", "origin", "dest", "aircraft_model"]  # categories that a column each can hold

# What `ml tune` may change, by rung; what it found stands in tuned.toml.
SPACES: dict[str, Space] = {
    "logistic": {"logisticregression__C": Real(1e-4, 10.0, log=True)},
    "lightgbm": {
        "lgbmclassifier__n_estimators": Whole(20, 400, log=True),
        "lgbmclassifier__learning_rate": Real(0.01, 0.1, log=True),
        "lgbmclassifier__num_leaves": Whole(3, 31, log=True),
        "lgbmclassifier__min_child_samples": Whole(50, 2000, log=True),
        "lgbmclassifier__reg_lambda": Real(0.1, 1000.0, log=True),
        "lgbmclassifier__colsample_bytree": Real(0.2, 1.0),
    },
    "network": {
        "estimator__embedding": Whole(2, 16, log=True),
        "estimator__hidden": Whole(8, 64, log=True),
        "estimator__dropout": Real(0.0, 0.5),
        "estimator__weight_decay": Real(1e-4, 10.0, log=True),
        "estimator__learning_rate": Real(1e-4, 1e-2, log=True),
    },
}


def places(names: list[str]) -> list[int]:
    """Return where features stand in the model's input."""
    return [NAMES.index(name) for name in names]


def ladder(seed: int, threads: int) -> dict[str, ClassifierMixin]:
    """Return the rungs by name, simplest first."""
    numbers = places([feature.name for feature in NUMBERS])
    categories = places([feature.name for feature in CATEGORIES])
    folds = StratifiedKFold()  # rows come in the order of days: other rows of a day never encode its categories
    linear = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("few", OneHotEncoder(handle_unknown="ignore", sparse_output=False), places(FEW)),
            ("many", TargetEncoder(cv=folds), places(["tailnum"])),
        ]
    )
    trees = ColumnTransformer(
        [("numbers", "passthrough", numbers), ("categories", TargetEncoder(cv=folds), categories)]
    )
    boosting = LGBMClassifier(
        n_estimators=100,
        learning_rate=0.03,
        num_leaves=7,
        min_child_samples=500,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.6,
        reg_lambda=10.0,
        random_state=seed,
        n_jobs=threads,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )
    network = EmbeddingNetwork(tuple(numbers), tuple(categories), seed=seed, threads=threads)
    return {
        "constant": DummyClassifier(strategy="prior"),
        "logistic": make_pipeline(linear, LogisticRegression(C=0.1, solver="newton-cholesky", tol=1e-9)),
        "lightgbm": make_pipeline(trees, boosting),
        "network": Skewed(network, keep=0.5, seed=seed),  # half the negatives, half the time
    }
