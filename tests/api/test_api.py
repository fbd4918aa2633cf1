"""The Python interface: the notebook runs, and its run and probe are what they should be."""

import ast
import dataclasses
import importlib.util
import inspect
import json
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

import amr_jax as amr
from amr_jax import api
from amr_jax.config import files
from amr_jax.inference import predict, read_inputs
from amr_jax.inference.load import load_model
from amr_jax.run import metrics
from amr_jax.skeleton.layouts import COCO_17, MEDIAPIPE_33
from tests import tiny_models
from tests.docs import pages
from tests.docs.pages import ROOT

sklearn = pytest.importorskip("sklearn", reason="the extra `sklearn` is not installed")
from sklearn.base import clone  # noqa: E402
from sklearn.dummy import DummyClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils import estimator_checks  # noqa: E402

from amr_jax.sklearn import SkeletonClassifier, SkeletonEncoder  # noqa: E402
from tests.api import on_tables  # noqa: E402

ENDS = ("passed", "failed", "xfail")
NOTEBOOK = ROOT / "docs" / "notebooks" / "first_steps.ipynb"


def clips(count: int, joints: int = 20) -> list[np.ndarray]:
    """Sequences (T, joints, 3) of different lengths, of noise."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, joints, 3)) for n in rng.integers(12, 20, count)]


@pytest.fixture(scope="module")
def notebook():
    """The names that the notebook leaves behind."""
    scope = {"__name__": "notebook"}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        *lines, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(lines, []), NOTEBOOK.name, "exec"), scope)
        assert isinstance(last, ast.Expr), "a cell ends with what it shows"
        shown = eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), scope)
        assert len(repr(shown)) < 400
        if hasattr(shown, "_repr_png_"):
            assert shown._repr_png_().startswith(b"\x89PNG")
    return scope


@pytest.fixture(scope="module")
def run(notebook):
    return notebook["run"]


@pytest.fixture(scope="module")
def probe(notebook):
    return notebook["probe"]


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


def test_arrays_are_records_in_two_splits(notebook):
    data = notebook["data"]
    x, y = data.arrays("train")
    held, labels = data.arrays("test")
    given = {
        one.astype(np.float32).tobytes(): name
        for one, name in zip(notebook["x"], notebook["y"], strict=True)
    }
    assert {
        one.tobytes(): name for one, name in zip([*x, *held], [*y, *labels], strict=True)
    } == given
    text = "36 train, 12 test sequences; 25 joints (ntu_25), 3 classes"
    assert repr(data) == f"Data('arrays': {text})"


def test_classes_keep_their_kind_and_a_folder_has_the_newest_arrays(tmp_path):
    x, how = clips(9), {"layout": "kinect_20", "data_dir": tmp_path}
    few = amr.load_data(x[:4], **how)
    assert "4 train sequences; 20 joints (kinect_20), no classes" in repr(few)
    data = amr.load_data(x, y=np.array([10, 3, 7] * 3), split=["train"] * 9, **how)
    np.testing.assert_array_equal(np.unique(data.arrays()[1]), [3, 7, 10])
    with pytest.raises(amr.UserError, match="found the splits train; expected 'test'"):
        data.arrays("test")
    data = amr.load_data(x, y=[0, 1, 2] * 3, test_fraction=0, **how)
    assert "9 train sequences" in repr(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": None}, "layout: is not given.*expected one of: kinect_20"),
        ({"layout": "ntu_25"}, r"x\[0\]: found joints of shape .*25 joints"),
        ({"y": [0, None] * 15}, "y: found None or NaN; expected a value for each sequence"),
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
    given = {"source": clips(30), "layout": "kinect_20", **changes}
    source = given.pop("source")
    if isinstance(source, str):
        del given["layout"]
    with pytest.raises(amr.UserError, match=message):
        amr.load_data(source, **given)


def test_a_run_tells_what_it_measured(run):
    assert run.config.epochs == 12
    loss = run.metrics["loss"]
    assert loss[-1] < loss[0]
    assert loss[-1] == metrics.read_metrics(run.workdir)[-1]["loss"]
    assert repr(run).startswith("Run('amr' on ")


def test_settings_are_those_of_configs(run):
    with pytest.raises(amr.UserError, match=r"config.optim.lrr: unknown key. Did you mean"):
        amr.pretrain("amr", run.data, **{"optim.lrr": 1e-3})
    with pytest.raises(amr.UserError, match="linear: no method; expected one of amr"):
        amr.pretrain("linear", run.data)
    with pytest.raises(amr.UserError, match="data: found str; expected what load_data returns"):
        amr.pretrain("amr", "nwucla")
    config = files.get_config(f"amr:{run.data.name}/,runlocal")
    with pytest.raises(amr.UserError, match="batch_size"):
        amr.pretrain(config, run.data, batch_size=0)


def test_features_are_those_of_the_command(run, tmp_path):
    x = clips(3, 25)
    model, names = load_model(run.workdir), []
    for i, clip in enumerate(x):
        names.append(str(tmp_path / f"{i}.npy"))
        np.save(names[-1], clip.astype(np.float32))
    inputs = read_inputs.read(names, model, read_inputs.Options())
    predict.embed(model, inputs, tmp_path / "e.npz", False)
    expected = np.load(tmp_path / "e.npz")["features"]
    np.testing.assert_array_equal(run.embed(x), expected)
    np.testing.assert_array_equal(run.embed(x[0]), expected[:1])
    short = np.stack([clip[:12] for clip in x])
    np.testing.assert_array_equal(run.embed(short), run.embed(short[:, :, None]))


def test_a_probe_predicts_classes_as_they_were_given(probe, notebook):
    x, y = notebook["data"].arrays("test")
    assert probe.accuracy == (probe.predict(x) == y).mean() > 0.5
    shares = probe.predict_proba(x)
    assert shares.shape == (12, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert re.match(r"Evaluation\('linear': top-1 pretrained [\d.]+ % of 12 test seq", repr(probe))


def test_a_probe_is_a_model_file(probe, tmp_path):
    probe.save(tmp_path / "probe.safetensors")
    again = amr.load(tmp_path / "probe.safetensors")
    assert again.classes.tolist() == probe.model.classes.tolist()
    with pytest.raises(amr.UserError, match=r"x\[1\]: found no body|x\[1\]: found joints of shape"):
        again.predict([clips(1, 25)[0], clips(1, 20)[0]])


def test_evaluations_have_folders_of_their_own(run, probe):
    neighbours = run.knn()
    assert neighbours.accuracy == neighbours.results["encoders"]["pretrained"]["top1"] > 0.4
    assert (neighbours.workdir, run._unused("knn")) == (run.workdir / "knn", run.workdir / "knn_2")
    with pytest.raises(amr.UserError, match="trains no classifier"):
        neighbours.predict(clips(1))


def test_a_run_without_a_classifier_predicts_nothing(run):
    with pytest.raises(amr.UserError, match="an encoder without a classifier"):
        amr.load(run.workdir).predict(clips(1))
    with pytest.raises(amr.UserError, match="readout = 'means'"):
        run.embed(clips(1), readout="means")


def test_drawings_are_written_by_the_end_of_the_name(notebook, tmp_path):
    drawing = amr.show(notebook["data"], columns=3)
    assert repr(drawing).startswith("Drawing(6 clips: ")
    starts = {"a.png": b"\x89PNG", "a.svg": b"<?xml", "a.html": b"<!doctype html>"}
    for name, start in starts.items():
        drawing.save(tmp_path / name)
        assert (tmp_path / name).read_bytes()[: len(start)].lower() == start.lower()
    with pytest.raises(amr.UserError, match="expected a name that ends in"):
        drawing.save(tmp_path / "a.bmp")


@pytest.mark.parametrize("page", ["python", "zoo"])
def test_the_pages_name_what_exists(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for code in pages.blocks(ROOT / "docs" / f"{page}.md", "python"):
        ast.parse(code)
    for name in re.findall(r"\bamr\.(\w+)", text):
        assert hasattr(amr, name), name
    kinds = {"run": amr.Run, "probe": amr.Evaluation, "model": amr.TrainedModel, "data": amr.Data}
    for kind, name in re.findall(r"\b(run|probe|model|data)\.(\w+)", text):
        made = {"workdir", "config", "results", "classes", "safetensors", "r"}
        assert hasattr(kinds[kind], name) or name in made, f"{kind}.{name}"


@pytest.fixture
def tiny(monkeypatch):
    """One tiny encoder under every name, so that its programs are compiled once."""
    model = amr.TrainedModel(tiny_models.make(None), "tiny")
    monkeypatch.setattr(api, "load", lambda name: model)
    return model


@pytest.mark.filterwarnings("ignore")
def test_the_checks_of_scikit_learn(tiny):
    rows = estimator_checks.check_estimator(
        on_tables.OnTables(pretrained="tiny"),
        on_fail=None,
        on_skip=None,
        expected_failed_checks=on_tables.EXPECTED,
    )
    ended = {kind: {row["check_name"] for row in rows if row["status"] == kind} for kind in ENDS}
    assert not ended["failed"]
    assert len(ended["passed"]) > 30
    assert ended["xfail"] == set(on_tables.EXPECTED)


@pytest.mark.parametrize("kind", [SkeletonEncoder, SkeletonClassifier])
def test_parameters_are_those_of_the_constructor(kind):
    made = kind("mamp", layout="ntu_25", settings={"epochs": 3}, pretrained="x", verbose=True)
    assert clone(made).get_params() == made.get_params()
    assert made.set_params(channels="xy").channels == "xy"
    with pytest.raises(sklearn.exceptions.NotFittedError):
        (made.transform if kind is SkeletonEncoder else made.predict)(clips(1))
    # Data of three to five dimensions: of its checks scikit-learn runs those without data.
    with pytest.warns(sklearn.exceptions.SkipTestWarning):
        estimator_checks.check_estimator(kind())


def test_an_encoder_in_a_pipeline_and_in_a_pickle(tiny):
    x, y = clips(9), np.arange(9) % 3
    line = make_pipeline(SkeletonEncoder(pretrained="tiny", readout="joint"), DummyClassifier())
    assert line.fit(x, y).predict(x).shape == (9,)
    encoder = line[0]
    assert len(encoder.get_feature_names_out()) == encoder.transform(x).shape[1] == 160
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(x[:2]), encoder.transform(x[:2]))


def test_a_classifier_trains_encoder_and_head(run, monkeypatch, capsys):
    def pretrain(*given, **settings):  # what this does is seen above
        asked.append(settings)
        return amr.Run(run.workdir, given[1])

    x, y = run.data.arrays("train")
    asked, how = [], {"epochs": 50, "cached_views": 1}
    monkeypatch.setattr(api, "pretrain", pretrain)
    made = SkeletonClassifier(layout="ntu_25", settings={"epochs": 3}, protocol_settings=how)
    assert made.fit(x, y).score(x, y) > 0.6
    assert asked == [{"epochs": 3}]
    assert capsys.readouterr().out == ""
    assert made.classes_.tolist() == sorted(set(y))
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.predict_proba(x[:2]), made.predict_proba(x[:2]))
    with pytest.raises(amr.UserError, match="requires y"):
        made.fit(x, None)


def test_a_model_of_own_data_goes_on_with_own_data(monkeypatch):
    x, rng = [], np.random.default_rng(0)
    for one in clips(8, 17):  # key points of an image, with confidences
        x.append(np.concatenate([one[..., :2], rng.uniform(0.2, 1, one[..., 2:].shape)], -1))
    made = tiny_models.make(None, layout=COCO_17, num_bodies=1, centred=False)
    made = dataclasses.replace(made, input=dataclasses.replace(made.input, channels="xyc"))
    monkeypatch.setattr(api, "load", lambda name: amr.TrainedModel(made, name))

    def evaluate(run, protocol, **told):  # what this does is seen above
        assert (run.config.dataset, told["adapt"]) == (run.data.name, False)
        assert run.data.has_joints_of(made.input)
        return run

    monkeypatch.setattr(amr.Run, "evaluate", evaluate)
    monkeypatch.setattr(amr.Run, "model", amr.TrainedModel(made, "probe", np.array(["a", "b"])))
    line = SkeletonClassifier(pretrained="own").fit(x, list("abababab"))
    assert line.classes_.tolist() == ["a", "b"]
    landmarks = [rng.uniform(size=(9, 132)) for _ in range(3)]
    data = amr.load_data(landmarks, layout="mediapipe_33")
    own = amr.TrainedModel(tiny_models.make(None, layout=MEDIAPIPE_33), "own")
    assert amr.Run.of(own, data).config.dataset == data.name
    with pytest.raises(amr.UserError, match=r"no data set has the joints .*mediapipe_33 \(xyz\)"):
        amr.Run.of(own)


def test_scikit_learn_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "amr_jax.sklearn")
    with pytest.raises(amr.UserError, match=r"pip install 'amr_jax\[sklearn\]'"):
        import amr_jax.sklearn  # noqa: F401


def test_the_example_of_the_readme_runs(monkeypatch, run, probe):
    (code,) = pages.blocks(ROOT / "README.md", "python")
    monkeypatch.setattr(api, "load_data", lambda name, folder: run.data)
    monkeypatch.setattr(api, "pretrain", lambda method, data, epochs: run)
    monkeypatch.setattr(amr.Run, "linear_probe", lambda self: probe)
    scope = {"x": run.data.arrays("test")[0]}
    exec(compile(code, "README.md", "exec"), scope)
    assert scope["probe"].accuracy == probe.results["encoders"]["pretrained"]["top1"]
