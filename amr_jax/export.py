r"""Command: a trained model, out of amr_jax and into one file.

    python -m amr_jax.export --checkpoint=DIR --format=safetensors|stablehlo|torch --out=FILE

DIR is the workdir of an evaluation, or the model file in it; or that of a pre-training run, whose
encoder it is then.

- `safetensors`: the parameters, and in the header how they are used (inference/model_file.py).
- `stablehlo`: the program itself, parameters included. JAX runs it without this package:

      program = jax.export.deserialize(bytearray(open(FILE, "rb").read()))
      logits = program.call(joints, length)  # (b, L, M, V, C) float32, (b,) int32 -> (b, K) float32

  Joints are in metres (in an image in any unit), sequences zero-padded to L frames, of which
  `length` are real, absent bodies zeros: centring, cropping and resizing are part of the program.
  Without a classifier it returns features (b, D). What b is does not matter; the other sizes, the
  joints' and the classes' names stand in FILE.json.
- `torch`: the encoder under the names of the published PyTorch models of the MAMP family (.pth, .pt
  or .npz), and the decoder of a pre-training run where it is of their form; the same as
  `python -m amr_jax.interop --export`.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("export")


import argparse
import json
import os
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
from etils import epath

from amr_jax.inference import apply, model_file, trained
from amr_jax.inference.apply import Model
from amr_jax.inference.pytorch import runs
from amr_jax.run import workdir

PLATFORMS = ("cpu", "cuda", "tpu")


def to_safetensors(checkpoint: str, out: str, step: int | None) -> None:
    """Writes the model file; of a pre-training run, with the encoder alone."""
    model = trained.load(checkpoint, step)
    model_file.write(out, model)
    print(f"{out}: {_called(model)}")


def to_stablehlo(checkpoint: str, out: str, step: int | None) -> None:
    """Writes the program, and FILE.json beside it."""
    model = trained.load(checkpoint, step)
    exported = program(model)
    workdir.write(out, exported.serialize())
    workdir.write(f"{out}.json", json.dumps(_signature(model), indent=1) + "\n")
    print(f"{out}: {_called(model)}, for {', '.join(exported.platforms)}; see {out}.json")


def to_torch(checkpoint: str, out: str, step: int | None) -> None:
    """Writes the published names."""
    if trained.is_pretraining(checkpoint):
        runs.export_run(checkpoint, out, step)
        return
    model = trained.load(checkpoint, step)
    runs.export_params(
        model.variables["params"],
        out,
        channels=model.encoder.channels,
        source=f"{checkpoint}; {model.encoder.num_heads} heads",
    )


FORMATS = {"safetensors": to_safetensors, "stablehlo": to_stablehlo, "torch": to_torch}


def program(model: Model) -> jax.export.Exported:
    """The model as a program: (joints (b, L, M, V, C), length (b,)) -> logits, or features.

    Arguments as in `apply.features`; for any b, on all of PLATFORMS.
    """
    function = apply.logits if model.head else apply.features

    def traced(joints, length):
        # Behind the barrier parameters are not constants, which XLA would compute with at length.
        return function(model, jax.lax.optimization_barrier(model.variables), joints, length)

    (batch,) = jax.export.symbolic_shape("b")
    return jax.export.export(jax.jit(traced), platforms=PLATFORMS)(
        jax.ShapeDtypeStruct((batch, *model.sequence_shape), jnp.float32),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )


def _signature(model: Model) -> dict[str, Any]:
    """What a user of the program has to know."""
    size, returns = model.input, "logits" if model.head else "features"
    return {
        "arguments": {
            "joints": "(b, L, M, V, C) float32, in metres (in an image in any unit); zeros where "
            "nobody is",
            "length": "(b,) int32, how many of the L frames are real",
        },
        "returns": f"{returns} (b, {len(model.class_names) or model.encoder.width}) float32",
        "class_names": model.class_names,
        **dict(zip("LMVC", model.sequence_shape, strict=True)),
        "layout": size.layout,
        "joints": size.joints,
        "channels": size.channels,
        "scale": size.scale,  # that makes metres of the user's own files
        "platforms": PLATFORMS,
        "provenance": dict(model.provenance),
    }


def _called(model: Model) -> str:
    leaves = jax.tree.leaves(model.variables["params"])
    what = f"encoder and head, {len(model.class_names)} classes" if model.head else "encoder alone"
    return f"{what}, {sum(leaf.size for leaf in leaves):,} parameters"


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.__main__.export`."""
    out = os.fspath(epath.Path(flags.out).expanduser())
    FORMATS[flags.format](flags.checkpoint, out, flags.step)
