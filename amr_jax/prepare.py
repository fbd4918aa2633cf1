"""Command: raw files to records, all protocols of a data set from one parse, without TensorFlow.

python -m amr_jax.prepare --dataset=nw_ucla --manual_dir=RAW_FILES --data_dir=DIR
python -m amr_jax.prepare --verify --data_dir=DIR
"""

if __name__ == "__main__":
    from amr_jax.__main__ import script

    script("prepare")


import argparse
import logging
import signal
import sys
import time
from pathlib import Path

import tensorflow_datasets as tfds

import tfds_builders
from amr_jax.data.build import custom, verify
from amr_jax.data.build import prepare as build
from amr_jax.errors import UserError, did_you_mean

DATASETS = tuple(tfds_builders.__all__)

# Flags of single data sets, passed to their builders.
OPTIONS = (
    "gaps", "name", "layout", "channels", "scale", "scores", "people", "train_split", "test_split",
    "test_fraction", "split_seed",
)  # fmt: skip


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
        raise UserError(
            f"unknown data set {dataset!r}; expected one of: {', '.join(DATASETS)}."
            + did_you_mean(dataset, DATASETS)
        )
    cls = tfds.builder_cls(dataset)
    for name in sorted(set(options) - set(cls.OPTIONS)):
        raise UserError(f"--{name} does not apply to {dataset}; remove it.")
    if dataset == "custom":
        options = custom.completed(manual_dir, options)
    how = {"on_bad_file": on_bad_file, "num_workers": num_workers, "overwrite": overwrite}
    return build.prepare(cls, manual_dir, data_dir, **how, **options)


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.prepare`."""
    if flags.verify:
        verify.verify(flags.data_dir)
        return
    for name in ("dataset", "manual_dir"):
        if not getattr(flags, name):
            raise UserError(f"--{name} is missing (--help lists the flags).")
    # SIGTERM cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    logging.disable(logging.WARNING)  # TFDS's, on folders that are still empty
    start = time.monotonic()
    try:
        prepare(
            flags.dataset,
            flags.manual_dir,
            flags.data_dir,
            on_bad_file=flags.on_bad_file,
            num_workers=flags.num_workers,
            overwrite=flags.overwrite,
            **{name: getattr(flags, name) for name in OPTIONS if getattr(flags, name)},
        )
    except KeyboardInterrupt:
        print("interrupted: no records were written.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    print(f"done in {time.monotonic() - start:.0f} s")
