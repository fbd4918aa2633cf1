"""SLiM: its loss against its definition in float64; its masks and views; eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from amr_jax import methods, pretrain
from amr_jax.config import files
from amr_jax.methods import slim
from tests.methods import small, stopped
from tests.models import reference
from tests.models.params import noisy, views

CLIPS = small.clips(bodies=4)
METHOD = methods.build(small.config("slim"))
EVERYONE = jnp.ones((4, 5), bool)


def several_views(clips):
    """Different clips for each view of a body."""
    shifted = (jnp.roll(clips, i, axis=1) * (1 + 0.1 * i) for i in range(len(METHOD.view_frames)))
    return tuple(x[:, :frames] for x, frames in zip(shifted, METHOD.view_frames, strict=True))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def head(x, p):
    for name in ("fc1", "fc2"):
        x = reference.gelu(reference.linear(x, p[name]))
    x = reference.linear(x, p["fc3"])
    kernel = np.asarray(p["prototypes"]["kernel"], np.float64)
    return x / np.linalg.norm(x, axis=-1, keepdims=True) @ (kernel / np.linalg.norm(kernel, axis=0))


def balanced(logits, temperature, iterations):
    """Targets of rows (R, K)."""
    q = np.exp(logits / temperature)
    for _ in range(iterations):
        q = q / q.sum(0)
        q = q / q.sum(1, keepdims=True)
    return q


def entropy(p, logits, temperature):
    return -(p * np.log(softmax(logits / temperature))).sum(-1)


def nearest_spread(x):
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1) + 9 * np.eye(len(x))
    return -np.log(distance.min(1)).mean()


def test_the_loss_follows_the_definition():
    clips = several_views(CLIPS)
    present = [np.ones(x.shape[:-1], bool) for x in clips]
    present[1][3] = False  # a body is not in its second global view,
    present[0][2, :3] = False  # another not in the first patches of its first,
    present[4][1] = False  # a third one not in a local view
    clips = tuple(jnp.where(here[..., None], x, 0) for x, here in zip(clips, present, strict=True))
    params, average = noisy(METHOD, CLIPS), small.average(METHOD)
    kept, keys, progress = small.variables(METHOD, CLIPS), small.keys(METHOD), 0.1
    heads = kept["average"]["heads"]

    def run(params):
        return METHOD.apply(
            {"params": params, "average": {"encoder": average, "heads": heads}},
            clips,
            tuple(map(jnp.asarray, present)),
            progress=progress,
            rngs=keys,
            capture_intermediates=lambda _, name: name in ("draw_hidden", "draw_masked"),
            mutable="intermediates",
        )

    (loss, metrics), drawn = jax.jit(run)(params)
    hidden_whole, *hidden_local = map(np.asarray, drawn["intermediates"]["draw_hidden"][0])
    masked = np.asarray(drawn["intermediates"]["draw_masked"][0]).argmax(1)
    p = params["encoder"]

    def encoded(p, clip, hidden):
        rows = reference.rotary_encoder(clip, p, 3, 2, np.flatnonzero(hidden))
        return rows[0], rows[2:]  # beside the class token there is one register

    tau = 0.04 + 0.03 * 0.1 / 0.2
    student, teacher, rows, counted = [], [], [], []
    for b in range(4):
        views_of = [encoded(p, clips[g][b], hidden_whole[b] & (masked[b] == g)) for g in range(2)]
        summaries = [summary for summary, _ in views_of]
        for clip, hidden in zip(clips[2:], hidden_local, strict=True):
            summaries.append(encoded(p, clip[b], hidden[b])[0])
        student.append(summaries)
        seen = [encoded(average, clips[g][b], []) for g in range(2)]
        teacher.append([summary for summary, _ in seen])
        here = present[masked[b]][b].reshape(4, 3, 5).any(1).reshape(-1)
        counted.append(hidden_whole[b] & here)
        rows.append((head(views_of[masked[b]][1], params["patch_head"]), seen[masked[b]][1]))

    shown = np.array([[view[b].any() for view in present] for b in range(4)])
    logits = head(np.array(student), params["class_head"])
    logits_t = head(np.array(teacher), heads["class_head"])
    target = np.zeros_like(logits_t)
    target[shown[:, :2]] = balanced(logits_t[shown[:, :2]], tau, 3)
    of_pairs = [
        entropy(target[b, g], logits[b, s], 0.1)
        for b in range(4) for s in range(6) for g in range(2)
        if s != g and shown[b, s] and shown[b, g]
    ]  # fmt: skip
    assert len(of_pairs) == 4 * 10 - (1 + 5) - 2  # the second view of one body, a local of another

    counted = np.array(counted)
    patch_t = head(np.array([seen for _, seen in rows]), heads["patch_head"])
    target = np.zeros_like(patch_t)
    target[counted] = balanced(patch_t[counted], tau, 3)
    of_patches = entropy(target, np.array([logits for logits, _ in rows]), 0.1)
    of_bodies = [of_patches[b][counted[b]].mean() for b in range(4) if counted[b].any()]

    student = np.array(student)
    koleo = np.mean([nearest_spread(student[shown[:, g], g]) for g in range(2)])
    terms = {"class_loss": np.mean(of_pairs), "koleo": koleo, "patch_loss": np.mean(of_bodies)}
    for name, expected in terms.items():
        np.testing.assert_allclose(metrics[name], expected, rtol=2e-4, err_msg=name)
    expected = terms["class_loss"] + 0.1 * koleo + terms["patch_loss"]
    np.testing.assert_allclose(loss, expected, rtol=2e-4)
    everyone = student[:, :2][shown[:, :2]]
    np.testing.assert_allclose(metrics["feature_std"], everyone.std(0).mean(), rtol=1e-4)
    for name, x in (("class", logits_t[shown[:, :2]]), ("patch", patch_t[counted])):
        mean = softmax(x / tau).mean(0)
        usage = -(mean * np.log(mean)).sum() / np.log(7)
        np.testing.assert_allclose(metrics[f"{name}_usage"], usage, rtol=1e-3)


def drawn(method, num_times, joints=EVERYONE, seed=0):
    rngs = {"mask": jax.random.key(seed)}
    return method.apply({}, joints, num_times, rngs=rngs, method="draw_hidden")


@pytest.mark.parametrize("masking", ["tube", "random"])
def test_shares_that_are_hidden_are_spread_evenly(masking):
    method = methods.build(small.config("slim", masking=masking))
    joints = jnp.ones((50, 5), bool)
    long, short = jax.jit(lambda: drawn(method, (20, 8), joints))()
    assert long.shape == (50, 100)
    assert short.shape == (50, 40)
    even = 0.5 + 0.4 * (np.arange(50) + 0.5) / 50
    for hidden in (long, short):
        share = np.sort(np.asarray(hidden.mean(-1)))
        # Tubes may leave some cells of their budget.
        limit = 0.03 if masking == "random" else 0.08
        np.testing.assert_allclose(share, even, atol=limit)


@pytest.mark.parametrize("masking", ["tube", "random"])
def test_masks_of_bodies_do_not_depend_on_how_many_there_are(masking):
    method = methods.build(small.config("slim", masking=masking))
    few, many = (jnp.stack(drawn(method, (4, 4), EVERYONE[:n])) for n in (2, 4))
    np.testing.assert_array_equal(few, many[:, :2])
    assert (few[0, 0] != few[1, 0]).any()
    lacking = jnp.stack(drawn(method, (4, 4), EVERYONE.at[:, 3:].set(False)))
    assert not lacking.reshape(2, 4, 4, 5)[..., 3:].any()
    assert lacking.any(-1).all()


def test_tubes_hide_neighbours_in_time_more_often_than_random_masks():
    def together(masking):
        method = methods.build(small.config("slim", masking=masking, mask_ratios=(0.5, 0.5)))
        x = drawn(method, (20,), jnp.ones((50, 5), bool))[0].reshape(-1, 20, 5)
        return (x[:, 1:] == x[:, :-1]).mean()

    assert abs(together("random") - 0.5) < 0.05
    assert together("tube") > 0.8


def test_local_views_lie_within_their_global_one():
    """Of a clip whose coordinates tell the time, in frames."""
    method = methods.build(
        small.config("slim", distortion=0.0, local_min=(0.35, 0.05), local_max=(0.7, 0.2))
    )
    clip = jnp.broadcast_to(jnp.arange(100.0)[:, None, None, None], (100, 1, 5, 3))
    view = {
        "num_frames": 12, "min_fraction": 0.5, "max_fraction": 1.0, "min_frames": 1,
        "max_angles": (0.0, 0.0, 0.0), "stream": "joint", "parents": (0, 0, 1, 2, 3),
        "confidence": False,
    }  # fmt: skip

    def draw(key):
        return method.views(key, clip, jnp.int32(80), **view)

    clips, present = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), 200))
    assert tuple(x.shape[1] for x in clips) == method.view_frames == (12, 12, 6, 6, 3, 3)
    assert all(x.all() for x in present)
    # Half-pixel centres: a view of n frames of an interval of `length` spans length · (1 − 1 / n).
    first, last, length = [], [], []
    for x in clips:
        time = np.median(np.asarray(x), axis=(2, 3, 4))  # one axis may be dropped
        span = time[:, -1] - time[:, 0]
        first.append(time.min(1))
        last.append(time.max(1))
        length.append(span / (1 - 1 / x.shape[1]))
    for whole in range(2):
        assert first[whole].min() > -0.5
        assert last[whole].max() < 80
        assert 38 < length[whole].min() < 45
        assert 75 < length[whole].max() < 81.5
        for i, (least, most) in enumerate(((0.35, 0.7), (0.05, 0.2))):
            local = 2 + whole + 2 * i
            inside = length[whole] / 2 / 12 + 0.6  # ends of the interval, noise
            assert (first[local] > first[whole] - inside).all()
            assert (last[local] < last[whole] + inside).all()
            share = length[local] / length[whole]
            assert least - 0.08 < share.min() < share.max() < most + 0.08
            assert share.max() - share.min() > 0.6 * (most - least)


def test_views_are_distorted_half_of_the_time_and_absent_bodies_stay_zero():
    method = methods.build(small.config("slim", bone_change=0.9))
    clip = jnp.stack([CLIPS[0], jnp.zeros_like(CLIPS[0])], axis=1)  # (T, M, V, C)
    view = {
        "num_frames": 12, "min_fraction": 1.0, "max_fraction": 1.0, "min_frames": 1,
        "max_angles": (0.0, 0.0, 0.0), "stream": "joint", "parents": (0, 0, 1, 2, 3),
        "confidence": False,
    }  # fmt: skip

    def draw(method):
        keys = jax.random.split(jax.random.key(1), 200)
        return jax.jit(jax.vmap(lambda key: method.views(key, clip, jnp.int32(12), **view)))(keys)

    clips, present = draw(method)
    for x, here in zip(clips, present, strict=True):
        assert not x[:, :, 1].any()
        assert not here[:, :, 1].any()
        assert here[:, :, 0].all()
    # The first global view always has noise of a centimetre; mirror and bones come and go.
    change = np.abs(np.asarray(clips[0][:, :, 0] - CLIPS[0])).mean((1, 2, 3))
    untouched = change < 0.012
    assert 0.15 < untouched.mean() < 0.38  # of two, each with probability 1/2
    assert change.min() > 0.005
    plain = draw(methods.build(small.config("slim", distortion=0.0)))[0]
    assert np.abs(np.asarray(plain[0][:, :, 0] - CLIPS[0])).mean((1, 2, 3)).max() < 0.012


def test_the_presence_of_joints_in_an_image_is_mirrored_with_them():
    config = small.config("slim", {"channels": 3, "confidence": True}, distortion=1.0)
    method = methods.build(config)
    places = jnp.concatenate([CLIPS[0, ..., :2], jnp.ones((12, 5, 1))], -1)
    clip = places.at[:, 1].set(0)[:, None]  # joint 1 was not found; its opposite is joint 2
    view = {
        "num_frames": 12, "min_fraction": 1.0, "max_fraction": 1.0, "min_frames": 1,
        "max_angles": (0.0, 0.0, 0.3), "stream": "joint", "parents": (0, 0, 1, 2, 3),
        "confidence": True,
    }  # fmt: skip
    clips, present = method.views(jax.random.key(0), clip, jnp.int32(12), **view)
    for x, here in zip(clips, present, strict=True):
        np.testing.assert_array_equal(here[0, 0], [True, True, False, True, True])
        assert not x[:, 0, 2].any()


def test_class_loss_by_hand():
    p = jnp.array([[[1.0, 0.0], [0.5, 0.5]]])
    logits = jnp.log(jnp.array([[[0.5, 0.5], [0.25, 0.75], [0.1, 0.9]]]))
    all_there = jnp.ones((1, 3), bool)
    log = np.log
    of_first = -log(np.array([0.25, 0.1]))  # the other global view, the local one
    of_second = [-(log(0.5) + log(0.5)) / 2, -(log(0.1) + log(0.9)) / 2]
    expected = np.mean([*of_first, *of_second])
    found = slim.class_loss(p, logits, 1.0, all_there[:, :2], all_there)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    alone = slim.class_loss(
        p, logits, 1.0, jnp.array([[True, False]]), all_there.at[0, 1].set(False)
    )
    np.testing.assert_allclose(alone, -log(0.1), rtol=1e-6)


def test_the_teacher_sharpens_less_as_training_goes_on():
    shares = [float(METHOD.temperature(x)) for x in (0.0, 0.1, 0.2, 1.0)]
    np.testing.assert_allclose(shares, [0.04, 0.055, 0.07, 0.07], rtol=1e-6)
    constant = methods.build(small.config("slim", teacher_warmup=0.0))
    assert float(constant.temperature(jnp.float32(0))) == pytest.approx(0.07)
    momentum = [float(METHOD.momentum(jnp.float32(x))) for x in (0, 0.5, 1)]
    np.testing.assert_allclose(momentum, [0.994, 0.997, 1.0], rtol=1e-6)


def test_copies_of_the_heads_start_equal():
    given = views(METHOD, CLIPS, small.everywhere(CLIPS))
    rngs = {"params": jax.random.key(0), **small.keys(METHOD)}
    variables = jax.jit(METHOD.init)(rngs, *given)
    heads = variables["average"]["heads"]
    assert heads.keys() == {"class_head", "patch_head"}
    own = {name: variables["params"][name] for name in heads}
    jax.tree.map(np.testing.assert_array_equal, heads, own)


def test_eight_devices_give_the_loss_of_one():
    clips = several_views(small.clips(bodies=16))
    present = tuple(jnp.ones(x.shape[:-1], bool).at[3].set(False) for x in clips)
    params, average = noisy(METHOD, CLIPS), small.average(METHOD)
    heads, keys = small.variables(METHOD, CLIPS)["average"]["heads"], small.keys(METHOD)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    everywhere, spread = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))

    def loss(params, clips, present):
        given = {"params": params, "average": {"encoder": average, "heads": heads}}
        return METHOD.apply(given, clips, present, rngs=keys)[0]

    on_eight = jax.jit(jax.value_and_grad(loss), in_shardings=(everywhere, spread, spread))
    arguments = (params, clips, present)
    eight = on_eight(*jax.device_put(arguments, (everywhere, spread, spread)))
    one = jax.jit(jax.value_and_grad(loss))(*arguments)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5), eight, one)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits(tiny_ucla, tmp_path, monkeypatch):
    config = files.get_config("slim:nwucla,runlocal")
    config.data_dir, config.input.split = str(tiny_ucla), "train"
    config.encoder.num_frames, config.encoder.patch_len = 8, 2
    config.encoder.width, config.encoder.depth, config.encoder.registers = 8, 1, 1
    # One length of local views: the fewer, the sooner the step is compiled.
    config.model.update(head_hidden=8, head_out=8, num_prototypes=6, local_parts=(2,))
    config.model.update(local_min=(0.3,), local_max=(0.6,))
    config.batch_size, config.epochs, config.checkpoint.epochs = 8, 1, 100  # 6 steps
    state = stopped.and_resumed(config, tmp_path / "stopped", monkeypatch)
    expected = pretrain.run(config, tmp_path / "undisturbed", jax.devices()[:1])
    stopped.check_same_bits(state, expected)
    average, heads = state.average, state.variables["average"]["heads"]
    for copy, own in ((average, state.params["encoder"]), (heads, state.params)):
        moved = jax.tree.map(lambda a, b: (a != b).any(), copy, {k: own[k] for k in copy})
        assert any(jax.tree.leaves(moved))  # the teacher lags behind: it is state of its own
