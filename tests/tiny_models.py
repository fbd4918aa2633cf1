"""Tiny trained models, of noise, for the tests of what is done with trained models."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from amr_jax import methods
from amr_jax.inference.apply import Input, Model
from amr_jax.models import heads
from amr_jax.run import checkpoint, workdir
from amr_jax.skeleton import layouts
from tests.methods import small
from tests.models.params import encoder as build
from tests.models.params import noisy

FRAMES, MAX_FRAMES, WIDTH = 8, 12, 8
CLASSES = ("sit", "stand", "wave")


def make(
    head: str | None = "linear",
    bodies: str = "packed",
    layout: layouts.Layout = layouts.KINECT_20,
    num_bodies: int = 2,
    max_frames: int = MAX_FRAMES,
    centred: bool = True,
    form: Mapping[str, Any] = MappingProxyType({}),
) -> Model:
    """A model whose every parameter and statistic is noise: a wrong one shows in the output.

    `form`: further settings of the encoder.
    """
    encoder = build(
        num_frames=FRAMES, num_joints=layout.num_joints, width=WIDTH, depth=1, num_heads=2, **form
    )
    settings = {"num_classes": len(CLASSES)}
    if head == "finetune":
        settings |= {"num_joints": layout.num_joints, "hidden": 6, "dropout": 0.3}
    module = heads.build(head, settings) if head else None

    def init(clips):
        variables = {"encoder": encoder.init(jax.random.key(0), clips)}
        if module:
            tokens = encoder.apply(variables["encoder"], clips)
            variables["head"] = module.init(jax.random.key(0), module.of_body(tokens))
        return variables

    shapes = jax.eval_shape(init, jnp.zeros((1, FRAMES, layout.num_joints, 3)))
    rng = np.random.default_rng(5)

    def draw(path, leaf):
        noise = 0.3 * rng.normal(size=leaf.shape).astype(np.float32)
        return np.abs(noise) + 0.5 if path[-1].key in ("scale", "var") else noise

    drawn = jax.tree_util.tree_map_with_path(draw, shapes)
    return Model(
        encoder=encoder,
        head=module,
        input=Input(
            layout=layout.name,
            joints=layout.joints,
            parents=layout.parents,
            channels="xyz",
            centre=layout.centre if centred else None,
            max_frames=max_frames,
            num_bodies=num_bodies,
            test_fraction=0.8,
        ),
        bodies=bodies,
        class_names=CLASSES if head else (),
        variables={
            kind: {part: trees[kind] for part, trees in drawn.items() if kind in trees}
            for kind in ("params", "batch_stats")
        },
        provenance={"dataset": "tiny"},
    )


def joints(seed: int, frames: int, bodies: int = 1, num_joints: int = 20) -> np.ndarray:
    """A sequence (frames, bodies, num_joints, 3) float32 of noise."""
    shape = (frames, bodies, num_joints, 3)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def padded(model: Model, sequences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sequences as the functions of `inference` take them: (b, L, M, V, C) and lengths (b,)."""
    batch = np.zeros((len(sequences), *model.sequence_shape), np.float32)
    for row, sequence in zip(batch, sequences, strict=True):
        row[: len(sequence), : sequence.shape[1]] = sequence
    return batch, np.array([len(sequence) for sequence in sequences], np.int32)


def save_run(folder: os.PathLike | str, method: str = "skeleton_mae", **model) -> dict:
    """Makes a workdir as pre-training leaves it, step 7, of noise; returns the parameters."""
    config = small.config(method, {"num_joints": 20, "channels": 3}, **model)
    config["dataset"] = "nwucla"
    config["input"] |= {"centre": True, "max_frames": MAX_FRAMES}
    params = noisy(methods.build(config), small.clips(joints=20))
    workdir.start(folder, ConfigDict(config), set())
    checkpoints = checkpoint.Checkpoints(folder, keep=1)
    checkpoints.save(7, {"params": params, "average": {}})
    checkpoints.close()
    return params
