"""A pre-training config small enough to compile in a second."""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from amr_jax.config import base, files, settings
from amr_jax.train import step as train_step
from tests.models.params import noisy, views

MASKED = {"num_visible": 6, "decoder_width": 12, "decoder_depth": 1, "decoder_heads": 3}

# What a method needs on top at this size.
OWN = {
    "amr": {"r": 2, "windows": (2, 6)},
    "gfp": {"levels": (2, 4), "feature_width": 6, "hidden": 8, "global_hidden": 10},
    "sjepa": {"view_mirror": (0, 2, 1, 4, 3)},
    "slim": {
        "head_hidden": 6,
        "head_out": 5,
        "num_prototypes": 7,
        "local_parts": (2, 4),
        "local_min": (0.35, 0.05),
        "local_max": (0.7, 0.2),
        "view_mirror": (0, 2, 1, 4, 3),
        "parts": ((0,), (1, 3), (2, 4)),
        "limbs": ((0,), (1, 2, 3, 4)),
    },
    "stars": {
        "view_mirror": (0, 2, 1, 4, 3),
        "projector_hidden": 8,
        "features": 6,
        "predictor_hidden": 8,
        "queue": 7,
        "temperature": 4.0,
    },
    "usdrl": {"projector_width": 6},
}
# The form of the encoder that a method needs.
FORM = {
    "slim": {
        "position": "rotary",
        "class_token": True,
        "registers": 1,
        "mask_token": True,
        "mlp": "swiglu",
    },
}


def config(method="amr", encoder=None, input_stream="joint", **model):
    """12 frames of 5 joints, T_e = 4; `encoder` and `model` override. Not checked."""
    config = {
        "method": method,
        "dtype": "float32",
        "input": {"stream": input_stream},
        "encoder": {
            "num_frames": 12,
            "num_joints": 5,
            "patch_len": 3,
            "width": 8,
            "depth": 1,
            "num_heads": 2,
        }
        | FORM.get(method, {})
        | (encoder or {}),
        "model": (MASKED if files.masks(method) else {}) | OWN.get(method, {}) | model,
    }
    return settings.completed(ml_collections.ConfigDict(config), base.of_method(method)).to_dict()


def full_size(method, **model):
    """The config of the published size: T 120, V 25, 8 blocks of width 256."""
    config = ml_collections.ConfigDict({"method": method, "dtype": "float32", "model": model})
    return settings.completed(config, base.of_method(method)).to_dict()


def clips(bodies=3, frames=12, joints=5):
    """Walks of a tenth of a metre per frame."""
    steps = jax.random.normal(jax.random.key(0), (bodies, frames, joints, 3))
    return 0.1 * steps.cumsum(1)


def everywhere(clips):
    """The presence of clips of bodies that are always there."""
    return jnp.ones(clips.shape[:-1], bool)


def keys(module, seed=0):
    """One key for each of the method's random streams."""
    return {
        name: jax.random.fold_in(jax.random.key(seed), i) for i, name in enumerate(module.streams)
    }


def variables(module, inputs):
    """What the method keeps beside parameters, not at its initial values; nothing is compiled."""
    given = views(module, inputs, everywhere(inputs))
    shapes = jax.eval_shape(module.init, {"params": jax.random.key(0), **keys(module)}, *given)
    rng = np.random.default_rng(3)
    shapes.pop("params")

    def some(x):
        number = np.issubdtype(x.dtype, np.floating)
        return rng.normal(size=x.shape).astype(x.dtype) if number else np.zeros(x.shape, x.dtype)

    return jax.tree.map(some, shapes)


def average(module):
    """Parameters of a momentum encoder; {} where the method has none."""
    if not module.momentum_encoder:
        return {}
    encoder = module.encoder
    shape = (1, encoder.num_frames, encoder.num_joints, encoder.channels)
    return jax.tree.map(lambda x: 0.9 * x, noisy(encoder, jnp.zeros(shape)))


@functools.cache  # compiled once for all the tests of a method
def loss_and_gradient(module):
    """Compiled `method_loss` and its gradient; by default everything is present."""
    compiled = jax.jit(jax.value_and_grad(train_step.method_loss(module), has_aux=True))

    def of(params, variables, average, clips, keys, present=None, joints=None):
        present = everywhere(clips) if present is None else present
        given = views(module, clips, present) + (() if joints is None else (joints,))
        return compiled(params, variables, average, *given, keys)

    return of
