"""`python -m amr_jax.prepare --verify --data_dir=DIR`: verifies the files of records."""

import os

import tensorflow_datasets as tfds
from etils import epath

from amr_jax.data import record_files
from amr_jax.errors import UserError
from amr_jax.run import console, paths


def verify(data_dir: os.PathLike | str) -> None:
    """Reads every file of every data set below `data_dir`, and prints one line per set.

    Raises:
      UserError: no records there; or names all damaged files.
    """
    root, damaged = epath.Path(data_dir).expanduser(), []
    if paths.is_remote(root):
        raise UserError(
            f"--data_dir={root}: expected a local folder; records are verified on a disk. "
            "(Training verifies its own copy of records in a bucket.)"
        )
    folders = list(record_files.folders(root))
    if not folders:
        raise UserError(
            f"{root}: found no records; expected the --data_dir of an earlier preparation."
        )
    with console.progress_bar("verifying", len(folders)) as advance:
        for folder in folders:
            lines, summary = _verify(folder)
            damaged += lines
            where = folder.relative_to(root)
            console.say(f"{where}: {f'{len(lines)} damaged file(s)' if lines else summary}")
            advance()
    if damaged:
        raise record_files.damage(damaged, "the same `prepare` with --overwrite.")


def _verify(folder: epath.Path) -> tuple[list[str], str]:
    """(one line per damaged file, summary if there is none)."""
    try:
        rows = record_files.read(folder)
    except UserError as error:
        return [str(error)], ""
    if rows is not None and (lines := record_files.faults(folder, contents_of=rows)):
        return lines, ""
    try:
        builder = tfds.builder_from_directory(folder)
        splits = builder.info.splits
    except Exception as error:  # TFDS raises whatever its parsers raise
        return [f"{folder / record_files.INFO_FILE}: cannot be read ({error})"], ""
    lines = record_files.wrong_counts(builder, splits)
    if rows is None and not lines:
        lines = _unreadable(builder)
    counts = ", ".join(f"{name} {info.num_examples:,}" for name, info in splits.items())
    if rows is None:
        return lines, f"{counts} sequences; older than checksums, but every record can be read"
    size = sum(row["bytes"] for row in rows.values()) / 1e6
    return lines, f"{counts} sequences; {len(rows)} files of {size:,.1f} MB are as written"


def _unreadable(builder: tfds.core.DatasetBuilder) -> list[str]:
    """One line per split with an unreadable record; ArrayRecord has hashes of its own."""
    lines = []
    for split in builder.info.splits:
        source = builder.as_data_source(split)
        try:
            for index in range(len(source)):
                source[index]
        except Exception as error:  # ArrayRecord and TFDS raise whatever their parsers raise
            lines.append(
                f"{builder.data_path}: record {index} of {split} is not readable ({error})"
            )
    return lines
