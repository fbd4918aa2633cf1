"""AdamW with warm-up, cosine decay, and weight decay on the parameters that should decay."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from amr_jax.methods.method import half_cosine

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


def decay_schedule(first: float, last: float | None, total_steps: int) -> float | optax.Schedule:
    """Weight decay along half a cosine, to `last` at `total_steps`; None: `first` throughout."""
    if last is None:
        return first

    return lambda step: half_cosine(first, last, jnp.minimum(step / total_steps, 1))


def of_pretraining(
    learning_rate: optax.Schedule,
    settings: Mapping[str, Any],
    depth: int,
    total_steps: int,
    frozen_steps: int,
) -> optax.GradientTransformation:
    """AdamW as the section `optim` of pre-training says.

    Args:
      learning_rate: by step.
      settings: the section.
      depth: blocks of the encoder.
      total_steps: of the schedule.
      frozen_steps: in these, parameters of sub-modules called `prototypes` do not change.
    """
    decay = decay_schedule(settings["weight_decay"], settings["weight_decay_end"], total_steps)
    steps = [adamw(learning_rate, {**settings, "weight_decay": decay})]
    if settings["layer_decay"] != 1:
        steps.append(scale_by_layer(depth, settings["layer_decay"]))
    if settings["embed_scale"] != 1:
        steps.append(_scale(lambda _: settings["embed_scale"], "patch_embed"))
    if frozen_steps:
        steps.append(_scale(lambda step: jnp.where(step < frozen_steps, 0.0, 1.0), "prototypes"))
    return optax.chain(*steps) if len(steps) > 1 else steps[0]  # as in earlier checkpoints


def _scale(factor: Callable[[jax.Array], Any], part: str) -> optax.GradientTransformation:
    """Multiplies the updates of parameters of sub-modules called `part`, by a factor by step."""

    def chosen(params):
        names = jax.tree_util.tree_map_with_path(lambda path, _: [p.key for p in path], params)
        return jax.tree.map(lambda _, path: part in path, params, names)

    return optax.masked(optax.scale_by_schedule(factor), chosen)


def layer_scales(params, depth: int, decay: float) -> dict:
    """Factors of the learning rates, decay^(depth + 1 − layer), one for each parameter (BEiT, MAE).

    Args:
      params: {'encoder': …, …}. The encoder's embeddings are layer 0, its block i is layer i + 1,
        its last norm and whatever is not of the encoder are layer depth + 1.
      depth: blocks of the encoder.
      decay: ratio between the learning rates of a layer and of the one above it.
    """

    def scale(path, _):
        part = path[1].key if path[0].key == "encoder" else "norm"
        block = re.fullmatch(r"block_(\d+)", part)
        if part == "norm":
            layer = depth + 1
        elif part in ("patch_embed", "position", "mask_token", "leading_tokens"):
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
