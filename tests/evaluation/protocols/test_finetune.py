"""Fine-tuning: its learning rates and random numbers, and the protocol around them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from amr_jax.evaluation import packing
from amr_jax.evaluation.protocols import finetune
from amr_jax.models import heads
from amr_jax.train import optim
from tests.evaluation import tiny


def config(**changes):
    made = ml_collections.ConfigDict(
        {
            "seed": 0,
            "bodies": "packed",
            "second_body": "zeros",
            "epochs": 3,
            "min_steps": 0,
            "test_epochs": 1,
            "batch_size": 8,
            "label_smoothing": 0.1,
            "drop_path": 0.1,
            "head": {"hidden": 16, "dropout": 0.3},
            "optim": {
                "lr": 1e-2,
                "min_lr": 0.0,
                "warmup_epochs": 1,
                "layer_decay": 0.8,
                "scratch_layer_decay": 1.0,
                "weight_decay": 0.05,
                "decay_on": "kernels",
                "b1": 0.9,
                "b2": 0.999,
                "clip_norm": 0.0,
            },
        }
    )
    made.update_from_flattened_dict(changes)
    return made


def separable(seed, num_sequences=24, second=False):
    """Sequences whose class can be read off the coordinates; every third of two bodies."""
    label = np.arange(num_sequences) % 3
    present = [(True, second and i % 3 == 0) for i in range(num_sequences)]
    sequence = np.nonzero(present)[0]
    noise = 0.1 * np.random.default_rng(seed).normal(size=len(sequence))
    return tiny.make_bodies(
        present, label=label, constant=label[sequence] - 1.0 + noise, num_classes=4
    )


def shifted(key, clip, length):
    """A view that shows its key: the clip's first frame, moved."""
    return tiny.first_frame(None, clip, length) + 0.1 * jax.random.normal(key, (3,))


def make_task(train, test, **options):
    return tiny.make_task(train, test, encoder=tiny.ENCODER, **options)


def model(head, dropped=0.0, label_smoothing=0.2):
    how = {
        "weight_decay": 0.0,
        "decay_on": "kernels",
        "b1": 0.9,
        "b2": 0.999,
        "clip_norm": None,
        "min_lr": 0.0,
        "lr": 0.01,
    }
    return finetune.Model(
        encoder=tiny.ENCODER.clone(depth=2, drop_path=dropped),
        head=head,
        optim=ml_collections.FrozenConfigDict(how),
        layer_decay=0.5,
        warmup_steps=0,
        total_steps=10,
        label_smoothing=label_smoothing,
    )


def one_step(dropout, step=0):
    """One step on three sequences and nobody: the states before and after it, and its loss."""
    bodies = tiny.make_bodies([(True, True), (True, False), (True, True)], label=[0, 2, 1])
    task = make_task(bodies, bodies)
    made = model(heads.FinetuneHead(4, tiny.JOINTS, hidden=5, dropout=dropout))
    params = tiny.init(made.encoder)
    before = finetune.init(params, jax.random.key(1), model=made, mesh=tiny.mesh(1))
    before = before.replace(step=before.step + step)
    kept = jax.device_get(before)
    of_sequences = packing.bodies_of(bodies, "packed")
    batches = packing.pack(np.array([[0, 1, 2, 3]]), of_sequences, 6)
    after, loss = finetune.train_epoch(
        before,
        task.train,
        jnp.asarray(bodies.label),
        batches,
        jax.random.key(2),
        jax.random.key(3),
        model=made,
        view=tiny.first_frame,
    )
    return kept, jax.device_get(after), float(loss)


def test_first_step_moves_each_parameter_by_its_own_learning_rate():
    before, after, _ = one_step(dropout=0.0)
    assert after.step == 1
    scales = optim.layer_scales(before.params, depth=2, decay=0.5)

    # BatchNorm takes out again what the last norm's bias adds: its gradient is rounding noise.
    for params in (before.params, after.params):
        params["encoder"]["norm"].pop("bias")
    scales["encoder"]["norm"].pop("bias")

    def check(scale, was, now):
        # Adam's first step is lr · sign(gradient), where the gradient is well above its epsilon.
        assert np.abs(now - was).max() == pytest.approx(0.01 * scale, rel=1e-3)

    jax.tree.map(check, scales, before.params, after.params)


def test_each_step_drops_other_features():
    first, again, second = (one_step(dropout=0.5, step=step)[2] for step in (0, 0, 1))
    assert first == again
    assert abs(first - second) > 1e-3


def test_bodies_of_a_sequence_share_the_view_and_sequences_and_epochs_do_not():
    bodies = tiny.make_bodies([(True, True), (True, True)])
    task = make_task(bodies, bodies)
    made = model(heads.FinetuneHead(4, tiny.JOINTS, hidden=5, dropout=0.3))
    params = {"encoder": tiny.init(made.encoder)}

    def by_key_alone(key, clip, length):
        return jax.random.normal(key, (tiny.FRAMES, *clip.shape[1:]))

    @jax.jit
    def features(body, row, key):
        batch = packing.Batch(jnp.array([0, 1]), body, row)
        key = jax.random.key(key)
        return finetune.sequence_features(made, params, task.train, batch, key, by_key_alone, None)

    bodies, rows = jnp.array([0, 1, 2, 3]), jnp.array([0, 0, 1, 1])
    both = features(bodies, rows, 0)
    one_each = features(jnp.array([0, 2, -1, -1]), jnp.array([0, 1, 2, 2]), 0)
    np.testing.assert_allclose(both, one_each, atol=1e-6)
    assert np.abs(both[0] - both[1]).max() > 1e-3
    assert np.abs(both - features(bodies, rows, 1)).max() > 1e-3


def test_protocol_learns_what_can_be_learned():
    task = make_task(separable(0), separable(1, 15))
    lines = []
    settings = config(epochs=15, test_epochs=4)
    outcome = finetune.run(task, settings, lambda e, m: lines.append((e, dict(m))))
    np.testing.assert_array_equal(outcome.predictions, task.test.host.label)
    assert [epoch for epoch, _ in lines] == list(range(1, 16))
    tested = {epoch: m["top1"] for epoch, m in lines if "top1" in m}
    assert list(tested) == [4, 8, 12, 15]
    # The head is the last epoch; the first epoch that tested best is named beside it.
    assert outcome.metrics["top1"] == tested[15] == 1
    best = max(tested.values())
    assert outcome.metrics["best_epoch"] == next(e for e in tested if tested[e] == best)
    assert outcome.metrics["epochs"] == 15
    assert lines[-1][1]["train_loss"] < lines[0][1]["train_loss"]


@functools.cache
def trained(devices, bodies):
    """A training of odd numbers of bodies with everything random; and what it was tested on."""
    train, test = separable(0, 21, second=True), separable(1, 13, second=True)
    task = make_task(train, test, devices=devices, view=shifted)
    before = jax.tree.map(lambda x: np.array(x, copy=True), task.params)
    settings = config(epochs=2, bodies=bodies, drop_path=0.5)
    outcome = finetune.run(task, settings, lambda *_: None)
    # The encoder that was handed in is bitwise the same afterwards.
    jax.tree.map(np.testing.assert_array_equal, before, task.params)
    after = outcome.classifier.params["encoder"]
    assert np.abs(after["norm"]["scale"] - before["norm"]["scale"]).max() > 1e-4
    return outcome, test


def test_devices_change_nothing_but_rounding():
    (one, _), (eight, _) = trained(1, "packed"), trained(8, "packed")
    np.testing.assert_allclose(one.scores, eight.scores, atol=2e-3)
    assert one.metrics == pytest.approx(eight.metrics, abs=1e-3)


def test_a_random_encoder_has_a_layer_decay_of_its_own():
    def scores(pretrained, **decays):
        task = make_task(separable(0), separable(1, 15), pretrained=pretrained)
        changes = {f"optim.{key}": value for key, value in decays.items()}
        return finetune.run(task, config(epochs=1, **changes), lambda *_: None).scores

    scratch = scores(False)
    np.testing.assert_array_equal(scratch, scores(True, layer_decay=1.0))
    assert np.abs(scratch - scores(True)).max() > 1e-3
    np.testing.assert_array_equal(scratch, scores(False, layer_decay=0.1))


@pytest.mark.parametrize("bodies", ["packed", "all"])
def test_the_trained_classifier_gives_the_scores_of_the_test(bodies):
    outcome, test = trained(1, bodies)
    found = outcome.classifier
    head = heads.build(found.head, found.head_settings)
    clips = np.zeros((2 * len(test.label), tiny.FRAMES, tiny.JOINTS, 3), np.float32)
    slots = np.flatnonzero(test.present)
    clips[slots] = tiny.first_frames(test)[:, None]
    sequence = np.repeat(np.arange(len(test.label)), 2)
    if found.bodies == "packed":
        clips, sequence = clips[slots], sequence[slots]
    tokens = jax.jit(tiny.ENCODER.apply)({"params": found.params["encoder"]}, clips)
    x = heads.mean_over_bodies(head.of_body(tokens), sequence, len(test.label))
    variables = {"params": found.params["head"], "batch_stats": found.batch_stats["head"]}
    np.testing.assert_allclose(head.apply(variables, x), outcome.scores, atol=1e-4)
    np.testing.assert_array_equal(outcome.scores.argmax(axis=1), outcome.predictions)


def test_a_subset_is_all_that_its_training_sees():
    train, test = separable(0), separable(1)
    chosen = np.array([1, 2, 3, 10, 17], np.int32)
    outside = ~np.isin(train.sequence, chosen)
    frames = train.frames.copy()
    frames[np.repeat(outside, train.length)] = np.nan
    spoilt = dataclasses.replace(
        train, frames=frames, label=np.where(np.isin(np.arange(24), chosen), train.label, 3)
    )
    scores, epochs = [], []
    for bodies in (train, spoilt):
        task = make_task(bodies, test, view=shifted)
        trainer = finetune.Trainer(task, config(min_steps=5), [chosen])
        outcome = trainer.fit(chosen, jax.random.key(0), lambda epoch, _: epochs.append(epoch))
        scores.append(outcome.scores)
    np.testing.assert_array_equal(*scores)
    # 5 sequences are one batch an epoch: 3 epochs became 5 steps.
    assert epochs == [1, 2, 3, 4, 5] * 2
