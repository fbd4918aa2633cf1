"""Writes the records of all protocols of a data set from one parse.

Everything is built in a folder of its own inside the data set's folder, and moved into place at the
very end. Until then existing records stay untouched, and an interrupted preparation leaves none.
"""

import contextlib
import dataclasses
import errno
import fcntl
import io
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from etils import epath

from amr_jax.data import record_files, record_folder
from amr_jax.data.build import parsing
from amr_jax.data.build.builder import SPLITS, SkeletonBuilder, write_left_out
from amr_jax.data.readers import findings
from amr_jax.data.readers.files import LeftOut
from amr_jax.data.readers.search import some
from amr_jax.errors import UserError
from amr_jax.run import paths


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the summary: the number of sequences of a split, and the published number."""

    protocol: str
    split: str
    sequences: int
    published: int | None  # None: no number is published


def prepare(
    cls: type[SkeletonBuilder],
    manual_dir: str | Path,
    data_dir: str | Path,
    *,
    on_bad_file: str,
    num_workers: int | None,
    overwrite: bool,
    **options: str,
) -> list[Row]:
    """Writes the records of all protocols that the raw files allow; see `amr_jax.prepare`."""
    for name, folder in (("manual_dir", manual_dir), ("data_dir", data_dir)):
        if paths.is_remote(folder):
            raise UserError(
                f"--{name} is {folder!r}; expected a local folder, because archives and records "
                "need random access. launch/prepare_on_gcs.sh downloads, prepares and uploads; "
                "elsewhere prepare on a disk, then copy the finished folder."
            )
    data_dir = Path(os.path.expanduser(data_dir))
    home, wanted = data_dir / cls.name, cls.protocols(**options)
    done = {} if overwrite else _already_prepared(cls, data_dir, options)
    protocols = [protocol for protocol in wanted if protocol not in done]
    if protocols:
        raw = cls.find(Path(os.path.expanduser(manual_dir)), **options)
        for note in raw.notes:
            print(f"note: {note}")
        protocols = [protocol for protocol in protocols if protocol in raw.protocols]
    if not protocols:
        print(f"{home}: already prepared; --overwrite writes the records again.")
        rows = _rows(cls, wanted, done)
    else:
        left_out = home / cls.left_out_file(**options)
        with _staging(home) as staging:
            (staging / "spool").mkdir()
            spool = raw.parse(
                staging / "spool",
                num_workers=num_workers or _num_cpus(),
                on_bad_file=on_bad_file,
                description=f"parsing {cls.name}",
            )
            for kind, found in findings.total(spool.findings()).items():
                print(f"note: {findings.line(kind, **found)}")
            made = {
                protocol: cls.make(protocol, staging / "records", (raw, spool), **options)
                for protocol in protocols
            }
            _tell(spool, made.values())
            for builder in made.values():
                _write(builder, staging)
            write_left_out(staging / "left_out.json", spool.left_out)
            rows = _rows(cls, wanted, done | made)
            _move(staging, home, left_out, made.values())
        names = sorted({sample.name for sample in spool.left_out})
        which = f" ({some(names)})" if names else ""
        print(f"left out: {len(spool.left_out)} samples{which}; {left_out} lists the reasons")
    _report(rows)
    return rows


def _tell(spool: parsing.Spool, builders: Collection[SkeletonBuilder]) -> None:
    """Prints what the sequences lack, or have too much of; lists those that are in no split."""
    if equal := spool.equal():
        what = f"{len(equal):,} sequences are there under several names, with equal joints"
        print(f"note: {what}: {some([' = '.join(names[:3]) for names in equal])}.")
    raw, _ = next(iter(builders)).source
    examples = map(spool.fields, range(len(spool)))
    nowhere = [
        fields["name"]
        for fields in examples
        if not any(raw.split(protocol, fields) for protocol in raw.protocols)
    ]
    if nowhere:
        print(f"note: {len(nowhere):,} sequences are in no split: {some(nowhere)}.")
        spool.left_out += [LeftOut(name, "", "in no split") for name in nowhere]
    for builder in builders:
        for note in builder.notes():
            print(f"note: {note}")


def _write(builder: SkeletonBuilder, staging: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints the name of `staging`
        builder.download_and_prepare(download_dir=staging / "downloads")
    _check(builder)


def _already_prepared(
    cls: type[SkeletonBuilder], data_dir: Path, options: dict[str, str]
) -> dict[str, SkeletonBuilder]:
    """Builders of the protocols whose records are complete and were made with these options."""
    done = {}
    for protocol in cls.protocols(**options):
        folder = data_dir / cls.name / protocol / record_folder.VERSION
        if not folder.exists():
            continue
        try:
            builder = cls.make(protocol, data_dir, None, **options)
            made_with, asked = dict(builder.info.metadata), builder.options()
            differ = sorted(key for key in asked if made_with.get(key) != asked[key])
            if not differ:
                _check(builder)
        except Exception as error:  # TFDS and ArrayRecord raise whatever their parsers raise
            raise UserError(
                f"{folder}: not a complete folder of records ({error}); --overwrite replaces it."
            ) from error
        if differ:
            raise UserError(
                f"{folder}: the records there were made with "
                f"{ {key: made_with.get(key) for key in differ} }, now asked for: "
                f"{ {key: asked[key] for key in differ} }. Choose another --data_dir, or replace "
                "them with --overwrite."
            )
        done[protocol] = builder
    return done


@contextlib.contextmanager
def _staging(home: Path) -> Iterator[Path]:
    """A locked folder to build in, on the file system of `home`; removed at the end."""
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
        for leftover in folder.iterdir():  # of a killed preparation
            shutil.rmtree(leftover)
        try:
            yield folder
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"{home}: the disk is full ({error.strerror}); no records were written. Free some "
                "space, or choose another --data_dir: all protocols together take about as much as "
                "the joints as float32 numbers, and as much again while they are written."
            ) from error
        finally:
            shutil.rmtree(folder)
            with contextlib.suppress(OSError):  # not empty: older records
                home.rmdir()
    finally:
        os.close(lock)


def _check(builder: SkeletonBuilder) -> None:
    """Counts all splits, and reads their first and last records."""
    if not builder.info.splits:
        raise OSError(errno.ENOENT, "no splits")
    wrong = record_files.faults(epath.Path(builder.data_path))
    if wrong := wrong or record_files.wrong_counts(builder, builder.info.splits):
        raise OSError(errno.EIO, wrong[0])
    for split in builder.info.splits:
        source = builder.as_data_source(split)
        _ = source[0], source[len(source) - 1]


def _move(staging: Path, home: Path, left_out: Path, builders: Collection[SkeletonBuilder]) -> None:
    """Moves complete records into place; replaced ones are removed with the staging folder."""
    for builder in builders:
        made = Path(builder.data_path)
        place = home / made.relative_to(staging / "records" / builder.name)
        place.parent.mkdir(exist_ok=True)
        if place.exists():
            place.rename(staging / f"replaced_{builder.builder_config.name}")
        made.rename(place)
    known = staging / "records" / home.name / ".config"  # TFDS's list of configs
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


def _report(rows: Sequence[Row]) -> None:
    print(f"{'protocol':10} {'split':6} {'sequences':>10} {'published':>10}")
    differ = [row for row in rows if row.published not in (None, row.sequences)]
    for row in rows:
        published = "-" if row.published is None else f"{row.published:,}"
        mark = "  <- differs" if row in differ else ""
        print(f"{row.protocol:10} {row.split:6} {row.sequences:10,} {published:>10}{mark}")
    if differ:
        print(
            "warning: these numbers of sequences differ from the published ones: expected if the "
            "raw files are a part of the data set; otherwise look for missing files."
        )
