"""Command: raw files to records, all protocols of a data set from one parse, without TensorFlow.

    python -m amr_jax.prepare --dataset=nw_ucla --manual_dir=RAW_FILES --data_dir=DIR
    python -m amr_jax.prepare --verify --data_dir=DIR

Everything is made in a folder of its own inside `data_dir` and moved to its place at the very end:
until then nothing that stands there is touched, and what was interrupted leaves no records behind.
"""

import contextlib
import dataclasses
import errno
import fcntl
import io
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from absl import app, flags
from etils import epath

import tfds_builders
from amr_jax.data import record_files, records
from amr_jax.data.build import parsing, record_builder, verify
from amr_jax.data.build.record_builder import SPLITS, SkeletonBuilder
from amr_jax.errors import UserError
from amr_jax.run import paths
from amr_jax.run.cli import command
from amr_jax.skeleton import layouts

DATASETS = tuple(tfds_builders.__all__)

# Flags of single data sets, handed on to their builders.
OPTIONS = {
    "gaps": "NTU RGB+D, a body that vanishes and returns: 'contiguous' (default) writes its frames "
    "one after the other, as published numbers rest on; 'true_time' keeps each at its time.",
    "name": "custom: what to call the data set; its records go to DATA_DIR/custom/NAME.",
    "layout": f"custom: the joints, one of {', '.join(layouts.LAYOUTS)}, or the path of a .json.",
    "channels": "custom: what a joint's numbers are: 'xyz' (metres), 'xy' (in an image), or 'xyc' "
    "(with the confidence in them).",
    "scale": "custom: coordinates are multiplied by this (millimetres: 0.001); default 1.",
    "train_split": "custom: the split of the data to train on, e.g. xsub_train.",
    "test_split": "custom: the split of the data to test on, e.g. xsub_val.",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the summary: sequences written of one split, beside the published count."""

    protocol: str
    split: str
    sequences: int
    published: int | None  # None: no count is published


def prepare(
    dataset: str,
    manual_dir: str | Path,
    data_dir: str | Path,
    *,
    on_bad_file: str = "fail",
    num_workers: int | None = None,
    overwrite: bool = False,
    **options: str,
) -> list[Row]:
    """Writes the records of all protocols that the raw files allow.

    Args:
      dataset: one of `DATASETS`.
      manual_dir: where the raw files or their archives are.
      data_dir: records go to `data_dir/<dataset>/<protocol>/<version>`, and what was left out to
        `data_dir/<dataset>/left_out.json` (of a user's own set, beside its records).
      on_bad_file: 'fail' or 'skip'.
      num_workers: processes that parse; None: one per processor.
      overwrite: replace records that are there; they stay until the new ones are complete.
      **options: of the builder, e.g. `gaps` of NTU RGB+D; see `OPTIONS`.

    Returns:
      The summary; for records that were already there it is read from them.

    Raises:
      UserError: (BadFile for a raw file) says what was found, expected, and what to do.
    """
    cls = _builder_class(dataset, options)
    for name, folder in (("manual_dir", manual_dir), ("data_dir", data_dir)):
        if paths.is_remote(folder):
            raise UserError(
                f"--{name} is {folder!r}; expected a folder of this machine, as archives are read "
                "and records put together at random places. launch/prepare_on_gcs.sh fetches, "
                "prepares and sends; elsewhere prepare on a disk, then copy the finished folder."
            )
    home = Path(data_dir).expanduser() / dataset
    wanted = cls.protocols(**options)
    done = {} if overwrite else _already_prepared(cls, Path(data_dir).expanduser(), options)
    protocols = [protocol for protocol in wanted if protocol not in done]
    if protocols:
        raw = cls.find(Path(manual_dir).expanduser(), **options)
        for note in raw.notes:
            print(f"note: {note}")
        protocols = [protocol for protocol in protocols if protocol in raw.protocols]
    if protocols:
        with _full_disk_is_told(home), _staging(home) as staging:
            (staging / "spool").mkdir()
            spool = raw.parse(
                staging / "spool",
                num_workers=num_workers or _num_cpus(),
                on_bad_file=on_bad_file,
                description=f"parsing {dataset}",
            )
            builders = [
                cls.make(protocol, staging / "records", (raw, spool), **options)
                for protocol in protocols
            ]
            for builder in builders:
                with contextlib.redirect_stdout(io.StringIO()):  # TFDS names the staging folder
                    builder.download_and_prepare(download_dir=staging / "downloads")
                _check(builder)
            record_builder.write_left_out(staging / "left_out.json", spool.left_out)
            left_out = home / cls.left_out_file(**options)
            done |= {builder.builder_config.name: builder for builder in builders}
            rows = _rows(cls, wanted, done)
            _move(staging, home, left_out, builders)
        _report_left_out(left_out, len(spool.left_out))
    else:
        print(f"{home}: already prepared, nothing to do (--overwrite makes the records anew).")
        rows = _rows(cls, wanted, done)
    _report(rows)
    return rows


def _builder_class(dataset: str, options: dict[str, str]) -> type[SkeletonBuilder]:
    if dataset not in DATASETS:
        raise UserError(f"unknown data set {dataset!r}; expected one of: {', '.join(DATASETS)}.")
    cls = tfds.builder_cls(dataset)
    for name in sorted(set(options) - set(cls.OPTIONS)):
        raise UserError(f"--{name} does not apply to {dataset}: leave it away.")
    return cls


def _already_prepared(
    cls: type[SkeletonBuilder], data_dir: Path, options: dict[str, str]
) -> dict[str, SkeletonBuilder]:
    """The builders, by protocol, whose records stand complete and were made with these options."""
    done = {}
    for protocol in cls.protocols(**options):
        folder = data_dir / cls.name / protocol / records.VERSION
        others = sorted(
            p.name for p in folder.parent.glob("*") if p.is_dir() and p.name != folder.name
        )
        if others:
            print(f"note: {folder.parent} holds {', '.join(others)} too; it is left as it is.")
        if not folder.exists():
            continue
        try:
            builder = cls.make(protocol, data_dir, None, **options)
            made_with, asked = dict(builder.info.metadata), builder.options()
            differ = sorted(key for key in asked if made_with.get(key) != asked[key])
            if not differ:
                _check(builder)
        except Exception as error:  # TFDS and ArrayRecord raise what their parsers raise
            raise UserError(
                f"{folder}: not a complete folder of records ({error}); --overwrite makes it anew."
            ) from error
        if differ:
            raise UserError(
                f"{folder}: the records there were made with "
                f"{ {key: made_with.get(key) for key in differ} }, now asked for: "
                f"{ {key: asked[key] for key in differ} }. Choose another --data_dir, or replace "
                "them by --overwrite."
            )
        done[protocol] = builder
    return done


@contextlib.contextmanager
def _staging(home: Path) -> Iterator[Path]:
    """A folder to build in, on the file system of `home`; nothing of it is left afterwards."""
    folder = home / ".incomplete"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--data_dir: cannot write to {home} ({error.strerror}).") from error
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{home}: another preparation is writing there; wait for it."
            ) from error
        for leftover in folder.iterdir():  # of one that was killed
            shutil.rmtree(leftover)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
            with contextlib.suppress(OSError):  # not empty: older records are there
                home.rmdir()
    finally:
        os.close(lock)


@contextlib.contextmanager
def _full_disk_is_told(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"{home}: the disk is full ({error.strerror}); no records were written. Make room, or "
            "choose another --data_dir: all protocols together take about as much as the joints do "
            "as float32 numbers, once more while they are made."
        ) from error


def _check(builder: SkeletonBuilder) -> None:
    """Counts all splits and reads their ends back: what cannot be read is no record."""
    if not builder.info.splits:
        raise OSError(errno.ENOENT, "no splits")
    wrong = record_files.faults(epath.Path(builder.data_path))
    if wrong := wrong or record_files.wrong_counts(builder, builder.info.splits):
        raise OSError(errno.EIO, wrong[0])
    for split in builder.info.splits:
        source = builder.as_data_source(split)
        _ = source[0], source[len(source) - 1]


def _move(staging: Path, home: Path, left_out: Path, builders: Sequence[SkeletonBuilder]) -> None:
    """Puts complete records into their places; what stood there goes with the staging folder."""
    for builder in builders:
        made = Path(builder.data_path)
        place = home / made.relative_to(staging / "records" / builder.name)
        place.parent.mkdir(exist_ok=True)
        if place.exists():
            place.rename(staging / f"replaced_{builder.builder_config.name}")
        made.rename(place)
    known = staging / "records" / builders[0].name / ".config"  # TFDS's, of fixed configs alone
    if known.exists():
        (home / ".config").mkdir(exist_ok=True)
        for file in known.iterdir():
            file.replace(home / ".config" / file.name)
    (staging / "left_out.json").replace(left_out)


def _num_cpus() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _rows(
    cls: type[SkeletonBuilder], protocols: Sequence[str], builders: dict[str, SkeletonBuilder]
) -> list[Row]:
    rows = []
    for protocol in protocols:
        if protocol in builders:
            splits, published = builders[protocol].info.splits, cls.PUBLISHED.get(protocol, {})
            for split in SPLITS:
                sequences = splits[split].num_examples if split in splits else 0
                rows.append(Row(protocol, split, sequences, published.get(split)))
    return rows


def _report_left_out(path: Path, count: int) -> None:
    print(f"left out: {count} samples; names and reasons stand in {path}")


def _report(rows: Sequence[Row]) -> None:
    print(f"{'protocol':10} {'split':6} {'sequences':>10} {'published':>10}")
    differ = [row for row in rows if row.published not in (None, row.sequences)]
    for row in rows:
        published = "-" if row.published is None else f"{row.published:,}"
        mark = "  <- differs" if row in differ else ""
        print(f"{row.protocol:10} {row.split:6} {row.sequences:10,} {published:>10}{mark}")
    if differ:
        print(
            "warning: these are not the published numbers of sequences: expected where the raw "
            "files are a part of the data set; otherwise look for missing files."
        )


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
