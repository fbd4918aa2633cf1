"""AdamW with warm-up, cosine decay, and weight decay on the parameters that should decay."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

# Whether a parameter decays, by its name: the matrices of linear layers; or, as published, whatever
# is no bias and no scale of a norm: also embeddings, tokens and queries.
_DECAYS: dict[str, Callable[[str], bool]] = {
    "kernels": lambda name: name == "kernel",
    "all": lambda name: name not in ("bias", "scale"),
}


def decay_mask(params, decay_on: str) -> dict:
    """True where weight decay applies; `decay_on` as in `config.base.ADAM`."""
    decays = _DECAYS[decay_on]
    return jax.tree_util.tree_map_with_path(lambda path, _: decays(path[-1].key), params)


def schedule(lr: float, min_lr: float, warmup_steps: int, total_steps: int) -> optax.Schedule:
    """Linear from 0 to `lr` over `warmup_steps`, then half a cosine down to `min_lr`.

    It reaches `min_lr` at `total_steps`, and stays there.
    """
    warmup = optax.linear_schedule(0.0, lr, max(warmup_steps, 1))
    decay = optax.cosine_decay_schedule(
        lr, max(total_steps - warmup_steps, 1), alpha=min_lr / lr if lr else 0.0
    )
    return optax.join_schedules([warmup, decay], [warmup_steps])


def adamw(
    learning_rate: optax.Schedule, settings: Mapping[str, Any]
) -> optax.GradientTransformation:
    """AdamW with the settings `config.base.ADAM`; `clip_norm` None leaves gradients as they are."""
    steps = []
    if settings["clip_norm"]:
        steps.append(optax.clip_by_global_norm(settings["clip_norm"]))
    adam = optax.adamw(
        learning_rate,
        b1=settings["b1"],
        b2=settings["b2"],
        weight_decay=settings["weight_decay"],
        mask=lambda params: decay_mask(params, settings["decay_on"]),
    )
    return optax.chain(*steps, adam)


def layer_scales(params, depth: int, decay: float) -> dict:
    """Factors of the learning rates, decay^(depth + 1 − layer), one for each parameter (BEiT, MAE).

    Args:
      params: {'encoder': …, 'head': …}. The encoder's embeddings are layer 0, its block i is layer
        i + 1, its last norm and the head are layer depth + 1.
      depth: blocks of the encoder.
      decay: ratio between the learning rates of a layer and of the one above it.
    """

    def scale(path, _):
        owner, part = path[0].key, path[1].key
        block = re.fullmatch(r"block_(\d+)", part)
        if owner == "head" or part == "norm":
            layer = depth + 1
        elif part in ("patch_embed", "position"):
            layer = 0
        elif block:
            layer = int(block[1]) + 1
        else:
            raise ValueError(
                f"parameter {jax.tree_util.keystr(path)}: optim.layer_scales knows no layer for "
                f"{part!r}; add it there."
            )
        return decay ** (depth + 1 - layer)

    return jax.tree_util.tree_map_with_path(scale, params)


def scale_by_layer(depth: int, decay: float) -> optax.GradientTransformation:
    """Multiplies each update by its factor of `layer_scales`; goes last in a chain."""

    def update(updates, params=None):
        del params
        scales = layer_scales(updates, depth, decay)
        return jax.tree.map(lambda scale, x: scale * x, scales, updates)

    return optax.stateless(update)
