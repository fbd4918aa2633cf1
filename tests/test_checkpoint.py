"""What a folder of checkpoints refuses, and what it keeps when a save fails."""

import resource
import shutil

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from amr_jax import checkpoint, sharding, train_step, workdir
from amr_jax.errors import UserError


def make_state(width: int = 4, value: float = 0.0, average: bool = False):
    mesh = sharding.make_mesh(jax.devices()[:1])
    encoder = {"dense": {"kernel": np.full((3, width), value, np.float32)}}
    state = train_step.TrainState(
        step=np.int32(7),
        params={"encoder": encoder, "decoder": {"bias": np.zeros(2, np.float32)}},
        opt_state=(np.zeros(2, np.float32),),
        average=encoder if average else {},
        variables={},
    )
    return sharding.put(state, sharding.replicated(mesh))


def saved(folder, *states):
    checkpoints = checkpoint.Checkpoints(folder, keep=2)
    for step, state in enumerate(states, start=1):
        checkpoints.save(step, state)
    checkpoints.close()


def test_the_newest_are_kept_and_the_newest_comes_back(tmp_path):
    saved(tmp_path, *(make_state(value=step) for step in (1.0, 2.0, 3.0)))
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    assert sorted(p.name for p in (tmp_path / checkpoint.FOLDER).iterdir()) == ["2", "3"]
    state = checkpoints.restore(make_state())
    checkpoints.close()
    np.testing.assert_array_equal(state.params["encoder"]["dense"]["kernel"], np.full((3, 4), 3.0))
    assert int(state.step) == 7


def test_a_checkpoint_restores_onto_other_devices(tmp_path):
    saved(tmp_path, make_state(value=5.0))
    mesh = sharding.make_mesh(jax.devices()[:8])
    target = sharding.put(jax.device_get(make_state()), sharding.replicated(mesh))
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    kernel = checkpoints.restore(target).params["encoder"]["dense"]["kernel"]
    checkpoints.close()
    assert len(kernel.sharding.device_set) == 8
    np.testing.assert_array_equal(kernel, np.full((3, 4), 5.0))


def test_another_architecture_is_refused_by_name(tmp_path):
    saved(tmp_path, make_state(width=4))
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    with pytest.raises(
        UserError, match=r"(?s)another architecture.*encoder/dense/kernel: \(3, 4\).*\(3, 5\)"
    ):
        checkpoints.restore(make_state(width=5))
    checkpoints.close()


def test_damage_is_named(tmp_path):
    saved(tmp_path, make_state())
    shutil.rmtree(tmp_path / checkpoint.FOLDER / "1" / "state" / "d")
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    with pytest.raises(UserError, match=r"checkpoints/1: this checkpoint is damaged"):
        checkpoints.restore(make_state())
    checkpoints.close()


def with_config(folder, **optim):
    from ml_collections import ConfigDict

    content = {"method": "amr", "optim": optim, "input": {}, "encoder": {}}
    workdir.start(folder, ConfigDict(content), set())


def test_the_encoder_alone_and_its_average(tmp_path):
    with_config(tmp_path)
    saved(tmp_path, make_state(value=1.0), make_state(value=2.0, average=True))
    encoder, config, step = checkpoint.load_encoder(tmp_path, average=True)
    assert (config.method, step) == ("amr", 2)
    np.testing.assert_array_equal(encoder["dense"]["kernel"], np.full((3, 4), 2.0))
    encoder, _, step = checkpoint.load_encoder(tmp_path, step=1)
    assert step == 1
    np.testing.assert_array_equal(encoder["dense"]["kernel"], np.full((3, 4), 1.0))
    with pytest.raises(UserError, match=r"kept no average.*ema_decay=0"):
        checkpoint.load_encoder(tmp_path, step=1, average=True)
    with pytest.raises(UserError, match=r"found steps 1, 2; expected 9"):
        checkpoint.load_encoder(tmp_path, step=9)


def test_a_workdir_without_a_checkpoint(tmp_path):
    with_config(tmp_path)
    with pytest.raises(UserError, match="no complete checkpoint"):
        checkpoint.load_encoder(tmp_path)


# Orbax's own pool of event loops is told of the failure after it has closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_save_that_fails_leaves_the_one_before(tmp_path):
    saved(tmp_path, make_state(value=1.0))
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    big = make_state(value=2.0)
    big.params["decoder"]["bias"] = jnp.asarray(np.random.default_rng(0).normal(size=500_000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond 100 kB: what a full disk does to a save, without filling one.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        checkpoints.save(2, big)
        with pytest.raises(UserError, match=r"(?s)could not be saved.*last complete .* step 1"):
            checkpoints.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    again = checkpoint.Checkpoints(tmp_path, keep=2)
    assert again.latest_step() == 1
    kernel = again.restore(make_state()).params["encoder"]["dense"]["kernel"]
    again.close()
    np.testing.assert_array_equal(kernel, np.full((3, 4), 1.0))


def test_an_evaluation_is_not_taken_for_a_run(tmp_path):
    config = ml_collections.ConfigDict({"protocol": "linear", "pretrained": "/runs/amr"})
    workdir.start(tmp_path, config, set())
    for load in (checkpoint.load_encoder, checkpoint.load_params):
        with pytest.raises(UserError, match=r"evaluation by 'linear'; expected .* as /runs/amr\."):
            load(tmp_path)
