"""What a protocol is given and what it hands back."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import numpy as np

from amr_jax.evaluation.protocols.features import Split, View

# Called with the number of the epoch just done (1-based) and its scalars.
Log = Callable[[int, dict[str, float]], None]


@dataclasses.dataclass(frozen=True)
class Task:
    """An encoder to judge, and the data to judge it on.

    Attributes:
      encoder: the architecture; `encoder.apply({'params': params}, clips)`.
      params: its parameters, replicated over the mesh. A protocol that trains the encoder trains a
        copy: these stay as they are.
      train, test: the splits on the devices, with their labels.
      train_view, test_view: augmented clip, and centre crop, of one body.
      num_classes: size of the label set, whether or not every class occurs.
    """

    encoder: nn.Module
    params: Any
    train: Split
    test: Split
    train_view: View
    test_view: View
    num_classes: int


@dataclasses.dataclass(frozen=True)
class Classifier:
    """What a protocol trained: with the encoder's architecture, all that predicting needs.

    A sequence's logits are
    `head.apply({'params': params['head'], 'batch_stats': batch_stats['head']}, x)`, where `head` is
    `heads.build(self.head, self.head_settings)` and x (S, F) is `heads.mean_over_bodies` of
    `head.of_body(tokens)`.

    Attributes:
      head: which of `models.heads.HEADS`.
      head_settings: the fields of that module.
      params: {'encoder': …, 'head': …}, nested dicts of float32 arrays on the host.
      batch_stats: {'head': …}, likewise: running statistics.
      bodies: 'packed' or 'all', how bodies become a sequence; see `models.heads.POOLINGS`.
    """

    head: str
    head_settings: dict[str, Any]
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    bodies: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a protocol found.

    Attributes:
      predictions: (S,) int32, the class given to each test sequence, in the order of the split, by
        what counts as the result (the last epoch, where there are epochs); (draws, S) of a protocol
        that tests several times.
      metrics: scalars for results.json; 'top1' at least, accuracies as fractions in [0, 1].
      scores: (S, K) float32 logits that the predictions come from; None where there are none.
      classifier: what was trained; None where nothing was, or more than one.
      draws: the metrics of each of several draws, whose means are in `metrics`.
    """

    predictions: np.ndarray
    metrics: dict[str, float]
    scores: np.ndarray | None = None
    classifier: Classifier | None = None
    draws: tuple[dict[str, float], ...] = ()
