"""A transformer in plain numpy, float64, one body at a time: written from methods.md."""

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


def mlp(x, p):
    hidden = linear(x, p["fc1"])
    return linear(hidden * 0.5 * (1 + _erf(hidden / math.sqrt(2))), p["fc2"])


def block(x, p, num_heads, context=None):
    """Cross-attention if there is a context, then self-attention if there are weights for it."""
    if context is not None:
        a = p["cross_attn"]
        q = linear(layer_norm(x, p["norm_cross"]), a["q"])
        k, v = np.split(linear(context, a["kv"]), 2, -1)
        x = x + linear(attention(q, k, v, num_heads), a["proj"])
    if "attn" in p:
        q, k, v = np.split(linear(layer_norm(x, p["norm1"]), p["attn"]["qkv"]), 3, -1)
        x = x + linear(attention(q, k, v, num_heads), p["attn"]["proj"])
    return x + mlp(layer_norm(x, p["norm2"]), p["mlp"])


def blocks(x, p, num_heads, context=None):
    i = 0
    while f"block_{i}" in p:
        x = block(x, p[f"block_{i}"], num_heads, context)
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


def encoder(clip, ids, p, patch_len, num_heads):
    x = linear(patches(np.asarray(clip, np.float64), patch_len), p["patch_embed"])
    x = x + position(p["position"])
    return blocks(x if ids is None else x[ids], p, num_heads)


def query_decoder(tokens, p, num_heads):
    x = np.asarray(p["queries"], np.float64) + position(p["position"])
    return linear(blocks(x, p, num_heads, context=linear(tokens, p["embed"])), p["pred"])


def self_attention_decoder(tokens, ids, p, num_heads):
    x = np.array([p["mask_token"]] * len(position(p["position"])), np.float64)
    x[ids] = linear(tokens, p["embed"])
    return linear(blocks(x + position(p["position"]), p, num_heads), p["pred"])
