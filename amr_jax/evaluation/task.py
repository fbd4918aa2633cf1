"""What a protocol receives and returns."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import ml_collections
import numpy as np

from amr_jax.data.split import DeviceSplit
from amr_jax.evaluation import features, packing
from amr_jax.evaluation.features import View
from amr_jax.evaluation.twins import Twins

# Called with the number of the finished epoch (from 1) and its scalars.
Log = Callable[[int, dict[str, float]], None]


@dataclasses.dataclass(frozen=True)
class Task:
    """An encoder to evaluate, and the data to evaluate it on.

    Attributes:
      encoder: the architecture; `encoder.apply({'params': params}, clips)` gives its tokens.
      params: its parameters, replicated over the mesh. A protocol that trains the encoder trains a
        copy of them.
      pretrained: False for a random encoder, which a protocol that trains it trains from scratch.
      train, test: the splits on the devices; `host` has their labels and names.
      train_view, test_view: the augmented view and the centre crop of the clip of one body.
      num_classes: size of the label set, whether or not every class occurs.
      twins: which test sequences show a performance of the training split; None: no one does.
      readout: of the frozen encoder's tokens, one of `heads.READOUTS`.
    """

    encoder: nn.Module
    params: Any
    pretrained: bool
    train: DeviceSplit
    test: DeviceSplit
    train_view: View
    test_view: View
    num_classes: int
    twins: Twins | None = None
    readout: str = "mean"

    def features(
        self, split: DeviceSplit, view: View, key: jax.Array, config: ml_collections.ConfigDict
    ) -> jax.Array:
        """Features (S, F) of the frozen encoder, see `features.extract`."""
        return features.extract(
            self.encoder,
            self.params,
            split,
            view,
            key,
            readout=self.readout,
            batch_size=config.encode_batch_size,
            bodies=packing.counted(config),
        )


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier: with the architecture of the encoder, all that prediction needs.

    The logits of sequences are
    `head.apply({'params': params['head'], 'batch_stats': batch_stats['head']}, x)`, where `head` is
    `heads.build(self.head, self.head_settings)` and x (S, F) is `heads.mean_over_bodies` of
    `head.of_body(tokens)`.

    Attributes:
      head: a key of `models.heads.HEADS`.
      head_settings: the fields of that module.
      params: {'encoder': …, 'head': …}, nested dicts of float32 arrays on the host.
      batch_stats: {'head': …}, running statistics, likewise.
      bodies: which bodies count, one of `packing.COUNTED`.
    """

    head: str
    head_settings: dict[str, Any]
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    bodies: str


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The nearest training sequences of some test sequences, nearest first.

    Attributes:
      test: (n,), places in the test split.
      train: (n, k), places in the training split.
      similarity: (n, k), cosines.
    """

    test: np.ndarray
    train: np.ndarray
    similarity: np.ndarray


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a protocol.

    Attributes:
      predictions: (S,) int32, the predicted class of each test sequence in the order of the split,
        after the last epoch; (draws, S) of a protocol with several draws.
      metrics: scalars for results.json; 'top1' at least. Accuracies are fractions in [0, 1].
      scores: (S, K) float32 logits of the predictions; None if there are none.
      classifier: the trained classifier; None if the protocol trains none, or several.
      draws: the metrics of each of several draws, whose means are in `metrics`.
      nearest: of a few test sequences, for the report; None of a protocol without neighbours.
    """

    predictions: np.ndarray
    metrics: dict[str, float]
    scores: np.ndarray | None = None
    classifier: Classifier | None = None
    draws: tuple[dict[str, float], ...] = ()
    nearest: Nearest | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
      key: of the values, in metrics and in CSV files.
      head: text at the head of the column.
      text: value -> text of the cell.
      note: explanation under the table of a comparison; '': none.
      measured: whether a table of several seeds shows the deviation of its values.
      optional: whether a table in which no row has a value leaves the column out.
    """

    key: str
    head: str
    text: Callable[[Any], str]
    note: str = ""
    measured: bool = True
    optional: bool = False

    def belongs(self, values: Iterable[Any]) -> bool:
        """Whether a table with these values (None: no value) shows the column."""
        return not self.optional or any(value is not None for value in values)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A protocol as commands and tables know it.

    Attributes:
      run: (task, config, log) -> outcome.
      title: its short name in tables.
      columns: metrics that tables show in addition to the accuracies.
      has_logits: whether its outcomes have `scores`, which ensembles sum.
    """

    run: Callable[[Task, Any, Log], Outcome]
    title: str
    columns: tuple[Column, ...] = ()
    has_logits: bool = False
