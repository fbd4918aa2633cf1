"""MAMP and AMR in PyTorch have our loss and gradients on the same mask, and are timed."""

# ruff: noqa: E402  (PyTorch may be absent)
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

torch = pytest.importorskip("torch", reason="PyTorch (the extra 'torch') is not installed")

from amr_jax import methods as registry
from amr_jax.benchmark import against_torch, timing, torch_models, torch_step
from amr_jax.benchmark import step as benchmark
from amr_jax.errors import UserError
from amr_jax.inference.pytorch import mamp
from amr_jax.ops import masking
from amr_jax.ops.patches import patchify
from tests.benchmark.tiny import SMALL
from tests.methods import small
from tests.models.params import noisy

KEY = jax.random.key(5)
CLIPS = small.clips()
ALL = small.everywhere(CLIPS)
CHANNELS = 3
CASES = [("mamp", False), ("mamp", True), ("amr", True)]


def model_of(config, fused):
    num_kept = registry.build(config).num_kept
    return torch_models.MODELS[config["method"]](
        config["encoder"], config["model"], num_kept, fused=fused
    )


def in_torch(params):
    """Our parameters, or their gradients, under the names and in the layouts of PyTorch."""
    state = {}
    for path, value in flatten_dict(dict(params)).items():
        value = np.array(value)
        if path[-2] == "patch_embed" and path[-1] == "kernel":  # (l·C, D) -> (D, C, l, 1)
            value = value.reshape(-1, CHANNELS, value.shape[-1]).transpose(2, 1, 0)[..., None]
        elif path[-1] == "kernel":
            value = value.T
        state[mamp.published_name(path)] = torch.from_numpy(np.ascontiguousarray(value))
    return state


def same_weights(name, fused):
    """Our method with random parameters, and the PyTorch model with the same ones."""
    config = small.config(name, decoder_heads=2)
    method, model = registry.build(config), model_of(config, fused)
    params = noisy(method, CLIPS)
    state, wanted = in_torch(params), model.state_dict()
    assert state.keys() == wanted.keys()
    model.load_state_dict({key: x.reshape(wanted[key].shape) for key, x in state.items()})
    return method, params, model


@pytest.mark.parametrize(("name", "fused"), CASES)
def test_loss_and_gradients_are_ours(name, fused):
    method, params, model = same_weights(name, fused)
    ids = method.apply({"params": params}, CLIPS, ALL, rngs={"mask": KEY}, method="draw_mask")
    hidden = [np.setdiff1d(np.arange(20), row) for row in np.asarray(ids)]
    order = torch.from_numpy(np.concatenate([np.asarray(ids), np.stack(hidden)], 1)).long()

    def loss_of(params):
        return method.apply({"params": params}, CLIPS, ALL, rngs={"mask": KEY})[0]

    expected, gradients = jax.jit(jax.value_and_grad(loss_of))(params)
    loss = model(torch.from_numpy(np.array(CLIPS)), order)
    assert loss.item() == pytest.approx(float(expected), rel=1e-5)

    loss.backward()
    ours = in_torch(gradients)
    for key, parameter in model.named_parameters():
        wanted = ours[key].reshape(parameter.shape)
        np.testing.assert_allclose(parameter.grad, wanted, rtol=1e-3, atol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", ["mamp", "amr"])
def test_full_size_models_have_our_parameters(name):
    config = small.full_size(name)
    method = registry.build(config)
    clips = np.zeros((1, 120, 25, 3), np.float32)
    shapes = jax.eval_shape(
        method.init,
        {"params": KEY, "mask": KEY, "drop_path": KEY},
        clips,
        np.ones(clips.shape[:-1], bool),
    )["params"]
    ours = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert sum(p.numel() for p in model_of(config, True).parameters()) == ours


def test_moving_patches_are_hidden(monkeypatch):
    _, _, model = same_weights("mamp", fused=False)
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


def test_amr_draws_every_patch_once_and_anew():
    _, _, model = same_weights("amr", fused=True)
    clips = torch.from_numpy(np.array(CLIPS))
    first, second = model.draw_order(clips).numpy(), model.draw_order(clips).numpy()
    np.testing.assert_array_equal(np.sort(first, 1), np.tile(np.arange(20), (3, 1)))
    assert (first != second).any()


def torch_rows(dtype="float32"):
    rows = benchmark.all_variants(2, dtype, SMALL, with_torch=True)
    return {row.name: row for row in rows if row.framework == "torch"}


@pytest.mark.parametrize("name", ["torch mamp", "torch amr"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_steps_lower_the_loss(name, dtype):
    variant = torch_rows(dtype)[name]
    ready = variant.build(variant.config, 2)
    first = ready.run()
    for _ in range(5):
        last = ready.run()
    assert last[0] < first[0]


def test_bfloat16_multiplies_in_bfloat16():
    found = {}
    for dtype in ("float32", "bfloat16"):
        torch.manual_seed(0)
        variant = torch_rows(dtype)["torch amr"]
        found[dtype] = variant.build(variant.config, 1).run()[0]
    assert found["float32"] != found["bfloat16"]
    assert found["float32"] == pytest.approx(found["bfloat16"], rel=0.05)


def test_the_step_trains_and_is_timed(monkeypatch):
    optimizers = []
    adamw = torch.optim.AdamW
    monkeypatch.setattr(
        torch.optim, "AdamW", lambda *a, **k: optimizers.append(adamw(*a, **k)) or optimizers[0]
    )
    row = torch_rows()["torch amr"]
    row.compile(2)
    row.warm_up()
    for _ in range(3):
        row.time_step()
    assert len(row.step_s) == len(row.cpu_s) == 3
    assert min(row.step_s + row.cpu_s) > 0
    assert row.entry()["compile_s"] is None
    decayed, others = optimizers[0].param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.05, 0)
    # By default only the matrices of linear layers decay, on both sides.
    assert {p.shape for p in decayed["params"]}.isdisjoint({(50, 8), (1, 1, 25, 8), (8,)})


def test_the_compiled_step_is_the_eager_one(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f: lambda *a: f(*a))  # a compiler takes a minute
    losses = []
    for name in ("torch mamp", "torch mamp w/ compile"):
        variant = torch_rows()[name]
        torch.manual_seed(0)
        ready = variant.build(variant.config, 1)
        torch.manual_seed(1)
        losses.append(ready.run())
    assert losses[0] == losses[1]
    assert ready.compile_s > 0


def test_without_a_compiler_the_row_says_so(monkeypatch):
    def fails(f):
        def raising(*args):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

        return raising

    monkeypatch.setattr(torch, "compile", fails)
    row = torch_rows()["torch amr w/ compile"]
    row.compile(1)
    assert row.problem == "torch.compile fails here"
    row.time_step()
    assert row.step_s == row.cpu_s == []


def test_other_work_is_refused():
    for override in ("model.motion_stride=2", "encoder.drop_path=0.1", "optim.layer_decay=0.5"):
        rows = benchmark.all_variants(2, "float32", (*SMALL, override))
        with pytest.raises(UserError, match=f"config.{override.split('=')[0]} = .* with --torch"):
            torch_step.require_same_work(rows[0].config)


def test_ratios_are_of_the_fastest_rows_and_the_same_method_first():
    rows = benchmark.all_variants(2, "float32", SMALL, with_torch=True)
    times = {
        "default": [1.0, 2.0, 3.0],
        "one step a dispatch": [0.1, 0.1, 0.1],  # another dispatch, not the step
        "mamp": [4.0, 4.0, 4.0],
        "torch amr": [1.0, 1.0, 2.0],
        "torch amr w/ compile": [9.0, 9.0, 9.0],
        "torch mamp": [8.0, 8.0, 8.0],
        "torch mamp w/ compile": [2.0, 2.0, 2.0],
        "torch mamp w/ explicit attention": [3.0, 3.0, 3.0],
    }
    for row in rows:
        row.step_s = times.get(row.name, [])
        row.cpu_s = [2 * x for x in row.step_s]
    found = against_torch.compared(rows)
    assert [(e["one"], e["other"]) for e in found] == [
        ("default", "torch amr"),
        ("mamp", "torch mamp w/ compile"),
        ("default", "mamp"),
        ("torch amr", "torch mamp w/ compile"),
    ]
    assert [e["ratio"] for e in found] == [e["cpu_ratio"] for e in found] == [1.5, 2, 0.5, 0.5]
    assert found[0]["ratio_quartiles"] == [1.25, 1.75]
    rows[0].step_s, rows[0].problem = [], timing.OUT_OF_MEMORY
    assert [e["compared"] for e in against_torch.compared(rows)] == [
        "MAMP, here to PyTorch",
        "AMR to MAMP, PyTorch",
    ]
