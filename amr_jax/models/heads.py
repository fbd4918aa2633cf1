"""Classifiers on top of the encoder, and the read-outs of its tokens.

The tokens of a body become one vector (a read-out; `of_body` of a head), the vector of a sequence
is the mean over its bodies (`mean_over_bodies`), and the head turns it into logits. All of it is
float32: GPUs and TPUs multiply with fewer bits by default, so the products, which are small, ask
for all of them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.models import layers

# The default of torch, in which both heads are published.
_STATISTICS_MOMENTUM = 0.1

KERNEL_STD = 0.01  # of the initial kernel of the linear head, as published
NORM_EPSILON = 1e-6  # of its BatchNorm, as published

_EXACT = jax.lax.Precision.HIGHEST


def mean(tokens: jax.Array, num_joints: int) -> jax.Array:
    """The mean of all tokens, (B, D): over time and joints, as published."""
    del num_joints
    return tokens.astype(jnp.float32).mean(axis=1)


def joint(tokens: jax.Array, num_joints: int) -> jax.Array:
    """The mean over time of each joint's tokens, (B, V · D): it keeps which joint moved."""
    return _over_time(tokens, num_joints).mean(axis=1).reshape(tokens.shape[0], -1)


def joint_deviation(tokens: jax.Array, num_joints: int) -> jax.Array:
    """`joint`, then the standard deviation (of n) of the same tokens, (B, 2 · V · D)."""
    deviation = _over_time(tokens, num_joints).std(axis=1).reshape(tokens.shape[0], -1)
    return jnp.concatenate([joint(tokens, num_joints), deviation], axis=1)


def everything(tokens: jax.Array, num_joints: int) -> jax.Array:
    """All tokens, one after the other, (B, N · D)."""
    del num_joints
    return tokens.astype(jnp.float32).reshape(tokens.shape[0], -1)


def _over_time(tokens: jax.Array, num_joints: int) -> jax.Array:
    """Tokens (B, T_e · V, D) -> (B, T_e, V, D) float32."""
    bodies, _, width = tokens.shape
    return tokens.astype(jnp.float32).reshape(bodies, -1, num_joints, width)


# Read-outs of a frozen encoder: (tokens (B, N, D) of bodies, V) -> (B, F) float32. Every token
# counts, those of frames without the body, too: the encoder sees zeros there, and says so.
READOUTS: dict[str, Callable[[jax.Array, int], jax.Array]] = {
    "mean": mean,
    "joint": joint,
    "joint_deviation": joint_deviation,
    "everything": everything,
}


def mean_over_bodies(features: jax.Array, sequence: jax.Array, num_sequences: int) -> jax.Array:
    """Features of bodies (B, F) -> means over those of each sequence (S, F), float32.

    Args:
      features: of bodies.
      sequence: (B,) int32, sequence index of each body; `num_sequences` marks padding.
      num_sequences: S. A sequence without a body gets zeros.
    """

    def sums(x):
        return jax.ops.segment_sum(x.astype(jnp.float32), sequence, num_sequences)

    counted = sums(jnp.ones_like(sequence))
    return sums(features) / jnp.maximum(counted, 1)[:, None]


class BatchNorm(nn.Module):
    """Normalisation by the statistics of the real rows of a batch, as BatchNorm1d of torch.

    Under jit over a mesh the statistics are those of the whole batch, however it is split over the
    devices. Evaluation uses running statistics. As in torch, the batch is normalised with the
    biased variance, and the running variance is the unbiased one.

    Attributes:
      epsilon: added to the variance.
      affine: whether a learned scale and bias follow.
    """

    epsilon: float
    affine: bool = True

    @nn.compact
    def __call__(
        self, x: jax.Array, real: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """(S, F) -> (S, F) float32; `real` (S,) is False for padding rows, None: no padding."""
        x = x.astype(jnp.float32)
        width = x.shape[-1:]
        mean = self.variable("batch_stats", "mean", jnp.zeros, width)
        var = self.variable("batch_stats", "var", jnp.ones, width)
        if train:
            weight = jnp.ones(len(x)) if real is None else real.astype(jnp.float32)
            n = jnp.maximum(weight.sum(), 1)
            batch_mean = jnp.dot(weight, x, precision=_EXACT) / n
            batch_var = jnp.dot(weight, jnp.square(x - batch_mean), precision=_EXACT) / n
            x = (x - batch_mean) * jax.lax.rsqrt(batch_var + self.epsilon)
            if not self.is_initializing():
                unbiased = batch_var * n / jnp.maximum(n - 1, 1)
                mean.value += _STATISTICS_MOMENTUM * (batch_mean - mean.value)
                var.value += _STATISTICS_MOMENTUM * (unbiased - var.value)
        else:
            x = (x - mean.value) * jax.lax.rsqrt(var.value + self.epsilon)
        if self.affine:
            x = x * self.param("scale", nn.initializers.ones, width)
            x = x + self.param("bias", nn.initializers.zeros, width)
        return x


class LinearHead(nn.Module):
    """The linear probe: BatchNorm without affine parameters, one Dense layer.

    Attributes:
      num_classes: K.
      readout: how the tokens of a body become its features, one of `READOUTS`.
      num_joints: V; the mean needs none.
    """

    num_classes: int
    readout: str = "mean"
    num_joints: int = 1

    def of_body(self, tokens: jax.Array) -> jax.Array:
        """Tokens (B, N, D) -> features (B, F), float32."""
        return READOUTS[self.readout](tokens, self.num_joints)

    @nn.compact
    def __call__(
        self, x: jax.Array, real: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Features of sequences (S, F) -> logits (S, K); `real` as in `BatchNorm`."""
        x = BatchNorm(epsilon=NORM_EPSILON, affine=False, name="norm")(x, real, train)
        dense = nn.Dense(
            self.num_classes,
            kernel_init=nn.initializers.normal(KERNEL_STD),
            precision=_EXACT,
            name="dense",
        )
        return dense(x)


class FinetuneHead(nn.Module):
    """The head of fine-tuning: dropout before the means, then Dense, BatchNorm, ReLU, Dense.

    Attributes:
      num_classes: K.
      num_joints: V.
      hidden: features between the Dense layers.
      dropout: share of the D features of each token to drop in training.
    """

    num_classes: int
    num_joints: int
    hidden: int
    dropout: float

    def of_body(self, tokens: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Tokens (B, T_e · V, D) -> their means over time (B, V · D), float32.

        Args:
          tokens: of the encoder.
          key: of dropout, which acts on tokens, as published: after the means, it would be several
            times as strong. None: nothing is dropped.
        """
        # JAX draws element by element: bodies of padding at the end, which depend on the number of
        # devices, do not change the masks of the others.
        drop = nn.Dropout(self.dropout, parent=None)  # has no variables
        x = drop.apply({}, tokens.astype(jnp.float32), deterministic=key is None, rng=key)
        return joint(x, self.num_joints)

    @nn.compact
    def __call__(
        self, x: jax.Array, real: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Features of sequences (S, V · D) -> logits (S, K); `real` as in `BatchNorm`."""
        # Published code has a bias here. BatchNorm cancels it: its gradient is rounding noise, of
        # which Adam would make full steps.
        x = nn.Dense(
            self.hidden,
            use_bias=False,
            kernel_init=nn.initializers.xavier_uniform(),
            precision=_EXACT,
            name="fc1",
        )(x)
        x = nn.relu(BatchNorm(epsilon=1e-5, name="norm")(x, real, train))  # epsilon: torch's
        return layers.dense(self.num_classes, jnp.float32, "fc2", _EXACT)(x)


def linear_settings(num_classes: int, readout: str, encoder: nn.Module) -> dict[str, Any]:
    """The fields of a `LinearHead`; of the mean, as model files have always had them."""
    if readout == "mean":
        return {"num_classes": num_classes}
    return {"num_classes": num_classes, "readout": readout, "num_joints": encoder.num_joints}


HEADS: dict[str, type[nn.Module]] = {"linear": LinearHead, "finetune": FinetuneHead}


def build(head: str, settings: Mapping[str, Any]) -> nn.Module:
    """The head called `head` with the fields `settings`, one of `HEADS`."""
    return HEADS[head](**settings)
