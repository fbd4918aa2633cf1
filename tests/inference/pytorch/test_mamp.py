"""Published weights give the published results; the conversion loses nothing."""

import jax
import numpy as np
import pytest

from amr_jax import methods
from amr_jax.errors import BadFile, UserError
from amr_jax.inference.pytorch import mamp
from tests.inference.pytorch import published
from tests.methods import small
from tests.models.params import noisy

CLIPS = small.clips(bodies=2, frames=published.TIMES * published.PATCH_LEN, joints=published.JOINTS)
ALL = small.everywhere(CLIPS)
KEY = jax.random.key(5)


def build(state, method="mamp"):
    """The method that a state dict describes, six patches visible."""
    sections = mamp.sections(state, published.HEADS)
    return methods.build(small.config(method, sections["encoder"], **sections["model"]))


@pytest.mark.parametrize("name", ["mamp", "skeleton_mae"])
def test_features_predictions_and_loss_are_the_published_ones(name):
    state = published.state_dict()
    method, model = build(state, name), published.Model(state)
    params, left_out = mamp.from_state_dict(state)
    assert left_out == {}

    @jax.jit
    def run(params):
        ids = method.apply({"params": params}, CLIPS, ALL, rngs={"mask": KEY}, method="draw_mask")
        (loss, _), inside = method.apply(
            {"params": params},
            CLIPS,
            ALL,
            rngs={"mask": KEY},
            capture_intermediates=lambda module, called: (
                module.name in ("encoder", "decoder") and called == "__call__"
            ),
            mutable="intermediates",
        )
        return ids, loss, inside["intermediates"]

    ids, loss, inside = run(params)
    features, prediction = inside["encoder"]["__call__"][0], inside["decoder"]["__call__"][0]
    errors = []
    for body in range(2):
        clip, keep = CLIPS[body], np.asarray(ids[body])
        np.testing.assert_allclose(features[body], model.features(clip, keep), atol=1e-5)
        np.testing.assert_allclose(prediction[body], model.prediction(clip, keep), atol=1e-5)
        errors += model.errors(clip, keep, motion=name == "mamp")
    np.testing.assert_allclose(loss, np.mean(errors), atol=1e-5)


def test_a_downstream_model_gives_its_encoder_and_names_its_head():
    state = published.state_dict(decoder=False, head=True)
    params, left_out = mamp.from_state_dict(state)
    assert params.keys() == {"encoder"}
    assert left_out.keys() == {"head.fc.weight", "head.fc.bias"}
    np.testing.assert_array_equal(left_out["head.fc.weight"], state["head.fc.weight"])

    encoder = build(published.state_dict()).encoder
    features = jax.jit(lambda p: encoder.apply({"params": p}, CLIPS))(params["encoder"])
    expected = published.Model(state).features(CLIPS[1], np.arange(10))
    np.testing.assert_allclose(features[1], expected, atol=1e-5)


@pytest.mark.parametrize("decoder", [True, False])
def test_from_there_to_here_and_back_is_bitwise(decoder):
    state = published.state_dict(decoder)
    back = mamp.to_state_dict(mamp.from_state_dict(state)[0])
    assert back.keys() == state.keys()
    for key, value in state.items():
        assert (back[key].shape, back[key].dtype) == (value.shape, np.float32), key
        assert back[key].tobytes() == value.tobytes(), key


def test_from_here_to_there_and_back_is_bitwise():
    params = noisy(build(published.state_dict()), CLIPS)
    back, left_out = mamp.from_state_dict(mamp.to_state_dict(params))
    assert not left_out
    assert jax.tree.structure(back) == jax.tree.structure(params)
    for value, expected in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        assert value.shape == expected.shape
        assert value.tobytes() == expected.tobytes()


def test_sizes_come_from_the_shapes():
    assert mamp.sections(published.state_dict(), num_heads=4) == {
        "encoder": {
            "num_frames": 8,
            "num_joints": 5,
            "channels": 3,
            "patch_len": 4,
            "width": 8,
            "depth": 2,
            "num_heads": 4,
            "mlp_ratio": 3.0,
        },
        "model": {
            "decoder_width": 12,
            "decoder_depth": 1,
            "decoder_heads": 4,
            "decoder_mlp_ratio": 3.0,
        },
    }
    assert mamp.sections(published.state_dict(decoder=False), 2)["model"] == {}
    # 56 · (61 / 56) is a hair below 61 in floating point: the block would be one unit narrower.
    assert int(56 * mamp.mlp_ratio(width=56, hidden=61)) == 61


@pytest.mark.parametrize("num_heads", [3, 8])
def test_heads_that_do_not_fit_are_refused(num_heads):
    width = {3: "8, the encoder's", 8: "12, the decoder's"}[num_heads]
    message = f"num_heads = {num_heads}: expected a divisor of {width} width"
    with pytest.raises(UserError, match=message):
        mamp.sections(published.state_dict(), num_heads)


def without(key):
    return lambda state: state.pop(key)


def other(key, change):
    return lambda state: state.update({key: change(state[key])})


def gap(state):
    for key in [key for key in state if key.startswith("blocks.1.")]:
        state[key.replace(".1.", ".2.")] = state.pop(key)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.update(cls_token=np.zeros(3)), "the unknown name 'cls_token'; expected no"),
        (without("blocks.1.attn.qkv.bias"), r"no 'blocks\.1\.attn\.qkv\.bias'.*expected all"),
        (without("joints_embed.proj.weight"), r"no 'joints_embed\.proj\.weight'"),
        (without("decoder_embed.weight"), r"no 'decoder_embed\.weight'"),
        (gap, r"unknown name 'blocks\.2\.attn\.proj\.bias'"),
        (dict.clear, r"no 'joints_embed\.proj\.weight' \(but nothing at all"),
        (
            other("norm.weight", lambda x: x[:3]),
            r"norm\.weight of \(3,\) .*expected \(8,\) float32",
        ),
        (
            other("pos_embed", lambda x: x.astype(np.float16)),
            r"pos_embed of \(1, 1, 5, 8\) float16; expected \(1, 1, 5, 8\) float32",
        ),
        (other("norm.bias", lambda x: x * np.nan), r"norm\.bias with numbers that are not finite"),
        (other("temp_embed", lambda x: x[0]), r"shape \(2, 1, 8\); expected \(1, T_e, 1, D\)"),
        (
            other("joints_embed.proj.weight", lambda x: np.concatenate([x, x], 3)),
            r"\(8, 3, 4, 2\) float32; expected \(8, 3, 4, 1\) float32",
        ),
        (
            other("decoder_pred.weight", lambda x: x[:9]),
            r"decoder_pred\.weight of \(9, 12\) float32; expected \(12, 12\) float32",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(spoil, message):
    state = published.state_dict()
    spoil(state)
    with pytest.raises(BadFile, match=rf"^weights\.pth: found .*{message}"):
        mamp.from_state_dict(state, "weights.pth")


def test_parameters_without_a_published_form_are_refused():
    params = mamp.from_state_dict(published.state_dict())[0]
    queries = noisy(methods.build(small.config("amr")), small.clips())
    for tree, message in (
        (queries, r"unknown name 'decoder_blocks\.0\.cross_attn\.kv\.bias'"),
        ({"decoder": params["decoder"]}, r"no 'joints_embed\.proj\.weight'"),
        (params | {"encoder": params["encoder"] | {"cls": np.zeros(3)}}, "unknown name 'cls'"),
        (jax.tree.map(np.float64, params), r"float64; expected .* float32"),
    ):
        with pytest.raises(UserError, match=f"^the parameters: found .*{message}"):
            mamp.to_state_dict(tree)
    with pytest.raises(UserError, match="channels = 5: expected a divisor of 12, the values"):
        mamp.to_state_dict(params, channels=5)
