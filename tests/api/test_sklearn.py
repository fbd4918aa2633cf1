"""The estimators of scikit-learn: its own checks, pipelines, pickles."""

import pickle
import sys

import numpy as np
import pytest

import amr_jax as amr
from amr_jax import api
from tests import tiny_models
from tests.api.test_api import TINY, clips

sklearn = pytest.importorskip("sklearn", reason="the extra `sklearn` is not installed")
from sklearn.base import clone  # noqa: E402
from sklearn.dummy import DummyClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils import estimator_checks  # noqa: E402

from amr_jax.sklearn import SkeletonClassifier, SkeletonEncoder  # noqa: E402

TABLE = "scikit-learn words this error for tables with columns; ours says what a sequence is"
EXPECTED = {
    "check_n_features_in": "sequences have no columns to count",
    "check_n_features_in_after_fitting": "sequences have no columns to count",
    "check_transformer_general": "sequences have no columns to count",
    "check_fit1d": TABLE,
    "check_fit2d_predict1d": TABLE,
    "check_estimators_empty_data_messages": TABLE,
    "check_complex_data": TABLE,
    "check_estimator_sparse_array": TABLE,
    "check_estimator_sparse_matrix": TABLE,
    "check_estimator_sparse_tag": TABLE,
    "check_estimators_nan_inf": "a pretrained encoder does not look at what it is fitted on",
    "check_transformer_preserve_dtypes": "features are float32, whatever the input",
}


class OnTables(SkeletonEncoder):
    """The encoder on tables (n, columns): each row becomes a sequence of 5 frames."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags

    def fit(self, X, y=None):
        return super().fit(self._sequences(X), y)

    def transform(self, X):
        return super().transform(self._sequences(X))

    @staticmethod
    def _sequences(X):
        X = np.asarray(X, np.float32)
        values = np.resize(X.T, (60, len(X))).T.reshape(-1, 1, 20, 3)
        return np.arange(1, 6)[:, None, None] * (values + 0.1)


@pytest.fixture
def tiny(monkeypatch):
    """One tiny encoder under every name, so that its programs are compiled once."""
    model = amr.TrainedModel(tiny_models.make(None), "tiny")
    monkeypatch.setattr(api, "load", lambda name: model)
    return model


@pytest.mark.filterwarnings("ignore")
def test_the_checks_of_scikit_learn(tiny):
    rows = estimator_checks.check_estimator(
        OnTables(pretrained="tiny"), on_fail=None, on_skip=None, expected_failed_checks=EXPECTED
    )
    failed = {row["check_name"]: row["exception"] for row in rows if row["status"] == "failed"}
    assert not failed
    assert sum(row["status"] == "passed" for row in rows) > 30
    assert sum(row["status"] == "xfail" for row in rows) == len(EXPECTED)


@pytest.mark.parametrize("kind", [SkeletonEncoder, SkeletonClassifier])
def test_parameters_are_those_of_the_constructor(kind):
    made = kind("mamp", layout="ntu_25", settings={"epochs": 3}, pretrained="x", verbose=True)
    assert clone(made).get_params() == made.get_params()
    assert made.set_params(channels="xy").channels == "xy"
    with pytest.raises(sklearn.exceptions.NotFittedError):
        (made.transform if kind is SkeletonEncoder else made.predict)(clips(1))
    # Data of three to five dimensions: of its checks scikit-learn runs those without data.
    with pytest.warns(sklearn.exceptions.SkipTestWarning):
        estimator_checks.check_estimator(kind())


def test_an_encoder_in_a_pipeline_and_in_a_pickle(tiny):
    x, y = clips(9), np.arange(9) % 3
    line = make_pipeline(SkeletonEncoder(pretrained="tiny", readout="joint"), DummyClassifier())
    assert line.fit(x, y).predict(x).shape == (9,)
    encoder = line[0]
    assert len(encoder.get_feature_names_out()) == encoder.transform(x).shape[1] == 160
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(x[:2]), encoder.transform(x[:2]))


def test_a_classifier_trains_encoder_and_head(capsys):
    x, y = clips(24), np.array(["sit", "stand", "wave"])[np.arange(24) % 3]
    made = SkeletonClassifier(
        layout="kinect_20", settings=TINY, protocol_settings={"epochs": 20, "features": "cached"}
    )
    assert made.fit(x, y).score(x, y) == 1
    assert capsys.readouterr().out == ""
    assert made.classes_.tolist() == ["sit", "stand", "wave"]
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.predict_proba(x[:2]), made.predict_proba(x[:2]))
    with pytest.raises(amr.UserError, match="requires y"):
        made.fit(x, None)


def test_scikit_learn_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "amr_jax.sklearn")
    with pytest.raises(amr.UserError, match=r"pip install 'amr_jax\[sklearn\]'"):
        import amr_jax.sklearn  # noqa: F401
