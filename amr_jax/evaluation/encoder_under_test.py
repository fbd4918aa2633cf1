"""The subject of an evaluation: an encoder, its parameters, and its views of the clips."""

import dataclasses
import os
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from amr_jax.config import base, settings
from amr_jax.config.evaluation import of_protocol
from amr_jax.data import datasets, records
from amr_jax.data.readers import labels
from amr_jax.data.split import Split
from amr_jax.errors import UserError
from amr_jax.evaluation import adapt as transfer
from amr_jax.models import attention
from amr_jax.models.encoder import Encoder, build_encoder
from amr_jax.ops import augment
from amr_jax.run import checkpoint, paths


class Coordinates(nn.Module):
    """In place of an encoder: the tokens of a body are the coordinates that an encoder would see.

    Attributes:
      num_frames: T. num_joints: V. channels: C.
    """

    num_frames: int
    num_joints: int
    channels: int

    def __call__(self, clips: jax.Array) -> jax.Array:
        """Clips (B, T, V, C) -> tokens (B, T · V, C)."""
        return clips.reshape(len(clips), -1, self.channels)


@dataclasses.dataclass(frozen=True)
class Subject:
    """The encoder that is evaluated.

    Attributes:
      config: of the evaluation, resolved.
      pretraining: config of the pre-training run; without one, of `config.scratch`.
      step: of the run's checkpoint; None without one.
      seen: `pretraining`, with loading and clip length of the adapted encoder (`adapt.settings`).
      encoder: the architecture.
      params: parameters to evaluate, on the host, by name: 'pretrained', 'random'.
      adaptation: which joints were matched; None if the encoder was not adapted.
    """

    config: ml_collections.ConfigDict
    pretraining: ml_collections.ConfigDict
    step: int | None
    seen: ml_collections.ConfigDict
    encoder: Encoder
    params: dict[str, dict]
    adaptation: transfer.Adaptation | None

    @classmethod
    def of(cls, config: ml_collections.ConfigDict) -> "Subject":
        """Loads the encoder that a config names.

        Raises:
          UserError: no such pre-training run, or settings that do not fit it.
        """
        learned, pretraining, step = source(config)
        config = resolve(config, pretraining)
        seen = transfer.settings(config, pretraining)
        encoder = build_encoder(seen.encoder, config.dtype, attention.for_backend())
        untrained = random_params(encoder, config.seed)
        params, adaptation = {}, None
        if learned is not None:
            before, after = (
                datasets.get(name).layout for name in (pretraining.dataset, config.dataset)
            )
            if config.adapt or before != after:
                learned, adaptation = transfer.adapt(
                    learned, untrained, before, after, config.time_embeddings, config.pretrained
                )
            checkpoint.check_same(learned, untrained, config.pretrained)
            params["pretrained"] = learned
        if learned is None or config.random_encoder:
            params["random"] = untrained
        return cls(config, pretraining, step, seen, encoder, params, adaptation)

    def judged(self) -> Iterator[tuple[str, nn.Module, dict, str]]:
        """What a protocol judges: its name in the results, encoder, parameters and read-out.

        'raw' is no encoder: the coordinates of the view, all of them in one vector.
        """
        for name, params in self.params.items():
            yield name, self.encoder, params, self.config.get("readout", "mean")
        if self.config.get("raw_coordinates"):
            size = self.encoder
            raw = Coordinates(size.num_frames, size.num_joints, size.channels)
            yield "raw", raw, {}, "everything"

    def doubts(self) -> list[str]:
        """Whether pre-training may have seen test sequences, without their labels: a sentence."""
        config, asked = self.config, datasets.get(self.config.dataset)
        if not config.pretrained or "split" not in self.pretraining.input:  # imported weights
            return []
        trained = datasets.get(self.pretraining.dataset)
        saw, test = self.pretraining.input.split, config.test_split
        # A selection and its complement, or what the probe is trained on, too (`results.doubts`).
        parts = _whole(saw) != _whole(test) or test == saw.replace("!", "")
        parts |= saw == config.train_split
        for name, one in (trained.members or {self.pretraining.dataset: trained}).items():
            apart = parts and one.records == asked.records
            if one.recordings == asked.recordings and not apart:
                return [
                    f"{saw} of {name}, which the encoder was pre-trained on, and {test} of "
                    f"{config.dataset} are of the same recordings: it may have seen test "
                    "sequences, without their labels."
                ]
        return []

    def open_records(self) -> list[records.Records]:
        """The training and the test split, cut and centred as in pre-training.

        Raises:
          UserError: no such records, or records without labels.
        """
        config, dataset = self.config, datasets.get(self.config.dataset)
        train = dataset.open_split(config.data_dir, config.train_split, self.seen.input)
        if train.class_names == (labels.UNLABELLED,):
            raise UserError(
                f"{config.dataset}: its sequences have no labels; expected the class of each: an "
                "evaluation compares predictions with them. Add them (`label`, or a labels.csv: "
                "docs/own_data.md) and prepare again with --overwrite. Without labels, "
                "`pretrain` and `predict --embeddings` work."
            )
        test = dataset.open_split(config.data_dir, config.test_split, self.seen.input)
        return [train, test]

    def describe(self, train: Split, test: Split) -> dict[str, str]:
        """What is evaluated and on which data, as texts by name."""
        config, pretraining = self.config, self.pretraining
        counts = ", ".join(
            f"{name} {len(split.label):,} sequences with {len(split.length):,} bodies"
            for name, split in ((config.train_split, train), (config.test_split, test))
        )
        encoder = "untrained, from config.scratch"
        if config.pretrained:
            encoder = (
                f"{config.pretrained}, step {self.step:,} "
                f"({pretraining.method} on {pretraining.dataset})"
            )
        return {
            "encoder": f"{encoder}, {pretraining.input.stream} stream, {config.dtype}",
            **(self.adaptation.lines() if self.adaptation else {}),
            "data": f"{config.dataset}: {counts}; {len(test.class_names)} classes",
            "protocol": config.protocol
            + (f", read-out {config.readout}" if "readout" in config else ""),
        }


def _whole(split: str) -> str:
    """The split that a part such as train[:10%] is of."""
    return split.partition("[")[0].strip()


def source(
    config: ml_collections.ConfigDict,
) -> tuple[dict | None, ml_collections.ConfigDict, int | None]:
    """The parameters, config and step of the encoder to evaluate (`checkpoint.load_encoder`).

    From scratch, parameters and step are None, and the config is `config.scratch`, completed.

    Raises:
      UserError: the run does not exist, or is not given and the protocol needs one.
    """
    if config.pretrained:
        return checkpoint.load_encoder(config.pretrained, config.step or None, config.average)
    if "scratch" not in config:
        raise UserError(
            "config.pretrained is not set: expected the workdir of a pre-training run, "
            "--config.pretrained=DIR."
        )
    scratch, num_joints = config.scratch, datasets.get(config.dataset).layout.num_joints
    if scratch.encoder.num_joints != num_joints:
        settings.refuse(
            "config.scratch.encoder.num_joints",
            scratch.encoder.num_joints,
            f"{num_joints}, the joints of {config.dataset}",
        )
    dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    precision = base.PRETRAINING["matmul_precision"].default
    rest = {"dataset": config.dataset, "dtype": dtype, "matmul_precision": precision}
    return None, ml_collections.ConfigDict({**scratch, **rest}), None


def resolve(
    config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """A complete, checked copy; settings left open take the values of the pre-training run.

    Raises:
      UserError: an unknown protocol or key; a value out of bounds.
    """
    tree = of_protocol(config.protocol)
    config = settings.completed(config, tree)
    if config.pretrained:
        config.pretrained = os.fspath(paths.absolute(config.pretrained))
    config.data_dir = config.data_dir or pretraining.data_dir
    for key in ("dtype", "matmul_precision"):
        config[key] = pretraining[key] if config[key] == "auto" else config[key]
    config.num_frames = config.num_frames or pretraining.encoder.num_frames
    if config.average is None:
        config.average = pretraining.get("judged") == "average"
    settings.check(config, tree)
    return config


def views(
    config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict
) -> dict[str, Callable]:
    """The views of the clip of a body: that of pre-training, and the centre crop of the test."""
    how = {
        "num_frames": pretraining.encoder.num_frames,
        "confidence": pretraining.encoder.confidence,
        "stream": pretraining.input.stream,
        "parents": datasets.get(config.dataset).layout.parents,
    }

    def train_view(key, clip, length):
        view, _ = augment.train_view(key, clip, length, **how, **pretraining.augment)
        return view

    def test_view(key, clip, length):
        del key  # nothing is drawn
        return augment.test_view(clip, length, fraction=config.test_fraction, **how)

    return {"train_view": train_view, "test_view": test_view}


def random_params(encoder: Encoder, seed: int) -> dict:
    """Randomly initialised parameters, on the host."""
    clips = jnp.zeros((1, encoder.num_frames, encoder.num_joints, encoder.channels), jnp.float32)
    return jax.device_get(jax.jit(encoder.init)(jax.random.key(seed), clips)["params"])
