"""AdamW as masked skeleton models train with it: warm-up, cosine, no decay on biases etc."""

import jax
import optax

# The matrices of linear layers, by the last name of a parameter's path. Whatever is called
# otherwise (biases, norms' scales, embeddings, tokens, queries) does not decay.
DECAYED = "kernel"


def decay_mask(params) -> dict:
    """True where weight decay applies: not on biases, norms, embeddings (methods.md, Training)."""
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
