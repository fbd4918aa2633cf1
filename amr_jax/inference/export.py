"""Writes a trained model for use without this package; the logic of `amr_jax.export`.

JAX runs a StableHLO program without this package:

    program = jax.export.deserialize(bytearray(open(FILE, "rb").read()))
    logits = program.call(joints, length)  # (b, L, M, V, C) float32, (b,) int32 -> (b, K) float32

Joints are in metres (in an image in any unit); sequences are zero-padded to L frames, of which
`length` are real; absent bodies are zeros. Centring, cropping and resizing are part of the program.
Without a classifier it returns features (b, F). b may be any number. The other sizes and the names
of joints and classes are in FILE.json.
"""

import functools
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from amr_jax.errors import UserError
from amr_jax.inference import apply, load, model_file, onnx_file
from amr_jax.inference.apply import Model
from amr_jax.inference.pytorch import runs
from amr_jax.run import workdir
from amr_jax.run.checkpoint import has_one

PLATFORMS = ("cpu", "cuda", "tpu")


def to_safetensors(checkpoint: str, out: str, step: int | None, dataset: str | None = None) -> None:
    """Writes a model file; of a pre-training run, one with the encoder alone."""
    model = load.load_model(checkpoint, step, dataset)
    model_file.write(out, model)
    print(f"{out}: {_describe(model)}")


def to_program(
    made: Callable[[Model, str], tuple[bytes, str, dict[str, Any]]],
    checkpoint: str,
    out: str,
    step: int | None,
    dataset: str | None = None,
    readout: str | None = None,
) -> None:
    """Writes the model as a program, and FILE.json beside it.

    Args:
      made: (model, read-out) -> the program, what is told of it, and more for FILE.json.
      checkpoint, out, step, dataset: as in `FORMATS`.
      readout: of the features of a pre-training run; None: the mean.

    Raises:
      UserError: `readout` is given for a model with a classifier, which has its own; or as of
        `onnx_file.content`.
    """
    model = load.load_model(checkpoint, step, dataset)
    if readout and model.head:
        raise UserError(
            f"--readout={readout}: {checkpoint} has a classifier with a read-out of its own; "
            "expected a pre-training run, whose encoder is exported alone."
        )
    readout = readout or "mean"
    content, told, more = made(model, readout)
    workdir.write(out, content)
    _write_signature(out, model, readout, more)
    print(f"{out}: {_describe(model)}{told}; see {out}.json")


def _stablehlo(model: Model, readout: str) -> tuple[bytes, str, dict[str, Any]]:
    exported = program(model, readout)
    told = f", for {', '.join(exported.platforms)}"
    return exported.serialize(), told, {"platforms": PLATFORMS}


def _onnx(model: Model, readout: str) -> tuple[bytes, str, dict[str, Any]]:
    """An ONNX graph that was compared with JAX."""
    content, error = onnx_file.content(model, readout)
    told = f"; onnxruntime differs from JAX by {error:.0e} of the largest output"
    return content, told, {"computes_in": "float32"}


def to_torch(checkpoint: str, out: str, step: int | None, dataset: str | None = None) -> None:
    """Writes parameters under the names of the published PyTorch models.

    Raises:
      UserError: `dataset` is given; these files hold the embeddings of all joints.
    """
    if dataset:
        raise UserError(
            f"--dataset={dataset}: expected --format=safetensors, stablehlo or onnx; torch has the "
            "embeddings of all joints."
        )
    if has_one(checkpoint):
        runs.export_run(checkpoint, out, step)
        return
    model = load.load_model(checkpoint, step)
    runs.export_params(
        model.variables["params"],
        out,
        channels=model.encoder.channels,
        source=f"{checkpoint}; {model.encoder.num_heads} heads",
    )


# (the model's path, file to write, step of a pre-training run's checkpoint or None: the newest,
# dataset as of `load.load_model`)
FORMATS = {
    "safetensors": to_safetensors,
    "stablehlo": functools.partial(to_program, _stablehlo),
    "onnx": functools.partial(to_program, _onnx),
    "torch": to_torch,
}


def program(model: Model, readout: str = "mean") -> jax.export.Exported:
    """The model as a program: (joints (b, L, M, V, C), length (b,)) -> logits, or features.

    Arguments as in `apply.features`; for any b, on all of `PLATFORMS`.
    """
    features = functools.partial(apply.features, readout=readout)
    function = apply.logits if model.head else features

    def traced(joints, length):
        # The barrier keeps XLA from folding computations on the parameters, which takes long.
        return function(model, jax.lax.optimization_barrier(model.variables), joints, length)

    (batch,) = jax.export.symbolic_shape("b")
    return jax.export.export(jax.jit(traced), platforms=PLATFORMS)(
        jax.ShapeDtypeStruct((batch, *model.sequence_shape), jnp.float32),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )


def _write_signature(out: str, model: Model, readout: str, more: dict[str, Any]) -> None:
    """Writes FILE.json: what a caller of the program needs to know."""
    size, returns = model.input, "logits" if model.head else "features"
    outputs = len(model.class_names) or apply.num_features(model, readout)
    text = {
        "arguments": {
            "joints": "(b, L, M, V, C) float32, in metres (in an image in any unit); zeros where "
            "a body is absent",
            "length": "(b,) int32, how many of the L frames are real",
        },
        "returns": f"{returns} (b, {outputs}) float32",
        **({} if model.head else {"readout": readout}),
        "class_names": model.class_names,
        **dict(zip("LMVC", model.sequence_shape, strict=True)),
        "layout": size.layout,
        "joints": size.joints,
        "channels": size.channels,
        # What converts numbers in files of custom data, see `arrays.Form`.
        "scale": size.scale,
        "scores": size.scores,
        **more,
        "provenance": dict(model.provenance),
    }
    workdir.write(f"{out}.json", json.dumps(text, indent=1) + "\n")


def _describe(model: Model) -> str:
    leaves = jax.tree.leaves(model.variables["params"])
    what = f"encoder and head, {len(model.class_names)} classes" if model.head else "encoder alone"
    return f"{what}, {sum(leaf.size for leaf in leaves):,} parameters"
