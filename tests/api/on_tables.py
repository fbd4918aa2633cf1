"""scikit-learn's own checks, which make tables, on an encoder of sequences."""

import numpy as np

from amr_jax.sklearn import SkeletonEncoder

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
