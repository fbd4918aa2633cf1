"""Command: published weights into a workdir that `amr_jax.evaluate` takes, and back.

    python -m amr_jax.interop --import=FILE --dataset=NAME --workdir=DIR
    python -m amr_jax.interop --export=FILE --workdir=DIR

The first makes DIR from what PyTorch saves (.pth, .pt, .bin, .ckpt, .pth.tar), `.safetensors` or
`.npz`; or, without --dataset, from a model of this package, such as amr-nwucla-small. The second
writes the newest checkpoint of DIR to a `.pth`, `.pt`, `.safetensors` or `.npz`.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("interop")


import argparse

from etils import epath

from amr_jax.config import settings
from amr_jax.errors import UserError
from amr_jax.inference import adopt, hub, load, model_file, zoo
from amr_jax.inference.pytorch import runs
from amr_jax.run import workdir

_IMPORT, _EXPORT = ("dataset", "method", "num_heads", "data_dir", "key"), ("step",)


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.interop`."""
    source, target = getattr(flags, "import"), flags.export
    if bool(source) == bool(target):
        raise UserError("give either --import=FILE or --export=FILE.")
    for name in _IMPORT if target else _EXPORT:
        if getattr(flags, name) is not None:
            way = "--import" if target else "--export"
            raise UserError(f"--{name} applies to {way} only; remove it.")
    if target:
        workdir.refuse_own_file(target, "--export")
        runs.export_run(flags.workdir, target, flags.step)
        return
    shipped = not epath.Path(source).exists() and zoo.find(source)
    if shipped or hub.is_address(source) or model_file.is_one(source):
        _adopt(source, flags)
        return
    if not flags.dataset:
        raise UserError("--dataset is missing: what the weights were trained on (--import).")
    settings.require_choice("--method", flags.method or "mamp", runs.METHODS)
    runs.import_run(
        source,
        flags.workdir,
        flags.dataset,
        method=flags.method or "mamp",
        num_heads=flags.num_heads or 8,
        data_dir=flags.data_dir or runs.DATA_DIR,
        key=flags.key,
    )


def _adopt(source: str, flags: argparse.Namespace) -> None:
    """Makes the workdir from a shipped model, one on the hub, or a model file."""
    for name in ("method", "num_heads", "key"):
        if getattr(flags, name) is not None:
            raise UserError(f"--{name}: {source} is a model of amr_jax; remove the flag.")
    adopt.to_workdir(load.load_model(source), flags.workdir, flags.dataset, flags.data_dir)
    print(f"{flags.workdir}: the encoder of {source}; give it as --config.pretrained")
