"""Estimators of scikit-learn on skeleton sequences; needs the extra `sklearn`.

    make_pipeline(SkeletonEncoder(pretrained="amr-nwucla-small"), LogisticRegression())
    SkeletonClassifier("amr", layout="kinect_20", settings={"epochs": 50}).fit(x, y).predict(x)

Inputs are arrays (n, T, V, C) or (n, T, M, V, C), or lists of sequences of any length.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from amr_jax import api
from amr_jax.errors import UserError
from amr_jax.run import console

try:
    from sklearn import base
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise UserError(
        "scikit-learn is not installed; expected the extra: pip install 'amr_jax[sklearn]'"
    ) from error


class _Skeletons(base.BaseEstimator):
    """What both estimators share."""

    def _pretrain(self, data: api.Data) -> api.Run:
        return api.pretrain(self.method, data, **(self.settings or {}))

    def _said(self) -> contextlib.AbstractContextManager:
        if self.verbose:
            return contextlib.nullcontext()
        return console.silence()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags


class SkeletonEncoder(base.ClassNamePrefixFeaturesOutMixin, base.TransformerMixin, _Skeletons):
    """Sequences → features (n, F) of an encoder that was trained without labels.

    Args:
      method, settings: see `api.pretrain`; `settings` are its keywords.
      layout, channels: of the joints, see `api.load_data`; with `pretrained` and without a layout,
        the model's.
      pretrained: what `api.load` takes; None: `fit` trains an encoder on its sequences.
      readout: see `TrainedModel.embed`.
      verbose: whether training prints.

    Attributes:
      model_: the encoder, a `TrainedModel`.
    """

    def __init__(
        self,
        method: str = "amr",
        *,
        layout: str | None = None,
        channels: str = "xyz",
        pretrained: str | None = None,
        settings: Mapping[str, Any] | None = None,
        readout: str = "mean",
        verbose: bool = False,
    ):
        self.method, self.settings, self.readout = method, settings, readout
        self.layout, self.channels, self.pretrained = layout, channels, pretrained
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> "SkeletonEncoder":
        """Trains an encoder on sequences, or loads `pretrained`; `y` is ignored."""
        if self.pretrained is not None:
            self.model_ = api.load(self.pretrained)
        else:
            with self._said():
                data = api.load_data(X, layout=self.layout, channels=self.channels)
                self.model_ = self._pretrain(data).model()
        self._n_features_out = self.model_.num_features(self.readout)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features (n, F) float32."""
        check_is_fitted(self)
        return self.model_.embed(X, self.readout)


class SkeletonClassifier(base.ClassifierMixin, _Skeletons):
    """Classes of sequences: an encoder trained without labels, then a classifier with them.

    Args:
      method, settings, layout, channels, pretrained, verbose: see `SkeletonEncoder`.
      protocol: 'linear', a classifier on the frozen encoder, or 'finetune'.
      protocol_settings: see `Run.evaluate`.

    Attributes:
      classes_: (K,) the classes. model_: the classifier, a `TrainedModel`.
    """

    def __init__(
        self,
        method: str = "amr",
        *,
        layout: str | None = None,
        channels: str = "xyz",
        pretrained: str | None = None,
        settings: Mapping[str, Any] | None = None,
        protocol: str = "linear",
        protocol_settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ):
        self.method, self.settings = method, settings
        self.layout, self.channels, self.pretrained = layout, channels, pretrained
        self.protocol, self.protocol_settings = protocol, protocol_settings
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> "SkeletonClassifier":
        """Trains encoder and classifier on all sequences; none is set aside."""
        if y is None:
            raise UserError("requires y to be passed, but the target y is None")
        ready = None if self.pretrained is None else api.load(self.pretrained)
        layout, channels = self.layout, self.channels
        if ready and layout is None:
            layout, channels = ready.model.input.layout, ready.model.input.channels
        with self._said():
            data = api.load_data(X, y=y, layout=layout, channels=channels, test_fraction=0)
            run = api.Run.of(ready, data) if ready else self._pretrain(data)
            told = {"test_split": "train", "random_encoder": False}
            told["adapt"] = bool(ready) and layout != ready.model.input.layout
            told |= self.protocol_settings or {}
            self.model_ = run.evaluate(self.protocol, **told).model
        self.classes_ = self.model_.classes
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The class of each sequence, (n,)."""
        check_is_fitted(self)
        return self.model_.predict(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, K) of the classes."""
        check_is_fitted(self)
        return self.model_.predict_proba(X)
