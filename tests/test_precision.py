"""Which precision the matrix products of a command's programs ask for, as they are lowered.

On CPUs they are computed alike; accelerators round operands where a product asks for DEFAULT.
"""

import contextlib
import re

import jax
import pytest

from amr_jax import evaluate, pretrain
from amr_jax.inference import apply, export
from amr_jax.run import workdir
from configs import amr, finetune, knn, linear
from tests import tiny_models


@contextlib.contextmanager
def lowered(folder):
    """A dict that holds the programs that are lowered inside the block, by file."""
    programs = {}
    jax.clear_caches()
    jax.config.update("jax_dump_ir_to", str(folder))
    try:
        yield programs
    finally:
        jax.config.update("jax_dump_ir_to", None)
    programs |= {path.name: path.read_text() for path in folder.glob("*.mlir")}


def precisions(programs, dtype="f32"):
    """The precisions of all products of two arrays of `dtype`."""
    found = set()
    for text in programs.values():
        for line in text.splitlines():
            if "dot_general" in line and re.search(rf": \(tensor<\S*{dtype}>, \S*{dtype}>\)", line):
                (operands,) = re.findall(r"precision = \[(\w+), \w+\]", line) or ["DEFAULT"]
                found.add(operands)
    return found


def train(tiny_ucla, folder, devices=1, **changes):
    config = amr.get_config("nwucla,runlocal")
    config.data_dir, config.input.split, config.epochs = str(tiny_ucla), "train", 1
    config.encoder.num_frames, config.encoder.depth = 24, 1
    config.update_from_flattened_dict({"dtype": "float32", **changes})
    pretrain.run(config, folder, jax.devices()[:devices])
    return folder


@pytest.fixture(scope="module")
def run(tiny_ucla, tmp_path_factory):
    """The workdir of a run in float32, and the programs that it lowered."""
    folder = tmp_path_factory.mktemp("float32")
    with lowered(folder / "programs") as programs:
        train(tiny_ucla, folder / "run")
    return folder / "run", programs


def test_float32_is_float32_in_pretraining(run):
    assert workdir.read_config(run[0]).matmul_precision == "highest"
    assert precisions(run[1]) == {"HIGHEST"}


def test_another_precision_can_be_set_and_bfloat16_has_its_own(tiny_ucla, tmp_path):
    with lowered(tmp_path / "fast") as programs:
        train(tiny_ucla, tmp_path / "run", matmul_precision="high")
    assert precisions(programs) == {"HIGH", "HIGHEST"}  # the latter: embeddings, rotation
    with lowered(tmp_path / "half") as programs:
        train(tiny_ucla, tmp_path / "half_run", dtype="bfloat16")
    assert precisions(programs, "bf16") == {"DEFAULT"}
    assert precisions(programs) == {"HIGHEST"}


@pytest.mark.parametrize("protocol", [knn, linear, finetune])
def test_evaluations_take_the_precision_of_the_run(run, protocol, tmp_path):
    config = protocol.get_config("nwucla,runlocal")
    config.pretrained, config.random_encoder = str(run[0]), False
    config.train_split, config.test_split = "train", "test"
    if "epochs" in config:
        config.epochs = 1
    if protocol is finetune:
        config.optim.warmup_epochs = 0
    with lowered(tmp_path / "programs") as programs:
        evaluate.run(config, tmp_path / "out")
    assert workdir.read_config(tmp_path / "out").matmul_precision == "highest"
    assert precisions(programs) == {"HIGHEST"}


def test_models_predict_and_are_exported_in_float32():
    model = tiny_models.make("finetune")
    given = tiny_models.padded(model, [tiny_models.joints(0, 9)])
    predicted = jax.jit(apply.logits, static_argnums=0).lower(model, model.variables, *given)
    programs = {"predict": predicted.as_text(), "export": export.program(model).mlir_module()}
    for name, text in programs.items():
        assert precisions({name: text}) == {"HIGHEST"}, name
