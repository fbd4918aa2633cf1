"""A trained model as an ONNX file, which runs with onnxruntime and NumPy alone.

    session = onnxruntime.InferenceSession(FILE)
    (logits,) = session.run(None, {"joints": joints, "length": length})

Arguments as of a StableHLO file (export.py): centring, cropping and resizing are in the graph.
"""

import dataclasses
import functools
import logging
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.errors import UserError
from amr_jax.inference import apply, batched
from amr_jax.inference.apply import Model
from amr_jax.models.settings import matmul_precision

INSTALL = "pip install 'amr_jax[onnx]'"
TOLERANCE = 1e-5  # of the largest output, between onnxruntime and JAX

_OUTPUT = "output"


def content(model: Model, readout: str = "mean") -> tuple[bytes, float]:
    """The file, for any number of sequences; and the error of `checked`.

    Raises:
      UserError: jax2onnx or onnxruntime is not installed, or their results are not JAX's.
    """
    # They warn of plugins for libraries that are not used here, and of each shape they leave out.
    for name in ("jax2onnx", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        from jax2onnx import to_onnx
    except ImportError as error:
        raise UserError(f"--format=onnx: {error}; expected jax2onnx: {INSTALL}.") from error

    def function(joints, length):
        return batched.outputs(model, joints, length, readout)

    with matmul_precision(jnp.float32, "highest"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # float64, which it asks for in its own constants
        graph = to_onnx(
            function,
            [
                jax.ShapeDtypeStruct(("b", *model.sequence_shape), jnp.float32),
                jax.ShapeDtypeStruct(("b",), jnp.int32),
            ],
            input_names=["joints", "length"],
            output_names=[_OUTPUT],
        )
    file = graph.SerializeToString()
    return file, checked(model, file, readout)


def checked(model: Model, file: bytes, readout: str = "mean") -> float:
    """The largest difference between onnxruntime and `apply`, in units of the largest output.

    On three sequences of noise: of all frames and bodies, with empty frames, and of one frame.

    Raises:
      UserError: onnxruntime is not installed, or the difference is above `TOLERANCE`.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"--format=onnx: {error}; expected onnxruntime: {INSTALL}.") from error
    frames = model.input.max_frames
    joints = np.random.default_rng(0).normal(size=(3, *model.sequence_shape)).astype(np.float32)
    joints[1, 1 : frames // 2] = joints[1:, :, 1:] = 0
    length = np.array([frames, max(frames - 1, 1), 1], np.int32)
    model = dataclasses.replace(model, encoder=model.encoder.clone(dtype=jnp.float32))
    function = apply.logits if model.head else functools.partial(apply.features, readout=readout)
    expected = jax.jit(function, static_argnums=0)(model, model.variables, joints, length)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run([_OUTPUT], {"joints": joints, "length": length})
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not error <= TOLERANCE:
        raise UserError(
            f"--format=onnx: onnxruntime {onnxruntime.__version__} and JAX differ by {error:.1e} "
            f"of the largest output; expected {TOLERANCE:.0e} at most. Nothing was written; export "
            "--format=stablehlo instead."
        )
    return error
