"""One fine-tuning step with everything random in it held fixed, for comparisons with other models.

Whatever Flax drops is drawn by `jax.random.bernoulli`; here it hands out the masks `MASKS`, and
checks that the step asks for these, in this order, with these probabilities: stochastic depth for
whole bodies, branch by branch, then dropout on every feature of every token.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from amr_jax.evaluation import fitting, packing
from amr_jax.evaluation.protocols import finetune
from amr_jax.models import heads
from tests.evaluation import tiny

CLASSES, HIDDEN, DEPTH, DROP_PATH, DROPOUT, SMOOTHING = 4, 7, 3, 0.4, 0.3, 0.2
OPTIM = {
    "lr": 0.01,
    "min_lr": 0.002,
    "weight_decay": 0.5,
    "decay_on": "kernels",
    "b1": 0.9,
    "b2": 0.99,
    "clip_norm": None,
}
LAYER_DECAY, WARMUP, STEPS = 0.5, 2, 5
CAPACITY = 8  # bodies of a step, padding among them

ENCODER = tiny.ENCODER.clone(depth=DEPTH, drop_path=DROP_PATH)
_WIDTH, _TOKENS = ENCODER.width, ENCODER.num_patches
KEPT = [1 - DROP_PATH * i / (DEPTH - 1) for i in range(DEPTH)]  # by block


def _masks():
    """Probability and mask (1: kept) of each draw: two of each block but the first, and dropout."""
    rng = np.random.default_rng(11)
    shapes = [(kept, (CAPACITY, 1, 1)) for kept in KEPT[1:] for _ in range(2)]
    shapes.append((1 - DROPOUT, (CAPACITY, _TOKENS, _WIDTH)))
    return [(kept, (rng.random(shape) < 0.6).astype(np.float64)) for kept, shape in shapes]


MASKS = _masks()


def branch(block, which, body):
    """The factor of a branch of a block (0: attention, 1: MLP) for a body."""
    return MASKS[2 * (block - 1) + which][1][body, 0, 0] / KEPT[block] if block else 1.0


def token_factors(body):
    """The factors (N, D) of the features of a body's tokens."""
    return MASKS[-1][1][body] / (1 - DROPOUT)


MODEL = finetune.Model(
    encoder=ENCODER,
    head=heads.FinetuneHead(CLASSES, tiny.JOINTS, hidden=HIDDEN, dropout=DROPOUT),
    optim=ml_collections.FrozenConfigDict(OPTIM),
    layer_decay=LAYER_DECAY,
    warmup_steps=WARMUP,
    total_steps=STEPS,
    label_smoothing=SMOOTHING,
)


@functools.cache
def start() -> fitting.State:
    """The state before the first step, on the host: every parameter is noise, so that it shows."""
    state = finetune.init(tiny.init(ENCODER), jax.random.key(1), model=MODEL, mesh=tiny.mesh(1))
    rng = np.random.default_rng(5)

    def draw(path, leaf):
        noise = 0.3 * rng.normal(size=leaf.shape).astype(np.float32)
        return noise + (path[-1].key == "scale")

    return jax.device_get(
        state.replace(params=jax.tree_util.tree_map_with_path(draw, state.params))
    )


def train(monkeypatch, bodies, order, **changes):
    """Steps on the batches `order` (n, size) of sequences; a number beyond the last is padding.

    Args:
      changes: of the settings `OPTIM`.

    Returns:
      The state after the steps, on the host, and the mean loss.
    """
    asked = []

    def bernoulli(key, p, shape):
        kept, mask = MASKS[len(asked)]
        asked.append(shape)
        assert p == kept
        assert tuple(shape) == mask.shape
        return jnp.asarray(mask, bool)

    task = tiny.make_task(bodies, bodies, encoder=ENCODER)
    batches = packing.pack(np.array(order), packing.bodies_of(bodies, "packed"), CAPACITY)
    # Without its cache: the masks become constants of the program.
    model = dataclasses.replace(MODEL, optim=ml_collections.FrozenConfigDict(OPTIM | changes))
    step = jax.jit(finetune.train_epoch.__wrapped__, static_argnames=("model", "view"))
    with monkeypatch.context() as patch:
        patch.setattr(jax.random, "bernoulli", bernoulli)
        state, loss = step(
            jax.tree.map(jnp.asarray, start()),
            task.train,
            jnp.asarray(bodies.label),
            batches,
            jax.random.key(2),
            jax.random.key(3),
            model=model,
            view=tiny.first_frame,
        )
    assert len(asked) == len(MASKS)
    return jax.device_get(state), float(loss)
