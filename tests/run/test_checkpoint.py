"""Saving, restoring, damage, and saves that fail."""

import resource
import shutil

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
import pytest
from etils import epath
from jax.sharding import PartitionSpec as P

from amr_jax.errors import UserError
from amr_jax.run import checkpoint, checkpoint_step, sharding, workdir
from amr_jax.train import step as train_step

# Orbax's own pool of event loops is told of a failure after it has closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


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


def test_the_newest_checkpoints_are_kept_and_the_newest_is_restored(tmp_path):
    saved(tmp_path, *(make_state(value=step) for step in (1.0, 2.0, 3.0)))
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    assert sorted(p.name for p in (tmp_path / checkpoint.FOLDER).iterdir()) == ["2", "3"]
    state = checkpoints.restore(make_state())
    checkpoints.close()
    np.testing.assert_array_equal(state.params["encoder"]["dense"]["kernel"], np.full((3, 4), 3.0))
    assert int(state.step) == 7


@pytest.mark.parametrize(("before", "after"), [(1, 8), (8, 1)])
def test_a_checkpoint_restores_onto_other_devices(tmp_path, before, after):
    def split(state, num_devices):
        """The state with each last axis of 8 split over the devices, the rest on all of them."""
        mesh = sharding.make_mesh(jax.devices()[:num_devices])
        everywhere = sharding.replicated(mesh)
        last_axis = jax.sharding.NamedSharding(mesh, P(None, mesh.axis_names))
        places = jax.tree.map(lambda x: last_axis if x.ndim == 2 else everywhere, state)
        return jax.device_put(jax.device_get(state), places)

    saved(tmp_path, split(make_state(width=8, value=5.0), before))
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    restored = checkpoints.restore(split(make_state(width=8), after))
    checkpoints.close()
    kernel = restored.params["encoder"]["dense"]["kernel"]
    assert len(kernel.sharding.device_set) == after
    assert kernel.addressable_shards[0].data.shape == (3, 8 // after)
    np.testing.assert_array_equal(kernel, np.full((3, 8), 5.0))


def test_another_architecture_is_refused_by_name(tmp_path):
    saved(tmp_path, make_state(width=4))
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    with pytest.raises(
        UserError, match=r"(?s)another architecture.*encoder/dense/kernel: \(3, 4\).*\(3, 5\)"
    ):
        checkpoints.restore(make_state(width=5))
    checkpoints.close()


def biggest(step):
    return max((step / "state").rglob("d/*"), key=lambda file: file.stat().st_size)


def without_metadata(step):
    (step / "state" / "_METADATA").unlink()


def truncated(step):
    """All files of arrays: what Orbax wrote first and then merged may lie beside what it reads."""
    for file in (step / "state").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:-40])


def without_data(step):
    for folder in [*step.rglob("d")]:
        shutil.rmtree(folder)


def without_checksums(step):
    shutil.rmtree(step / "checksums")


def of_other_bits(step):
    """Intact files of another state, which Orbax reads without an error."""
    saved(step.parent.parent / "other", make_state(value=-2.0))
    shutil.rmtree(step / "state")
    shutil.copytree(
        step.parent.parent / "other" / checkpoint.FOLDER / "1" / "state", step / "state"
    )


DAMAGES = (without_metadata, truncated, without_data, without_checksums, of_other_bits)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_is_set_aside(tmp_path, damage, capsys):
    saved(tmp_path, make_state(value=1.0), make_state(value=2.0))
    folder = tmp_path / checkpoint.FOLDER
    damage(folder / "2")
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    state = checkpoints.restore(make_state())
    np.testing.assert_array_equal(state.params["encoder"]["dense"]["kernel"], np.full((3, 4), 1.0))
    said = capsys.readouterr().out
    assert "checkpoints/2: this checkpoint is damaged" in said
    assert (
        "renamed to damaged-000002; the run resumes from the checkpoint before it, step 1" in said
    )
    assert checkpoints.steps()[0] == 1
    # The step can be saved again, and be damaged again.
    checkpoints.save(2, make_state(value=3.0))
    checkpoints.wait()
    truncated(folder / "2")
    checkpoints.restore(make_state())
    checkpoints.close()
    names = sorted(path.name.partition("-0")[0] for path in folder.iterdir())
    assert names == ["1", "damaged", "damaged"]


def test_any_flipped_byte_of_the_numbers_is_found(tmp_path):
    state = make_state()
    # Not compressible: then what a file holds is largely the numbers themselves.
    bias = np.random.default_rng(0).normal(size=300).astype(np.float32)
    state.params["decoder"]["bias"] = jnp.asarray(bias)
    saved(tmp_path, state)
    step = tmp_path / checkpoint.FOLDER / "1"
    file, found = biggest(step), set()
    content = file.read_bytes()
    for place in range(0, len(content), len(content) // 12):
        flipped = bytearray(content)
        flipped[place] ^= 16
        file.write_bytes(flipped)
        try:
            tree = checkpoint_step.read(epath.Path(step), lambda stored: stored)
            np.testing.assert_array_equal(tree["params"]["decoder"]["bias"], bias)
        except checkpoint_step.Damaged as error:
            found.add("other bits than were saved" in error.reason)
    assert True in found  # some that Orbax would have restored wrong


def test_the_only_checkpoint_is_not_set_aside(tmp_path):
    saved(tmp_path, make_state())
    without_data(tmp_path / checkpoint.FOLDER / "1")
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    with pytest.raises(UserError, match=r"checkpoints/1: .* damaged .* no earlier one.*from the"):
        checkpoints.restore(make_state())
    checkpoints.close()
    assert (tmp_path / checkpoint.FOLDER / "1").exists()


def test_a_temporary_read_error_is_not_damage(tmp_path, monkeypatch):
    saved(tmp_path, make_state(), make_state())
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)

    def busy(self, *args, **kwargs):
        raise ValueError("an array could not be read") from ValueError("UNAVAILABLE: it is busy")

    with monkeypatch.context() as patch:
        patch.setattr("orbax.checkpoint.PyTreeCheckpointHandler.restore", busy)
        with pytest.raises(UserError, match=r"could not be read now .*busy.*left as it is"):
            checkpoints.restore(make_state())
    assert int(checkpoints.restore(make_state()).step) == 7
    assert checkpoints.steps()[0] == 2
    checkpoints.close()


@pytest.mark.parametrize("damage", DAMAGES)
def test_loading_changes_nothing_in_a_run(tmp_path, damage, capsys):
    with_config(tmp_path)
    saved(tmp_path, make_state(value=1.0), make_state(value=2.0))
    damage(tmp_path / checkpoint.FOLDER / "2")
    before = sorted(tmp_path.rglob("*"))
    for load in (checkpoint.load_encoder, checkpoint.load_params):
        tree, _, step = load(tmp_path)
        assert step == 1
        np.testing.assert_array_equal(jax.tree.leaves(tree)[-1], np.full((3, 4), 1.0))
        assert "2: this checkpoint is damaged" in (said := capsys.readouterr().out)
        assert "The checkpoint before it is used, step 1." in said
        with pytest.raises(UserError, match=r"checkpoints/2: this checkpoint is damaged"):
            load(tmp_path, step=2)
    assert sorted(tmp_path.rglob("*")) == before


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
    with pytest.raises(UserError, match=r"kept no average.*no optim.ema_decay"):
        checkpoint.load_encoder(tmp_path, step=1, average=True)
    with pytest.raises(UserError, match=r"found steps 1, 2; expected 9"):
        checkpoint.load_encoder(tmp_path, step=9)


def test_a_workdir_without_a_checkpoint(tmp_path):
    with_config(tmp_path)
    with pytest.raises(UserError, match="no complete checkpoint"):
        checkpoint.load_encoder(tmp_path)


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
        with pytest.raises(
            UserError, match=r"(?s)could not be saved.*last complete one is of step 1"
        ):
            checkpoints.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    again = checkpoint.Checkpoints(tmp_path, keep=2)
    assert again.steps()[0] == 1
    kernel = again.restore(make_state()).params["encoder"]["dense"]["kernel"]
    again.close()
    np.testing.assert_array_equal(kernel, np.full((3, 4), 1.0))


def test_the_workdir_of_an_evaluation_is_refused(tmp_path):
    config = ml_collections.ConfigDict({"protocol": "linear", "pretrained": "/runs/amr"})
    workdir.start(tmp_path, config, set())
    for load in (checkpoint.load_encoder, checkpoint.load_params):
        with pytest.raises(UserError, match=r"evaluation by 'linear'; expected .* as /runs/amr\."):
            load(tmp_path)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("No space left [tensorstore_spec='{…", "No space left"),
        ("No such key See full TensorStore details in the log", "No such key"),
        ("disk is gone\nand more", "disk is gone"),
        ("", "OSError('')"),
    ],
)
def test_only_the_first_line_of_tensorstores_page_is_reported(said, told):
    assert checkpoint_step.first_line(OSError(said)) == told


def test_a_checkpoint_without_checksums_is_restored_with_a_note(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(
            "amr_jax.run.checkpoint_step.save_arguments",
            lambda tree: ocp.args.Composite(state=ocp.args.StandardSave(tree)),
        )
        saved(tmp_path, make_state(value=1.0))
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    assert int(checkpoints.restore(make_state()).step) == 7
    checkpoints.close()
    assert capsys.readouterr().out.count("saved without checksums") == 1
