"""The PyTorch MAMP has the loss and gradients of ours on the same mask, and is timed."""

# ruff: noqa: E402  (PyTorch may be absent)
import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (the extra 'torch') is not installed")

from amr_jax import methods as registry
from amr_jax.benchmark import step as benchmark
from amr_jax.benchmark import torch_mamp
from amr_jax.inference.pytorch import mamp
from amr_jax.ops import masking
from amr_jax.ops.patches import patchify
from tests.benchmark.tiny import SMALL
from tests.methods import small
from tests.models.params import noisy

KEY = jax.random.key(5)
CLIPS = small.clips()
ALL = small.everywhere(CLIPS)


def same_weights(fused):
    """Our method with random parameters, and the PyTorch model with the same ones."""
    method = registry.build(small.config("mamp", decoder_heads=2))
    params = noisy(method, CLIPS)
    weights = mamp.to_state_dict(params)
    sections = mamp.sections(weights, num_heads=2)
    model = torch_mamp.Mamp(sections["encoder"], sections["model"], method.num_kept, fused=fused)
    state = {key: torch.from_numpy(value) for key, value in weights.items()}
    model.load_state_dict(state)
    return method, params, model


@pytest.mark.parametrize("fused", [False, True])
def test_loss_and_gradients_are_ours(fused):
    method, params, model = same_weights(fused)
    ids = method.apply({"params": params}, CLIPS, ALL, rngs={"mask": KEY}, method="draw_mask")
    hidden = [np.setdiff1d(np.arange(20), row) for row in np.asarray(ids)]
    order = torch.from_numpy(np.concatenate([np.asarray(ids), np.stack(hidden)], 1)).long()

    def loss_of(params):
        return method.apply({"params": params}, CLIPS, ALL, rngs={"mask": KEY})[0]

    expected, gradients = jax.jit(jax.value_and_grad(loss_of))(params)
    loss = model(torch.from_numpy(np.array(CLIPS)), order)
    assert loss.item() == pytest.approx(float(expected), rel=1e-5)

    loss.backward()
    state = {name: p.grad.numpy() for name, p in model.named_parameters()}
    theirs, left_out = mamp.from_state_dict(state)
    assert not left_out
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), theirs, gradients
    )


def test_moving_patches_are_hidden(monkeypatch):
    _, _, model = same_weights(fused=False)
    clips = torch.from_numpy(np.array(CLIPS))
    drawn = model.draw_order(clips).numpy()
    np.testing.assert_array_equal(np.sort(drawn, 1), np.tile(np.arange(20), (3, 1)))

    # The same noise everywhere: patches come in the order of their probability.
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, 0.5))
    patches = patchify(jnp.asarray(CLIPS), 3)
    here = jnp.ones((4, 5, 3, 1), bool)
    log_p = np.stack([masking.motion_log_probability(p, here, 0.8) for p in patches])
    rising = np.take_along_axis(log_p, model.draw_order(clips).numpy(), 1)
    assert (np.diff(rising, axis=1) > -1e-6).all()
    assert rising[0, -1] - rising[0, 0] > 0.1


def test_the_step_trains_and_is_timed(monkeypatch):
    optimizers = []
    adamw = torch.optim.AdamW
    monkeypatch.setattr(
        torch.optim, "AdamW", lambda *a, **k: optimizers.append(adamw(*a, **k)) or optimizers[0]
    )
    *_, mamp = benchmark.all_variants(2, "float32", SMALL, with_torch=True)
    mamp.compile(2)
    mamp.warm_up()
    for _ in range(3):
        mamp.time_step()
    losses = mamp.build(mamp.config, 2).run()
    assert len(losses) == 2
    assert len(mamp.step_s) == 3
    assert min(mamp.step_s) > 0
    assert mamp.entry()["compile_s"] is None
    decayed, others = optimizers[0].param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.05, 0)


def test_steps_lower_the_loss():
    variant = benchmark.all_variants(2, "float32", SMALL, with_torch=True)[-2]
    ready = variant.build(variant.config, 2)
    first = ready.run()
    for _ in range(5):
        last = ready.run()
    assert last[0] < first[0]
