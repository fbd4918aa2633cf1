"""Command: raw files to records, all protocols of a data set from one parse, without TensorFlow.

python -m amr_jax.prepare --dataset=nw_ucla --manual_dir=RAW_FILES --data_dir=DIR
python -m amr_jax.prepare --verify --data_dir=DIR
"""

import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from absl import app, flags

import tfds_builders
from amr_jax.data.build import parsing, verify
from amr_jax.data.build import prepare as build
from amr_jax.errors import UserError
from amr_jax.run.cli import command
from amr_jax.skeleton import layouts

DATASETS = tuple(tfds_builders.__all__)

# Flags of single data sets, passed to their builders.
OPTIONS = {
    "gaps": "NTU RGB+D, a body that vanishes and returns: 'contiguous' (default) writes its frames "
    "one after the other, as published; 'true_time' keeps each at its time.",
    "name": "custom: name of the data set; its records go to DATA_DIR/custom/NAME.",
    "layout": f"custom: the joints, one of {', '.join(layouts.LAYOUTS)}, or the path of a .json.",
    "channels": "custom: the numbers of a joint: 'xyz' (metres), 'xy' (in an image), or 'xyc' "
    "(in an image, with the confidence).",
    "scale": "custom: factor for coordinates (millimetres: 0.001); default 1.",
    "train_split": "custom: the split of the data to train on, e.g. xsub_train.",
    "test_split": "custom: the split of the data to test on, e.g. xsub_val.",
}


def prepare(
    dataset: str,
    manual_dir: str | Path,
    data_dir: str | Path,
    *,
    on_bad_file: str = "fail",
    num_workers: int | None = None,
    overwrite: bool = False,
    **options: str,
) -> list[build.Row]:
    """Writes the records of all protocols that the raw files allow.

    Args:
      dataset: one of `DATASETS`.
      manual_dir: folder of the raw files or their archives.
      data_dir: records go to `data_dir/<dataset>/<protocol>/<version>`, and the list of samples
        without a record to `data_dir/<dataset>/left_out.json` (custom: beside the records).
      on_bad_file: 'fail' or 'skip'.
      num_workers: processes that parse; None: one per processor.
      overwrite: replace existing records; they stay until the new ones are complete.
      **options: of the builder, e.g. `gaps` of NTU RGB+D; see `OPTIONS`.

    Returns:
      The summary; existing records are counted, not written.

    Raises:
      UserError: a wrong setting, or missing files.
      BadFile: a raw file is damaged.
    """
    if dataset not in DATASETS:
        raise UserError(f"unknown data set {dataset!r}; expected one of: {', '.join(DATASETS)}.")
    cls = tfds.builder_cls(dataset)
    for name in sorted(set(options) - set(cls.OPTIONS)):
        raise UserError(f"--{name} does not apply to {dataset}; remove it.")
    how = {"on_bad_file": on_bad_file, "num_workers": num_workers, "overwrite": overwrite}
    return build.prepare(cls, manual_dir, data_dir, **how, **options)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """The flags of the command; not at import, where other commands' flags may bear their names."""
    define = {"flag_values": values}
    flags.DEFINE_string("dataset", None, f"One of: {', '.join(DATASETS)}.", **define)
    flags.DEFINE_string("manual_dir", None, "Folder of the raw files or archives.", **define)
    flags.DEFINE_string("data_dir", None, "Folder that receives the records.", **define)
    flags.DEFINE_enum(
        "on_bad_file",
        "fail",
        parsing.ON_BAD_FILE,
        "'skip' leaves bad files out, lists them, and goes on.",
        **define,
    )
    for name, meaning in OPTIONS.items():
        flags.DEFINE_string(name, None, meaning, **define)
    flags.DEFINE_integer(
        "num_workers", None, "Processes that parse; default: one per processor.", 1, **define
    )
    flags.DEFINE_bool("overwrite", False, "Make records anew that are already there.", **define)
    flags.DEFINE_bool(
        "verify",
        False,
        "Make none: read all that is in --data_dir, and name what is damaged.",
        **define,
    )


@command
def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    if len(argv) > 1:
        raise UserError(f"unknown argument {argv[1]!r}; settings are --name=value (see --help).")
    for name in ("data_dir",) if values["verify"].value else ("dataset", "manual_dir", "data_dir"):
        if not values[name].value:
            raise UserError(f"--{name} is missing: {values[name].help}")
    if values["verify"].value:
        verify.verify(values["data_dir"].value)
        return
    # Ended from outside, clean up as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    logging.disable(logging.WARNING)  # TFDS's, on folders that are still empty
    start = time.monotonic()
    try:
        prepare(
            values.dataset,
            values.manual_dir,
            values.data_dir,
            on_bad_file=values.on_bad_file,
            num_workers=values.num_workers,
            overwrite=values.overwrite,
            **{name: values[name].value for name in OPTIONS if values[name].value},
        )
    except KeyboardInterrupt:
        print("interrupted: no records were written.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    print(f"done in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    define_flags()
    app.run(main)
