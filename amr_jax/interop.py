"""Command: published weights into a workdir that `amr_jax.evaluate` takes, and back.

    python -m amr_jax.interop --import=FILE --dataset=NAME --workdir=DIR
    python -m amr_jax.interop --export=FILE --workdir=DIR

FILE is `.pth`, `.pt` or `.npz`. The first makes DIR; the second reads the newest checkpoint of DIR.
"""

from collections.abc import Sequence

from absl import app, flags

from amr_jax.errors import UserError
from amr_jax.inference.pytorch import runs
from amr_jax.run.cli import command


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """The flags of the command; not at import, where other commands' flags may bear their names."""
    define = {"flag_values": values}
    flags.DEFINE_string("import", None, "Published weights to read.", **define)
    flags.DEFINE_string("export", None, "File to write, under the published names.", **define)
    flags.DEFINE_string("workdir", None, "The run's folder; --import makes it.", **define)
    flags.DEFINE_string(
        "dataset", None, "What the weights were trained on: ntu60_xsub, … (--import).", **define
    )
    flags.DEFINE_enum("method", "mamp", runs.METHODS, "How they were trained (--import).", **define)
    flags.DEFINE_integer("num_heads", 8, "Of every block (--import).", 1, **define)
    flags.DEFINE_string(
        "data_dir", runs.DATA_DIR, "Where evaluations read their records (--import).", **define
    )
    flags.DEFINE_integer("step", None, "Of which checkpoint; default: the newest.", **define)


@command
def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    if len(argv) > 1:
        raise UserError(f"unknown argument {argv[1]!r}; settings are --name=value (see --help).")
    source, target = values["import"].value, values["export"].value
    if bool(source) == bool(target):
        raise UserError("give either --import=FILE or --export=FILE.")
    only = ("dataset", "method", "num_heads", "data_dir") if target else ("step",)
    for name in only:
        if values[name].present:
            way = "--import" if target else "--export"
            raise UserError(f"--{name} goes with {way}: leave it away.")
    for name in ("workdir", "dataset") if source else ("workdir",):
        if not values[name].value:
            raise UserError(f"--{name} is missing: {values[name].help}")
    if target:
        runs.export_run(values.workdir, target, values.step)
    else:
        runs.import_run(
            source,
            values.workdir,
            values.dataset,
            method=values.method,
            num_heads=values.num_heads,
            data_dir=values.data_dir,
        )


if __name__ == "__main__":
    define_flags()
    app.run(main)
