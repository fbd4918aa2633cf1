"""Attention on TPUs for few tokens: a kernel whose attention matrices never leave the chip.

A program of the kernel holds some bodies with all their queries and keys. XLA writes the matrices
to main memory, forward and backward; here the backward pass computes them again from the logarithms
of the softmax's sums. This is FlashAttention (arXiv 2205.14135) with one tile per head.

Arrays keep the model's layout (B, N, heads · width): moving heads to the front would pad a head of
32 to the 128 lanes of a TPU's registers. A product over a tile of 128 lanes reads the lanes of
several heads; those of the others are set to zero, which costs the matrix unit nothing, as it
multiplies 128 lanes at a time. Matrices are transposed, (K, Q): sums over keys then run over
sublanes, which is cheap, and are rows (1, Q), which memory holds without padding.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import PartitionSpec as P

_LANES = 128
# Bytes of a program's blocks, each of which is held twice (one moves while the other is used).
# Mosaic's limit is 16 MiB.
_BLOCK_BYTES = 3 * 2**20
_LEAST = -0.7 * float(jnp.finfo(jnp.float32).max)

# Whether the kernel is interpreted instead of compiled: for tests, on CPUs.
INTERPRET = False


def attend(
    query: jax.Array, key: jax.Array, value: jax.Array, attended: jax.Array | None
) -> jax.Array:
    """softmax(query · keyᵀ / √width) · value, the softmax in float32.

    Compilers cannot split a kernel over devices. Where the mesh is known (`run.sharding.tracing`),
    each device gets its share of the bodies; bodies that do not split are computed on all of them.

    Args:
      query: (B, Q, heads, width of a head).
      key, value: (B, K, heads, width of a head).
      attended: (B, K) bool, the keys that count; None: all.

    Returns:
      (B, Q, heads, width of a head).
    """
    heads = query.shape[2]
    flat = [x.reshape(*x.shape[:2], -1) for x in (query, key, value)]
    if attended is not None:
        flat.append(attended[:, None].astype(jnp.float32))
    mesh = jax.sharding.get_abstract_mesh()
    local = functools.partial(_attend, heads)
    if not mesh.empty and mesh.size > 1:
        split = P(mesh.axis_names) if len(query) % mesh.size == 0 else P()
        local = jax.shard_map(local, in_specs=split, out_specs=split, check_vma=False)
    return local(*flat).reshape(query.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(heads, *inputs):
    """Of query (B, Q, D), key and value (B, K, D) and, where some keys do not count, (B, 1, K)."""
    return _forward(heads, *inputs)[0]


def _forward(heads, *inputs):
    query = inputs[0]
    bodies, queries, _ = query.shape
    log_total = jax.ShapeDtypeStruct((bodies, heads, queries), jnp.float32)
    body = functools.partial(_forward_body, heads)
    mixed, log_total = _call(body, "attention", inputs, (_like(query), log_total))
    return mixed, (inputs, log_total)


def _backward(heads, kept, d_mixed):
    inputs, log_total = kept
    body = functools.partial(_backward_body, heads)
    given = (d_mixed, log_total, *inputs)
    found = _call(body, "attention_gradient", given, [_like(x) for x in inputs[:3]])
    return *found, *(jnp.zeros_like(x) for x in inputs[3:])


_attend.defvjp(_forward, _backward)


def _like(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _call(of_body, name, inputs, outputs):
    """Runs `of_body` for every body, on references without the axis of bodies."""
    arrays = [*inputs, *outputs]
    bodies = len(arrays[0])
    # Of the last program, bodies beyond the end are undefined, and their results are dropped.
    size = sum(x.size // bodies * x.dtype.itemsize for x in arrays)
    group = min(max(_BLOCK_BYTES // size, 1), bodies)

    def program(*refs):
        def one(i, _):
            of_body(*(ref.at[i] for ref in refs))

        jax.lax.fori_loop(0, group, one, None)

    def blocks(arrays):
        return [pl.BlockSpec((group, *x.shape[1:]), lambda i: (i, 0, 0)) for x in arrays]

    return pl.pallas_call(
        program,
        out_shape=tuple(outputs),
        grid=(pl.cdiv(bodies, group),),
        in_specs=blocks(inputs),
        out_specs=tuple(blocks(outputs)),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",)),
        name=name,
        interpret=INTERPRET,
    )(*inputs)


def _tiles(heads: int, width: int) -> list[tuple[slice, Iterator[tuple[int, jax.Array]]]]:
    """The tiles of lanes, and the heads of each with a mask (1, lanes) of those that are theirs."""
    of_head = width // heads
    fits = width % _LANES == 0 and _LANES % of_head == 0
    size = _LANES if fits else width
    lane = jax.lax.broadcasted_iota(jnp.int32, (1, size), 1)

    def members(start):
        for first in range(0, size, of_head):
            yield (start + first) // of_head, (lane >= first) & (lane < first + of_head)

    return [(slice(start, start + size), members(start)) for start in range(0, width, size)]


def _only(own: jax.Array, x: jax.Array) -> jax.Array:
    """`x` with zeros in the lanes of other heads."""
    return jnp.where(own, x, 0)


def _product(a: jax.Array, b: jax.Array, axis_a: int, axis_b: int) -> jax.Array:
    """The sum over `axis_a` and `axis_b` of the products, in float32."""
    # Of bfloat16, the matrix unit's products are exact.
    exact = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else jax.lax.Precision.DEFAULT
    axes = (((axis_a,), (axis_b,)), ((), ()))
    return jax.lax.dot_general(a, b, axes, exact, preferred_element_type=jnp.float32)


def _logits(q: jax.Array, k: jax.Array, scale: float, attended=None) -> jax.Array:
    """Scaled logits of a head, (K, Q) float32; those of keys that do not count are least."""
    logits = _product(k, q, 1, 1) * scale
    if attended is None:
        return logits
    counts = jnp.broadcast_to(attended[...], logits.shape[::-1]).T
    return jnp.where(counts > 0, logits, _LEAST)


def _forward_body(heads, q_ref, k_ref, v_ref, *refs):
    *attended, out_ref, log_total_ref = refs
    scale = (q_ref.shape[-1] // heads) ** -0.5
    for lanes, members in _tiles(heads, q_ref.shape[-1]):
        q, k, v = q_ref[:, lanes], k_ref[:, lanes], v_ref[:, lanes]
        out = jnp.zeros(q.shape, jnp.float32)
        for head, own in members:
            logits = _logits(q, _only(own, k), scale, *attended)
            largest = logits.max(0, keepdims=True)
            weights = jnp.exp(logits - largest)
            total = weights.sum(0, keepdims=True)
            weights = (weights * (1 / total)).astype(v.dtype)
            out += _product(weights, _only(own, v), 0, 0)
            log_total_ref[head : head + 1] = largest + jnp.log(total)
        out_ref[:, lanes] = out.astype(out_ref.dtype)


def _backward_body(heads, d_out_ref, log_total_ref, q_ref, k_ref, v_ref, *refs):
    *attended, d_q_ref, d_k_ref, d_v_ref = refs
    scale = (q_ref.shape[-1] // heads) ** -0.5
    for lanes, members in _tiles(heads, q_ref.shape[-1]):
        q, k, v, d_out = (ref[:, lanes] for ref in (q_ref, k_ref, v_ref, d_out_ref))
        d_q, d_k, d_v = (jnp.zeros(x.shape, jnp.float32) for x in (q, k, v))
        for head, own in members:
            own_k = _only(own, k)
            logits = _logits(q, own_k, scale, *attended)
            weights = jnp.exp(logits - log_total_ref[head : head + 1])
            d_weights = _product(_only(own, v), d_out, 1, 1)
            mean = (weights * d_weights).sum(0, keepdims=True)
            d_logits = (weights * (d_weights - mean) * scale).astype(q.dtype)
            d_q += _product(d_logits, own_k, 0, 0)
            d_k += _only(own, _product(d_logits, q, 1, 0))
            d_v += _only(own, _product(weights.astype(v.dtype), d_out, 1, 0))
        d_q_ref[:, lanes] = d_q.astype(q.dtype)
        d_k_ref[:, lanes] = d_k.astype(k.dtype)
        d_v_ref[:, lanes] = d_v.astype(v.dtype)
