"""Parameters away from their initial values, so that every one of them shows in the output."""

import jax
import numpy as np

from amr_jax.methods.method import Method
from amr_jax.models.encoder import Encoder, build_encoder


def encoder(dtype: str = "float32", **sizes) -> Encoder:
    """An encoder of the default config, but for `sizes`."""
    return build_encoder(sizes, dtype, attention_kernel="xla")


def views(method, clips, present):
    """One view of clips and presence; for a method with several, tuples of their first frames."""
    if isinstance(method.view_frames, int):
        return clips, present
    return tuple(tuple(x[:, :frames] for frames in method.view_frames) for x in (clips, present))


def noisy(module, *inputs):
    """Parameters of the module's shapes: biases not zero, scales not one. Nothing is compiled.

    Methods are given clips alone: everything is present.
    """
    if isinstance(module, Method):
        inputs = views(module, *inputs, np.ones(inputs[0].shape[:-1], bool))
    streams = ("params", *getattr(module, "streams", ("mask",)))
    rngs = {name: jax.random.key(0) for name in streams}
    shapes = jax.eval_shape(module.init, rngs, *inputs)["params"]
    rng = np.random.default_rng(7)

    def draw(path, leaf):
        noise = rng.normal(size=leaf.shape).astype(np.float32)
        return 0.3 * noise + (path[-1].key == "scale")

    return jax.tree_util.tree_map_with_path(draw, shapes)
