"""The ladder for a few hundred rows of numbers: base rate, logistic regression, a small gradient boosting."""

from lightgbm import LGBMClassifier
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.models.space import Real, Space

SPACES: dict[str, Space] = {"logistic": {"logisticregression__C": Real(1e-3, 10.0, log=True)}}


def ladder(seed: int, threads: int) -> dict[str, ClassifierMixin]:
    """Return the rungs by name, simplest first."""
    boosting = LGBMClassifier(
        n_estimators=60,
        learning_rate=0.1,
        num_leaves=5,
        min_child_samples=10,
        random_state=seed,
        n_jobs=threads,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )
    linear = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(C=0.3, max_iter=300))
    return {"constant": DummyClassifier(strategy="prior"), "logistic": linear, "lightgbm": boosting}
