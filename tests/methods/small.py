"""A pre-training config small enough to compile in a second."""

import functools

import jax


def config(method="amr", encoder=None, **model):
    """12 frames of 5 joints, T_e = 4; `encoder` and `model` override."""
    return {
        "method": method,
        "dtype": "float32",
        "encoder": {
            "num_frames": 12,
            "num_joints": 5,
            "patch_len": 3,
            "width": 8,
            "depth": 1,
            "num_heads": 2,
        }
        | (encoder or {}),
        "model": {"num_visible": 6, "decoder_width": 12, "decoder_depth": 1, "decoder_heads": 3}
        | ({"r": 2, "windows": (2, 6)} if method == "amr" else {})
        | model,
    }


def clips(bodies=3, frames=12, joints=5):
    """Walks of a tenth of a metre per frame."""
    steps = jax.random.normal(jax.random.key(0), (bodies, frames, joints, 3))
    return 0.1 * steps.cumsum(1)


@functools.cache  # compiled once for all the tests of a method
def loss_and_gradient(module):
    """Compiled (params, clips, mask key) -> ((loss, metrics), gradient)."""

    def loss(params, clips, key):
        return module.apply({"params": params}, clips, rngs={"mask": key})

    return jax.jit(jax.value_and_grad(loss, has_aux=True))
