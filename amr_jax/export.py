r"""Command: writes a trained model to one file, for use with or without amr_jax.

    python -m amr_jax.export --checkpoint=DIR --format=safetensors|stablehlo|onnx|torch --out=FILE

DIR is the workdir of an evaluation or the model file in it; or the workdir of a pre-training run,
whose encoder is exported.

- `safetensors`: the parameters, and in the header how they are used (inference/model_file.py).
- `stablehlo`: the whole program with its parameters. JAX runs it without this package, as
  inference/export.py shows; FILE.json describes its arguments.
- `onnx`: the same program, in float32, for onnxruntime; compared with JAX before it is written.
- `torch`: the encoder under the names of the published PyTorch models of the MAMP family (.pth, .pt
  or .npz), with the decoder of a pre-training run if it has their form; the same as
  `python -m amr_jax.interop --export`.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("export")


import argparse
import os

from etils import epath

from amr_jax.errors import UserError
from amr_jax.inference import hub, model_file
from amr_jax.inference.export import FORMATS
from amr_jax.run import workdir


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.export`."""
    out = os.fspath(epath.Path(flags.out).expanduser())
    workdir.refuse_own_file(out, "--out")
    options = {"readout": flags.readout} if flags.readout else {}
    if options and flags.format not in ("stablehlo", "onnx"):
        raise UserError(
            f"--readout={flags.readout}: expected --format=stablehlo or onnx; other formats hold "
            "parameters, which are the same for every read-out."
        )
    if flags.push:
        hub.require(flags.push)
        if flags.format != "safetensors":
            raise UserError(f"--push={flags.push}: expected --format=safetensors.")
    FORMATS[flags.format](flags.checkpoint, out, flags.step, flags.dataset, **options)
    if flags.push:
        print(hub.push(model_file.read(out), flags.push))
