"""Finds and opens the folder of a data set's records."""

from typing import TYPE_CHECKING

from etils import epath

from amr_jax.data import record_files
from amr_jax.errors import UserError
from amr_jax.run import paths

if TYPE_CHECKING:  # else late: configs import this module
    import tensorflow_datasets as tfds

# The version of the TFDS builders in tfds_builders/; increases when the records' content changes.
VERSION = "1.0.0"


def is_custom(name: str) -> bool:
    """Whether the records are a user's own: their name is the path of their folder."""
    return name.startswith("/") or paths.is_remote(name)


def how_to_add_a_split(name: str, again: str) -> str:
    """What to do where records have no test split, or none for training.

    Args:
      name: of the records.
      again: the command that prepares them.
    """
    if is_custom(name):
        return f"If the files name no test split: {again} --test_fraction=0.2 --overwrite"
    return (
        f"If one of train and test is missing, {name} was prepared from a part of the raw files: "
        "add the others and prepare it again with --overwrite."
    )


def open_builder(data_dir: str, name: str) -> tuple["tfds.core.DatasetBuilder", str]:
    """The read-only builder of the records, and the command that prepares them.

    Raises:
      UserError: the records are absent or damaged; the message has the command.
    """
    if is_custom(name):
        folder = epath.Path(name)
        dataset, where = f"custom --name={folder.name}", folder.parent.parent
    else:
        folder = epath.Path(data_dir).expanduser() / name
        dataset, where = name.split("/")[0], data_dir
    if paths.is_remote(where):  # `prepare` writes to a disk
        where = f"DIR, and copy what is in DIR to {where}"
    make = (
        f"python -m amr_jax.prepare --dataset={dataset} --manual_dir=RAW_FILES --data_dir={where}"
    )
    if not (folder / VERSION).exists():
        versions = sorted(p.name for p in folder.iterdir()) if folder.exists() else []
        found = f"only version {', '.join(versions)}" if versions else "nothing"
        raise UserError(
            f"{folder}: found {found}; expected records of version {VERSION}. Make them with: "
            f"{make}"
        )
    # The small files come first: TFDS reads from them how to read the others.
    local = paths.on_disk(folder / VERSION)
    if rows := record_files.read(local):
        small = {file for file in rows if ".array_record-" not in file}
        if wrong := record_files.faults(local, of=small, contents_of=small):
            raise record_files.damage(wrong, f"{make} --overwrite")
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(local), make
    except Exception as error:  # TFDS documents no exceptions
        raise UserError(
            f"{folder / VERSION}: not a complete folder of records ({error}). Delete it and run: "
            f"{make}"
        ) from error
