"""Several steps of fine-tuning are those of the published model in PyTorch, with the same masks."""

# ruff: noqa: E402  (PyTorch may be absent)
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra 'torch') is not installed")

from torch import nn

from amr_jax.benchmark import torch_models
from amr_jax.inference.pytorch import mamp
from tests.evaluation import tiny
from tests.evaluation.protocols import training_mode as fixed

BODIES = tiny.make_bodies([(True, True)] * 6, label=[0, 2, 1, 3, 1, 2])
# Five steps; the last batch but one has a row of padding, as batches of unequal size have.
ORDER = [[0, 1, 2, 3], [5, 4, 1, 0], [2, 3, 5, 0], [3, 1, 4, 6], [1, 2, 0, 5]]


class Masked(nn.Module):
    """Dropout, and stochastic depth, by a given mask."""

    def __init__(self, mask: np.ndarray, kept: float):
        super().__init__()
        self.mask, self.kept = torch.from_numpy(mask), kept

    def forward(self, x):
        return x * self.mask[: len(x)] / self.kept


class Block(torch_models.Block):
    """A block with a `drop_path` for each of its branches."""

    def __init__(self, *sizes, drop_path):
        super().__init__(*sizes, fused=False)
        self.drop_path1, self.drop_path2 = drop_path

    def forward(self, x):
        x = x + self.drop_path1(self.attn(self.norm1(x)))
        return x + self.drop_path2(self.mlp(self.norm2(x)))


class Head(nn.Module):
    """Published: dropout on (N, M, T, J, C), means over T and M, then two layers."""

    def __init__(self, width):
        super().__init__()
        kept, mask = fixed.MASKS[-1]
        self.dropout = Masked(mask, kept)
        self.fc1 = nn.Linear(tiny.JOINTS * width, fixed.HIDDEN)
        self.bn = nn.BatchNorm1d(fixed.HIDDEN)
        self.fc2 = nn.Linear(fixed.HIDDEN, fixed.CLASSES)

    def forward(self, x):
        n, m, t, j, c = x.shape
        x = self.dropout(x.reshape(n * m, t * j, c)).reshape(n, m, t, j, c)
        x = x.mean(2).reshape(n, m, j * c).mean(1)
        return self.fc2(self.bn(self.fc1(x)).relu())


class Finetuned(nn.Module):
    """The published downstream model, under its names."""

    def __init__(self, encoder):
        super().__init__()
        width, length = encoder.width, encoder.patch_len
        self.joints_embed = nn.Module()
        self.joints_embed.proj = nn.Conv2d(3, width, (length, 1), (length, 1))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1, tiny.JOINTS, width))
        self.temp_embed = nn.Parameter(torch.zeros(1, encoder.num_times, 1, width))
        sizes, paths = (width, encoder.num_heads, encoder.mlp_ratio), [nn.Identity()] * 2
        paths += [Masked(mask, kept) for kept, mask in fixed.MASKS[:-1]]
        self.blocks = nn.ModuleList(
            Block(*sizes, drop_path=paths[2 * i : 2 * i + 2]) for i in range(encoder.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = Head(width)

    def forward(self, clips):
        """Clips (N, M, T, V, C) -> logits."""
        n, m = clips.shape[:2]
        x = self.joints_embed.proj(clips.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        _, t, j, _ = x.shape
        x = (x + self.pos_embed + self.temp_embed).flatten(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).reshape(n, m, t, j, -1))


def published_weights(params) -> dict[str, np.ndarray]:
    head = params["head"]
    return {
        **mamp.to_state_dict({"encoder": params["encoder"]}),
        "head.fc1.weight": head["fc1"]["kernel"].T,
        "head.bn.weight": head["norm"]["scale"],
        "head.bn.bias": head["norm"]["bias"],
        "head.fc2.weight": head["fc2"]["kernel"].T,
        "head.fc2.bias": head["fc2"]["bias"],
    }


@pytest.fixture
def model():
    """The model in float64, with the weights of our first state."""
    model = Finetuned(fixed.ENCODER).double()
    weights = published_weights(fixed.start().params)
    # BatchNorm cancels this bias, which our head does without.
    weights["head.fc1.bias"] = np.zeros(fixed.HIDDEN)
    state = {name: torch.from_numpy(np.float64(value)) for name, value in weights.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert missing == ["head.bn.running_mean", "head.bn.running_var"]
    return model


def optimizer_of(model, decay_on):
    """AdamW with layer decay, as published; weight decay as published, or not on embeddings."""
    groups = []
    for name, parameter in model.named_parameters():
        if name.startswith(("joints_embed", "pos_embed", "temp_embed")):
            layer = 0
        else:
            layer = int(name.split(".")[1]) + 1 if name.startswith("blocks") else fixed.DEPTH + 1
        decays = parameter.ndim > 1 and (decay_on == "all" or not name.endswith("_embed"))
        groups.append(
            {
                "params": [parameter],
                "lr_scale": fixed.LAYER_DECAY ** (fixed.DEPTH + 1 - layer),
                "weight_decay": fixed.OPTIM["weight_decay"] if decays else 0.0,
            }
        )
    return torch.optim.AdamW(groups, betas=(fixed.OPTIM["b1"], fixed.OPTIM["b2"]))


def learning_rate(step):
    """Published, with steps for epochs: linear warm-up, then half a cosine."""
    high, low = fixed.OPTIM["lr"], fixed.OPTIM["min_lr"]
    if step < fixed.WARMUP:
        return high * step / fixed.WARMUP
    done = (step - fixed.WARMUP) / (fixed.STEPS - fixed.WARMUP)
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * done))


@pytest.mark.parametrize("decay_on", ["kernels", "all"])
def test_steps_are_those_of_the_published_model(monkeypatch, model, decay_on):
    ours, mean_loss = fixed.train(monkeypatch, BODIES, ORDER, decay_on=decay_on)

    frames = tiny.first_frames(BODIES).reshape(6, 2, 1, tiny.JOINTS, 3)
    clips = torch.from_numpy(np.float64(np.repeat(frames, tiny.FRAMES, axis=2)))
    labels = torch.from_numpy(np.int64(BODIES.label))
    optimizer, losses = optimizer_of(model, decay_on), []
    cross_entropy = nn.CrossEntropyLoss(label_smoothing=fixed.SMOOTHING, reduction="none")
    model.train()
    for step, batch in enumerate(ORDER):
        batch = [sequence for sequence in batch if sequence < 6]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step) * group["lr_scale"]
        each = cross_entropy(model(clips[batch]), labels[batch])
        optimizer.zero_grad()
        each.mean().backward()
        optimizer.step()
        losses += each.tolist()
    assert mean_loss == pytest.approx(np.mean(losses), rel=1e-4)

    statistics = ours.batch_stats["norm"]
    np.testing.assert_allclose(statistics["mean"], model.head.bn.running_mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(statistics["var"], model.head.bn.running_var, rtol=1e-3)
    before, after = published_weights(fixed.start().params), published_weights(ours.params)
    theirs = {name: value.detach().numpy() for name, value in model.named_parameters()}
    for name, value in after.items():
        moved, expected = (np.float64(x) - before[name] for x in (value, theirs[name]))
        if name.endswith("qkv.bias"):
            # Softmax cancels the bias of keys: its gradient is rounding noise.
            moved, expected = (np.delete(x.reshape(3, -1), 1, axis=0) for x in (moved, expected))
        assert np.abs(expected).max() > 1e-4, name
        np.testing.assert_allclose(moved, expected, rtol=0.01, atol=1e-5, err_msg=name)
