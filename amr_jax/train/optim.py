"""AdamW with warm-up, cosine decay, and weight decay on the kernels of linear layers only."""

import re

import jax
import optax

# Weight decay applies to parameters of this name, the matrices of linear layers. All others
# (biases, scales of norms, embeddings, tokens, queries) do not decay.
DECAYED = "kernel"


def decay_mask(params) -> dict:
    """True where weight decay applies: on the kernels of linear layers."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == DECAYED, params)


def schedule(lr: float, min_lr: float, warmup_steps: int, total_steps: int) -> optax.Schedule:
    """Linear from 0 to `lr` over `warmup_steps`, then half a cosine down to `min_lr` at the end."""
    warmup = optax.linear_schedule(0.0, lr, max(warmup_steps, 1))
    decay = optax.cosine_decay_schedule(
        lr, max(total_steps - warmup_steps, 1), alpha=min_lr / lr if lr else 0.0
    )
    return optax.join_schedules([warmup, decay], [warmup_steps])


def adamw(
    learning_rate: optax.Schedule, weight_decay: float, b1: float, b2: float, clip_norm: float
) -> optax.GradientTransformation:
    """AdamW with the exclusions of `decay_mask`; `clip_norm` 0 leaves gradients as they are."""
    steps = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    steps.append(
        optax.adamw(learning_rate, b1=b1, b2=b2, weight_decay=weight_decay, mask=decay_mask)
    )
    return optax.chain(*steps)


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
