"""The Python interface: data, runs, evaluations and trained models as objects."""

import importlib.util
import inspect
import subprocess
import sys

import numpy as np
import pytest

import amr_jax as amr
from amr_jax.config import files
from amr_jax.inference import predict, read_inputs
from amr_jax.inference.load import load_model
from amr_jax.run import metrics

CLASSES = np.array([3, 7, 10])
TINY = {
    "runlocal": True,
    "epochs": 1,
    "batch_size": 8,
    "steps_per_dispatch": 3,  # one program
    "encoder.num_frames": 24,
    "encoder.depth": 1,
    "encoder.width": 16,
    "model.decoder_width": 16,
}


def clips(count: int = 30, seed: int = 0) -> list[np.ndarray]:
    """Sequences (T, 20, 3) of different lengths, in metres; every third is of one class."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(12, 20, count)
    still = rng.normal(scale=0.5, size=(3, 1, 20, 3))
    return [still[i % 3] + 0.02 * rng.normal(size=(n, 20, 3)) for i, n in enumerate(frames)]


@pytest.fixture(scope="module")
def run():
    x = clips()
    data = amr.load_data(x, y=CLASSES[np.arange(len(x)) % 3], layout="kinect_20")
    return amr.pretrain("amr", data, **TINY)


@pytest.fixture(scope="module")
def probe(run):
    return run.linear_probe(epochs=20)


def test_import_is_cheap_and_names_are_there():
    code = (
        "import sys, time; t = time.process_time(); import amr_jax as amr; "
        "assert time.process_time() - t < 0.2; assert 'jax' not in sys.modules; "
        "assert 'numpy' not in sys.modules; assert set(amr.__all__) <= set(dir(amr))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ORDERS = """
import sys
for order in (
    "import amr_jax.pretrain; import amr_jax as amr",
    "import amr_jax as amr; amr.pretrain; import amr_jax.pretrain",
    "from amr_jax import pretrain; import amr_jax as amr; assert pretrain is amr.pretrain",
    "import amr_jax.api; import amr_jax as amr",
):
    for name in [name for name in sys.modules if name.startswith("amr_jax")]:
        del sys.modules[name]  # JAX itself remains: it takes seconds
    exec(order)
    assert callable(amr.pretrain) and callable(amr.pretrain.run), order
    assert amr.pretrain is sys.modules["amr_jax.pretrain"], order
"""


def test_pretrain_is_a_module_and_a_function_in_any_order_of_imports():
    subprocess.run([sys.executable, "-c", ORDERS], check=True)


def test_a_module_that_is_called_has_the_signature_of_its_function():
    assert list(inspect.signature(amr.pretrain).parameters)[:2] == ["method", "data"]


def test_unknown_names_are_refused():
    for name in amr._NAMES:  # a submodule of this name would replace it
        assert importlib.util.find_spec(f"amr_jax.{name}") is None
    with pytest.raises(AttributeError, match="no attribute 'pretrian'"):
        amr.pretrian  # noqa: B018


def test_arrays_are_records_in_two_splits(run):
    data = run.data
    x, y = data.arrays("train")
    held, labels = data.arrays("test")
    assert (len(x), len(held)) == (24, 6)
    np.testing.assert_array_equal(np.unique(labels, return_counts=True), [CLASSES, [2, 2, 2]])
    given = {one.tobytes() for one in (clip.astype(np.float32) for clip in clips())}
    assert {one.tobytes() for one in [*x, *held]} == given
    assert (
        repr(data) == "Data('arrays': 24 train, 6 test sequences; 20 joints (kinect_20), 3 classes)"
    )
    assert set(y) == set(CLASSES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": None}, "layout: is not given.*expected one of: kinect_20"),
        ({"layout": "ntu_25"}, r"x\[0\]: found joints of shape .*25 joints"),
        ({"y": [0, 1]}, r"y: found the shape \(2,\); expected \(30,\)"),
        ({"source": np.zeros((3, 4))}, r"x: found the shape \(3, 4\)"),
        ({"source": [np.full((4, 20, 3), np.nan)]}, r"x\[0\]: found nan in frame 0"),
        ({"source": []}, "x: found no sequence"),
        ({"source": np.zeros((9, 2, 20, 3))}, r"one sequence \(T, M, V, C\), or 9 of 2 frame"),
        ({"source": "nowhere"}, "unknown data set 'nowhere'"),
        ({"source": "nwucla", "y": [1]}, "y: is for arrays; 'nwucla' names records"),
    ],
)
def test_wrong_data_is_refused(changes, message):
    given = {"source": clips(), "layout": "kinect_20", **changes}
    source = given.pop("source")
    if isinstance(source, str):
        del given["layout"]
    with pytest.raises(amr.UserError, match=message):
        amr.load_data(source, **given)


def test_a_run_tells_what_it_measured(run):
    assert run.config.epochs == 1
    assert run.metrics["loss"].shape == (1,)
    assert run.metrics["loss"][-1] == metrics.read_metrics(run.workdir)[-1]["loss"]
    assert repr(run).startswith("Run('amr' on ")


def test_settings_are_those_of_configs(run):
    with pytest.raises(amr.UserError, match=r"config.optim.lrr: unknown key. Did you mean"):
        amr.pretrain("amr", run.data, **{"optim.lrr": 1e-3})
    config = files.get_config(f"amr:{run.data.name}/,runlocal")
    with pytest.raises(amr.UserError, match="batch_size"):
        amr.pretrain(config, run.data, batch_size=0)


def test_features_are_those_of_the_commands(run, tmp_path):
    x = clips(3)
    model = load_model(run.workdir)
    for i, clip in enumerate(x):
        np.save(tmp_path / f"{i}.npy", clip.astype(np.float32))
    names = [str(tmp_path / f"{i}.npy") for i in range(3)]
    predict.embed(
        model, read_inputs.read(names, model, read_inputs.Options()), tmp_path / "e.npz", False
    )
    expected = np.load(tmp_path / "e.npz")["features"]
    np.testing.assert_array_equal(run.embed(x), expected)
    np.testing.assert_array_equal(run.embed(x[0]), expected[:1])
    short = np.stack([clip[:12] for clip in x])
    np.testing.assert_array_equal(run.embed(short), run.embed(short[:, :, None]))


def test_a_probe_predicts_classes_as_they_were_given(probe):
    x, y = probe._data.arrays("test")
    assert probe.accuracy == (probe.predict(x) == y).mean() == 1
    shares = probe.predict_proba(x)
    assert shares.shape == (6, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert repr(probe).startswith("Evaluation('linear': top-1 pretrained 100.00 % of 6 test")


def test_evaluations_have_folders_of_their_own(run, probe):
    again = run.linear_probe(epochs=1)
    assert again.workdir == run.workdir / "linear_2"
    neighbours = run.knn()
    assert neighbours.accuracy == 1
    with pytest.raises(amr.UserError, match="trains no classifier"):
        neighbours.predict(clips(1))


def test_a_run_without_a_classifier_predicts_nothing(run):
    with pytest.raises(amr.UserError, match="an encoder without a classifier"):
        amr.load(run.workdir).predict(clips(1))
    with pytest.raises(amr.UserError, match="readout = 'means'"):
        run.embed(clips(1), readout="means")
