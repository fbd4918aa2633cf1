"""A transformer in plain numpy, float64, one body at a time: written from docs/methods.md."""

import math

import numpy as np

_erf = np.vectorize(math.erf)


def linear(x, p):
    return x @ np.asarray(p["kernel"], np.float64) + np.asarray(p["bias"], np.float64)


def layer_norm(x, p):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * np.asarray(p["scale"], np.float64) + np.asarray(p["bias"], np.float64)


def attention(q, k, v, num_heads):
    size = q.shape[-1] // num_heads
    out = []
    for h in range(num_heads):
        part = slice(h * size, (h + 1) * size)
        score = q[:, part] @ k[:, part].T / math.sqrt(size)
        score = np.exp(score - score.max(-1, keepdims=True))
        out.append(score / score.sum(-1, keepdims=True) @ v[:, part])
    return np.concatenate(out, -1)


def turned(x, times, num_heads):
    """Rotary positions, (N, D): every head's features i and i + half as one complex number."""
    rows = []
    for row, time in zip(x.reshape(len(x), num_heads, -1), times, strict=True):
        half = row.shape[-1] // 2
        speed = np.array([10_000 ** (-i / half) for i in range(half)])
        z = (row[:, :half] + 1j * row[:, half:]) * np.exp(1j * time * speed)
        rows.append(np.concatenate([z.real, z.imag], -1).reshape(-1))
    return np.array(rows)


def gelu(x):
    return x * 0.5 * (1 + _erf(x / math.sqrt(2)))


def mlp(x, p):
    x = linear(x, p["fc1"])
    if x.shape[-1] == len(p["fc2"]["kernel"]):
        return linear(gelu(x), p["fc2"])
    gate, value = np.split(x, 2, -1)
    return linear(gate / (1 + np.exp(-gate)) * value, p["fc2"])


def block(x, p, num_heads, context=None, kept=(1, 1), times=None):
    """Cross-attention if there is a context, then self-attention if there are weights for it.

    `kept` are the factors of self-attention and MLP, whose branches stochastic depth may drop.
    `times` of the tokens, where they are rotary.
    """
    if context is not None:
        a = p["cross_attn"]
        q = linear(layer_norm(x, p["norm_cross"]), a["q"])
        k, v = np.split(linear(context, a["kv"]), 2, -1)
        x = x + linear(attention(q, k, v, num_heads), a["proj"])
    if "attn" in p:
        q, k, v = np.split(linear(layer_norm(x, p["norm1"]), p["attn"]["qkv"]), 3, -1)
        if times is not None:
            q, k = turned(q, times, num_heads), turned(k, times, num_heads)
        x = x + kept[0] * linear(attention(q, k, v, num_heads), p["attn"]["proj"])
    return x + kept[1] * mlp(layer_norm(x, p["norm2"]), p["mlp"])


def blocks(x, p, num_heads, context=None, kept=(), times=None):
    i = 0
    while f"block_{i}" in p:
        factors = kept[i] if kept else (1, 1)
        x = block(x, p[f"block_{i}"], num_heads, context, factors, times)
        i += 1
    return layer_norm(x, p["norm"])


def position(p):
    time, joint = np.asarray(p["time"], np.float64), np.asarray(p["joint"], np.float64)
    return np.stack([t + j for t in time for j in joint])


def patches(clip, length):
    """(T, V, C) -> (N, length·C), time by time, joint by joint."""
    return np.stack(
        [
            np.concatenate([clip[frame, joint] for frame in range(start, start + length)])
            for start in range(0, clip.shape[0], length)
            for joint in range(clip.shape[1])
        ]
    )


def encoder(clip, ids, p, patch_len, num_heads, kept=()):
    x = linear(patches(np.asarray(clip, np.float64), patch_len), p["patch_embed"])
    x = x + position(p["position"])
    return blocks(x if ids is None else x[ids], p, num_heads, kept=kept)


def rotary_encoder(clip, p, patch_len, num_heads, hidden=()):
    """Tokens in front and of all patches; those `hidden` have the mask token."""
    x = linear(patches(np.asarray(clip, np.float64), patch_len), p["patch_embed"])
    joint = np.asarray(p["position"]["joint"], np.float64)
    leading = np.asarray(p["leading_tokens"], np.float64)
    x[list(hidden)] = p["mask_token"]
    x = np.concatenate([leading, x + np.tile(joint, (len(x) // len(joint), 1))])
    times = [0] * len(leading) + [i // len(joint) for i in range(len(x) - len(leading))]
    return blocks(x, p, num_heads, times=times)


def query_decoder(tokens, p, num_heads):
    x = np.asarray(p["queries"], np.float64) + position(p["position"])
    return linear(blocks(x, p, num_heads, context=linear(tokens, p["embed"])), p["pred"])


def mask_tokens_inserted(tokens, ids, p):
    x = np.array([p["mask_token"]] * len(position(p["position"])), np.float64)
    x[ids] = linear(tokens, p["embed"])
    return x + position(p["position"])


def pooled(x, num_joints, times):
    """Means over `times` tokens of the same joint that follow each other in time."""
    rows = x.reshape(-1, num_joints, x.shape[-1])
    return np.concatenate(
        [rows[start : start + times].mean(0) for start in range(0, len(rows), times)]
    )


def self_attention_decoder(tokens, ids, p, num_heads, pool=1):
    num_joints = len(p["position"]["joint"])
    x = pooled(mask_tokens_inserted(tokens, ids, p), num_joints, pool)
    return linear(blocks(x, p, num_heads), p["pred"])


def decoder_masking(tokens, ids, ids_decode, p, num_heads):
    everything = mask_tokens_inserted(tokens, ids, p)
    x = everything[np.concatenate([ids, ids_decode])]  # the order does not matter to attention
    return linear(blocks(x, p, num_heads), p["pred"])[len(ids) :]


def pooling_decoder(tokens, ids, p, num_heads, levels, depth):
    num_joints, cell, number, out = len(p["position"]["joint"]), 1, 0, []
    x = mask_tokens_inserted(tokens, ids, p)
    for i, level in enumerate([*levels, None]):
        x = x.mean(0, keepdims=True) if level is None else pooled(x, num_joints, level // cell)
        cell = level
        for _ in range(depth):
            x = block(x, p[f"block_{number}"], num_heads)
            number += 1
        out.append(linear(layer_norm(x, p[f"norm_{i}"]), p[f"pred_{i}"]))
    return out
