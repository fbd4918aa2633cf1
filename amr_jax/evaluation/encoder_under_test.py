"""The subject of an evaluation: an encoder, its parameters, and its views of the clips."""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections

from amr_jax.config import base, settings
from amr_jax.data import datasets, records
from amr_jax.errors import UserError
from amr_jax.evaluation import adapt as transfer
from amr_jax.models.encoder import Encoder, build_encoder
from amr_jax.ops import augment
from amr_jax.run import checkpoint, paths


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
    rest = {"dataset": config.dataset, "dtype": dtype}
    return None, ml_collections.ConfigDict({**scratch, **rest}), None


def resolve(
    config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """A complete, checked copy; settings left open take the values of the pre-training run.

    Raises:
      UserError: an unknown protocol or key; a value out of bounds.
    """
    tree = base.of_protocol(config.protocol)
    config = settings.completed(config, tree)
    if config.pretrained:
        config.pretrained = os.fspath(paths.absolute(config.pretrained))
    config.data_dir = config.data_dir or pretraining.data_dir
    config.dtype = pretraining.dtype if config.dtype == "auto" else config.dtype
    config.num_frames = config.num_frames or pretraining.encoder.num_frames
    settings.check(config, tree)
    return config


def make_encoder(
    config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict
) -> Encoder:
    """The encoder of a pre-training run, with the compute dtype of the evaluation."""
    return build_encoder(pretraining.encoder, config.dtype, attention_kernel="xla")


def to_judge(
    encoder: Encoder,
    learned: dict | None,
    config: ml_collections.ConfigDict,
    pretraining: ml_collections.ConfigDict,
) -> tuple[dict[str, dict], transfer.Adaptation | None]:
    """The parameters to run the protocol on.

    Args:
      encoder: the architecture, for the data set of the evaluation.
      learned: the pre-trained parameters; None: from scratch.
      config: of the evaluation, resolved.
      pretraining: of the run, resolved.

    Returns:
      Name of the encoder in tables -> parameters on the host; with `config.adapt` the adaptation.

    Raises:
      UserError: the parameters do not fit the architecture.
    """
    untrained = random_params(encoder, config.seed)
    judged, adaptation = {}, None
    if learned is not None:
        if config.adapt:
            source = make_encoder(config, pretraining), datasets.get(pretraining.dataset).layout
            target = encoder, datasets.get(config.dataset).layout
            learned, adaptation = transfer.adapt(
                learned, untrained, source, target, config.pretrained
            )
        checkpoint.check_same(learned, untrained, config.pretrained)
        judged["pretrained"] = learned
    if learned is None or config.random_encoder:
        judged["random"] = untrained
    return judged, adaptation


def open_records(
    config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict
) -> tuple[records.Records, records.Records]:
    """The train and the test split, cut and centred as in pre-training."""
    dataset = datasets.get(config.dataset)
    centre = dataset.layout.centre if pretraining.input.centre else None
    train, test = (
        records.Records(
            config.data_dir, dataset.records, split, centre, pretraining.input.max_frames
        )
        for split in (config.train_split, config.test_split)
    )
    return train, test


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
        return augment.train_view(key, clip, length, **how, **pretraining.augment)

    def test_view(key, clip, length):
        del key  # nothing is drawn
        return augment.test_view(clip, length, fraction=config.test_fraction, **how)

    return {"train_view": train_view, "test_view": test_view}


def random_params(encoder: Encoder, seed: int) -> dict:
    """Randomly initialised parameters, on the host."""
    clips = jnp.zeros((1, encoder.num_frames, encoder.num_joints, encoder.channels), jnp.float32)
    return jax.device_get(jax.jit(encoder.init)(jax.random.key(seed), clips)["params"])
