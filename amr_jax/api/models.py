"""Trained models as objects: predictions and features of arrays."""

import functools
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from amr_jax.errors import BadFile, UserError
from amr_jax.inference import apply, hub, model_file, predict, read_inputs, zoo
from amr_jax.inference.load import load_model
from amr_jax.run import paths


class TrainedModel:
    """An encoder, and its classifier if it has one.

    Inputs `x` are arrays as captured: one sequence (T, V, C), several (n, T, V, C) or
    (n, T, M, V, C), or a list of sequences of any length; in metres, or in an image in any unit.
    Centring, cropping and resizing are the model's own. Outputs have one row per sequence.

    Attributes:
      model: the architecture, parameters and input, `inference.apply.Model`.
      source: where it comes from.
      classes: (K,) in the order of the probabilities; empty without a classifier.
    """

    def __init__(self, model: apply.Model, source: str, classes: np.ndarray | None = None):
        self.model, self.source = model, source
        self.classes = np.array(model.class_names) if classes is None else classes

    def embed(self, x: Any, readout: str = "mean") -> np.ndarray:
        """Features (n, F) float32 of the encoder.

        Args:
          x: see the class.
          readout: what is kept of the tokens: 'mean' over time and joints, 'joint' over time, or
            'joint_deviation' with their deviation over time.
        """
        if readout not in apply.READOUTS:
            raise UserError(f"readout = {readout!r}: expected one of {', '.join(apply.READOUTS)}.")
        return self._outputs(_features(readout), x)

    def num_features(self, readout: str = "mean") -> int:
        """F of `embed`."""
        return apply.num_features(self.model, readout)

    def predict_proba(self, x: Any) -> np.ndarray:
        """Probabilities (n, K) float64 of the classes; arguments as in the class."""
        if self.model.head is None:
            raise UserError(
                f"{self.source}: an encoder without a classifier; expected one that was trained: "
                "run.linear_probe() or run.finetune(), or `amr-jax evaluate --config=linear:…`."
            )
        logits = self._outputs(apply.logits, x).astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, x: Any) -> np.ndarray:
        """The most probable class of each sequence, (n,) of `classes`."""
        return self.classes[self.predict_proba(x).argmax(axis=1)]

    def save(self, path: os.PathLike | str) -> None:
        """Writes a model file (.safetensors), which `load` and all commands read."""
        model_file.write(paths.absolute(path), self.model)

    def push_to_hub(self, repo: str, private: bool = False) -> str:
        """Uploads the model file and a card to the Hugging Face hub; returns the address.

        Args:
          repo: 'USER/REPO'; made if absent.
          private: of a repository that is made.
        """
        return hub.push(self.model, repo, private)

    def _outputs(self, function: Callable, x: Any) -> np.ndarray:
        rows = []
        for result in predict.outputs(self.model, function, read_inputs.of_arrays(x, self.model)):
            if isinstance(result, BadFile):
                raise result
            rows.append(result.output)
        return np.stack(rows)

    def __repr__(self) -> str:
        size = self.model.input
        count = sum(leaf.size for leaf in jax.tree.leaves(self.model.variables["params"]))
        kind = f"{len(self.classes)} classes" if self.model.head else "features only"
        return (
            f"TrainedModel({self.source!r}: {kind}; {len(size.joints)} joints ({size.layout}), "
            f"{size.channels}; {count:,} parameters)"
        )


@functools.cache
def _features(readout: str) -> Callable:
    """One function per read-out: JAX keeps compiled programs by it."""
    return functools.partial(apply.features, readout=readout)


def load(
    source: os.PathLike | str, *, step: int | None = None, dataset: str | None = None
) -> TrainedModel:
    """A trained model by name or path.

    Args:
      source: the name of a shipped model (`shipped()` lists them); 'hf://USER/REPO' on the Hugging
        Face hub; a model file; or the workdir of an evaluation or of a pre-training run.
      step, dataset: of a pre-training run, see `inference.load.load_model`.

    Raises:
      UserError: there is no such model, or it is damaged.
    """
    return TrainedModel(load_model(source, step, dataset), os.fspath(source))


def shipped() -> Mapping[str, Mapping[str, Any]]:
    """The shipped models by name, with what docs/zoo.md tells of each."""
    return json.loads(json.dumps(zoo.registry()))
