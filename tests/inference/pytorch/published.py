"""The published MAMP and skeleton-MAE in numpy, float64, on a state dict as PyTorch names it.

Written from the models' description, without amr_jax: one body at a time, convolution, heads and
loss spelled out.
"""

import math

import numpy as np

# T_e, V, l and C all differ, so that no two axes can be mistaken for each other.
TIMES, JOINTS, PATCH_LEN, CHANNELS = 2, 5, 4, 3
WIDTH, HIDDEN, DEPTH = 8, 24, 2
DECODER_WIDTH, DECODER_HIDDEN, DECODER_DEPTH = 12, 36, 1
HEADS = 2


def state_dict(decoder=True, head=False, joints=JOINTS, times=TIMES):
    """Random weights under the published names."""
    shapes = {
        "joints_embed.proj.weight": (WIDTH, CHANNELS, PATCH_LEN, 1),
        "joints_embed.proj.bias": (WIDTH,),
        **_transformer("", WIDTH, HIDDEN, DEPTH, joints, times),
    }
    if decoder:
        shapes |= {
            "decoder_embed.weight": (DECODER_WIDTH, WIDTH),
            "decoder_embed.bias": (DECODER_WIDTH,),
            "mask_token": (1, 1, DECODER_WIDTH),
            **_transformer("decoder_", DECODER_WIDTH, DECODER_HIDDEN, DECODER_DEPTH, joints, times),
            "decoder_pred.weight": (PATCH_LEN * CHANNELS, DECODER_WIDTH),
            "decoder_pred.bias": (PATCH_LEN * CHANNELS,),
        }
    if head:
        shapes |= {"head.fc.weight": (60, WIDTH), "head.fc.bias": (60,)}
    rng = np.random.default_rng(3)
    return {key: rng.normal(0, 0.3, shape).astype(np.float32) for key, shape in shapes.items()}


def _transformer(prefix, width, hidden, depth, joints, times):
    shapes = {
        f"{prefix}temp_embed": (1, times, 1, width),
        f"{prefix}pos_embed": (1, 1, joints, width),
    }
    for block in (f"{prefix}blocks.{i}" for i in range(depth)):
        for layer, (rows, columns) in {
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "mlp.fc1": (hidden, width),
            "mlp.fc2": (width, hidden),
        }.items():
            shapes[f"{block}.{layer}.weight"] = (rows, columns)
            shapes[f"{block}.{layer}.bias"] = (rows,)
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}.{norm}.weight": (width,), f"{block}.{norm}.bias": (width,)}
    return shapes | {f"{prefix}norm.weight": (width,), f"{prefix}norm.bias": (width,)}


class Model:
    """The forward pass; `state` as `state_dict` makes it."""

    def __init__(self, state, heads=HEADS):
        self.state = {key: np.asarray(value, np.float64) for key, value in state.items()}
        self.heads = heads

    def features(self, clip, keep):
        """Clip (T, V, C) and the visible patches' ids (K,), time · V + joint -> (K, D)."""
        s = self.state
        x = self.convolve(np.asarray(clip, np.float64))  # (T_e, V, D)
        x = x + s["pos_embed"][0] + s["temp_embed"][0]
        x = x.reshape(-1, x.shape[-1])[keep]
        return self.blocks(x, "")

    def prediction(self, clip, keep):
        """-> (N, l·C)."""
        s = self.state
        position = s["decoder_pos_embed"][0] + s["decoder_temp_embed"][0]
        position = position.reshape(-1, position.shape[-1])
        x = np.repeat(s["mask_token"][0], len(position), axis=0)
        x[keep] = self.linear(self.features(clip, keep), "decoder_embed")
        return self.linear(self.blocks(x + position, "decoder_"), "decoder_pred")

    def errors(self, clip, keep, motion):
        """Mean squared error of each hidden patch; the loss is their mean over all bodies.

        The target, joints or (`motion`) steps to the next frame, is normalised within the patch by
        the unbiased variance.
        """
        prediction, target = self.prediction(clip, keep), np.asarray(clip, np.float64)
        if motion:
            target = np.append(target[1:] - target[:-1], np.zeros_like(target[:1]), axis=0)
        length, errors = self.state["joints_embed.proj.weight"].shape[2], []
        for patch in set(range(len(prediction))) - set(np.asarray(keep).tolist()):
            time, joint = divmod(patch, target.shape[1])
            values = [x for frame in target[time * length :][:length] for x in frame[joint]]
            values = np.array(values) - np.mean(values)
            values /= math.sqrt((values**2).sum() / (len(values) - 1) + 1e-6)
            errors.append(np.mean((prediction[patch] - values) ** 2))
        return errors

    def convolve(self, clip):
        """Conv2d over (time, joint), kernel and stride (l, 1): one product per place."""
        weight, bias = (self.state[f"joints_embed.proj.{name}"] for name in ("weight", "bias"))
        width, channels, length, _ = weight.shape
        out = np.empty((len(clip) // length, clip.shape[1], width))
        for time in range(out.shape[0]):
            for joint in range(out.shape[1]):
                for feature in range(width):
                    out[time, joint, feature] = bias[feature] + sum(
                        weight[feature, channel, frame, 0]
                        * clip[time * length + frame, joint, channel]
                        for channel in range(channels)
                        for frame in range(length)
                    )
        return out

    def blocks(self, x, prefix):
        i = 0
        while f"{prefix}blocks.{i}.norm1.weight" in self.state:
            block = f"{prefix}blocks.{i}"
            x = x + self.attention(self.norm(x, f"{block}.norm1"), f"{block}.attn")
            hidden = self.linear(self.norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
            gelu = hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))) / 2
            x = x + self.linear(gelu, f"{block}.mlp.fc2")
            i += 1
        return self.norm(x, f"{prefix}norm")

    def attention(self, x, name):
        # Rows of the fused layer: queries of all heads, then keys, then values.
        width = x.shape[-1]
        size, qkv = width // self.heads, self.linear(x, f"{name}.qkv")
        mixed = np.empty_like(x)
        for head in range(self.heads):
            q, k, v = (qkv[:, i * width + head * size :][:, :size] for i in range(3))
            score = np.exp(q @ k.T / math.sqrt(size))
            mixed[:, head * size : (head + 1) * size] = score / score.sum(1, keepdims=True) @ v
        return self.linear(mixed, f"{name}.proj")

    def linear(self, x, name):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]
