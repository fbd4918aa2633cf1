"""Data for pre-training and evaluation: prepared records by name or path, or arrays."""

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from amr_jax import prepare
from amr_jax.config import arguments
from amr_jax.data import datasets, mixture
from amr_jax.data.readers import arrays, in_memory, labels
from amr_jax.errors import UserError
from amr_jax.inference.apply import Input
from amr_jax.run import paths
from amr_jax.skeleton import layouts

_AS_CAPTURED = {"centre": False, "max_frames": 2**31, "body_frame": "none"}


class Data:
    """Records of one data set, or of several; `load_data` makes it.

    Attributes:
      name: as in configs: 'nwucla', 'nwucla+utd', or the folder of own records.
      data_dir: the folder of the records.
      classes: (K,) the classes in the order of their numbers; those of `y` for arrays.
    """

    def __init__(self, name: str, data_dir: str, classes: np.ndarray | None = None, keep=None):
        self.name, self.data_dir, self._keep = name, data_dir, keep  # keep: a temporary folder
        self._row = datasets.get(name)
        names = self.open().class_names
        self.classes = np.array(names) if classes is None else classes

    def open(self, split: str = "train") -> mixture.Source:
        """The records of a split, as captured; `UserError` if there is no such split."""
        return self._row.open_split(
            self.data_dir, split, ml_collections.ConfigDict(dict(_AS_CAPTURED))
        )

    def has_joints_of(self, size: Input) -> bool:
        """Whether layout and channels are those of a model's input."""
        return (self._row.layout.name, self._row.channels) == (size.layout, size.channels)

    def arrays(self, split: str = "train") -> tuple[list[np.ndarray], np.ndarray]:
        """The sequences of a split, and their classes (n,).

        Each is (T, M, V, C) float32, or (T, V, C) where the set has one body in every sequence.
        Joints in space are in metres as captured; those in an image are divided by the body's size.

        Args:
          split: 'train' or 'test', or a part of one: 'train[:10]'.
        """
        records = self.open(split)
        examples = list(records.examples(np.arange(len(records))))
        number = np.array([example["label"] for example in examples], int)
        alone = records.num_slots == 1
        joints = [one["joints"][:, 0] if alone else one["joints"] for one in examples]
        return joints, self.classes[number]

    def __repr__(self) -> str:
        counts = []
        for split in ("train", "test"):
            with contextlib.suppress(UserError):
                counts.append(f"{len(self.open(split)):,} {split}")
        layout, known = self._row.layout, self.classes.tolist() != [labels.UNLABELLED]
        return (
            f"Data({datasets.short(self.name)!r}: {', '.join(counts)} sequences; "
            f"{layout.num_joints} joints ({layout.name}), "
            f"{len(self.classes) if known else 'no'} classes)"
        )


def load_data(
    source: Any,
    data_dir: os.PathLike | str | None = None,
    *,
    y: Sequence | None = None,
    layout: str | None = None,
    channels: str = "xyz",
    name: str = "arrays",
    subject: Sequence | None = None,
    split: Sequence[str] | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Data:
    """Data by name, by path, or from arrays.

        load_data("nwucla", "DATA")
        load_data("DATA/custom/mydata")
        load_data(x, y=y, layout="kinect_20")

    Arrays become records as `amr-jax prepare --dataset=custom` makes them.

    Args:
      source: the name of a data set, of several ('nwucla+utd'), the folder of own records, or
        arrays: see `in_memory.sequences`.
      data_dir: the folder of the records; of arrays the folder to write them to, which keeps them.
        None: where TFDS has them; of arrays, a temporary folder that goes with the object.
      y: arrays: (n,) the class of each sequence, numbers or texts. None: none is known.
      layout: arrays: the joints, a name of `layouts.LAYOUTS` or the path of a layout's .json.
      channels: arrays: the numbers of a joint, 'xyz' (metres), 'xy' or 'xyc' (in an image).
      name: arrays: of their records, which replace earlier ones in `data_dir`.
      subject: arrays: (n,) who acts, so that no subject is in both splits.
      split: arrays: (n,) 'train' or 'test'.
      test_fraction: arrays with `y` and without `split`: the share that is set aside for testing,
        by subject if they are known, else of each class; 0: all are for training.
      seed: of that choice.

    Raises:
      UserError: no such data set or records; arrays of another form, or with NaN.
    """
    if isinstance(source, (str, os.PathLike)):
        wrong = {"y": y, "layout": layout, "subject": subject, "split": split}
        for key, value in wrong.items():
            if value is not None:
                raise UserError(f"{key}: is for arrays; {os.fspath(source)!r} names records.")
        name = arguments.read(os.fspath(source)).name
        return Data(name, os.fspath(data_dir or "~/tensorflow_datasets"))
    sequences = in_memory.sequences(source)
    layout = _layout(layout, sequences[0].shape[2])
    columns = {"y": y, "subject": subject, "split": split}
    columns = {key: _column(key, value, len(sequences)) for key, value in columns.items()}
    classes, y = None, columns.pop("y")
    if y is not None:
        classes, columns["label"] = np.unique(y, return_inverse=True)
    keep = None if data_dir else tempfile.TemporaryDirectory(prefix="amr_jax_data_")
    folder = paths.absolute(data_dir or keep.name)
    options = {"name": name, "layout": layout, "channels": channels}
    if y is not None and split is None:  # 0, too: left out, `prepare` takes its default
        options["test_fraction"] = str(test_fraction)
        if test_fraction:
            options["split_seed"] = str(seed)
    _write(sequences, columns, classes, folder, options)
    return Data(str(folder / "custom" / name), str(folder), classes, keep)


def _layout(layout: str | None, num_joints: int) -> str:
    if layout is None:
        fits = [one.name for one in layouts.LAYOUTS.values() if one.num_joints == num_joints]
        choice = (
            f"{', '.join(fits)} (each has {num_joints})" if fits else ", ".join(layouts.LAYOUTS)
        )
        raise UserError(
            f"layout: is not given, and numbers do not tell what the {num_joints} joints are; "
            f"expected one of: {choice}; or the path of a layout's .json (docs/own_data.md)."
        )
    return layout


def _column(name: str, values: Sequence | None, count: int) -> np.ndarray | None:
    if values is None:
        return None
    values = np.asarray(values)
    if values.shape != (count,):
        raise UserError(
            f"{name}: found the shape {values.shape}; expected ({count},), one of each sequence."
        )
    if any(one is None or one != one for one in values.tolist()):
        raise UserError(
            f"{name}: found None or NaN; expected a value for each sequence, or none at all."
        )
    return values


def _write(sequences, columns, classes, folder: os.PathLike, options: dict[str, str]) -> None:
    """Writes arrays as the files that `prepare` reads, and prepares them."""
    from amr_jax.data.build import custom  # late: its libraries take a second

    form = custom.config_of(options)
    form = arrays.Form(
        form.layout.num_joints,
        form.channels,
        told_by="layout= and channels=",
        layout=form.layout.name,
    )
    for i, values in enumerate(sequences):  # errors name x[i], not a file that nobody has seen
        arrays.joints(values, None, form, f"x[{i}]")
    with tempfile.TemporaryDirectory(prefix="amr_jax_raw_") as raw:
        for i, values in enumerate(sequences):
            row = {key: column[i] for key, column in columns.items() if column is not None}
            np.savez(Path(raw) / f"{i:06d}.npz", joints=values, **row)
        if classes is not None:
            text = "\n".join(map(str, classes)) + "\n"
            (Path(raw) / labels.CLASSES_FILE).write_text(text, encoding="utf-8")
        said = io.StringIO()
        logging.disable(logging.WARNING)  # TFDS's, on folders that are still empty
        try:
            with contextlib.redirect_stdout(said):
                prepare.prepare("custom", raw, folder, num_workers=1, overwrite=True, **options)
        finally:
            logging.disable(logging.NOTSET)
    for line in said.getvalue().splitlines():
        if line.startswith("note"):  # not the table of counts: the object shows them
            print(line)
