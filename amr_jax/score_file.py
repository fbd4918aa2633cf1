"""Logits of a test split in a file: what ensembles are made of (`python -m amr_jax.ensemble`)."""

import dataclasses
import io
import os
import zipfile

import numpy as np
from etils import epath

from amr_jax import workdir
from amr_jax.errors import BadFile, UserError

FILE = "scores.npz"

# Names of arrays in the file; all others are encoders.
_NAMES, _LABELS, _CLASSES = "names", "labels", "class_names"


@dataclasses.dataclass(frozen=True)
class Scores:
    """What classifiers say of every test sequence.

    Attributes:
      names: (S,) of the sequences, all different. labels: (S,) int32, their classes.
      class_names: K of them.
      logits: encoder ('pretrained', 'random') -> (S, K) float32.
    """

    names: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    logits: dict[str, np.ndarray]


def write(folder: os.PathLike | str, scores: Scores) -> None:
    """Writes them to `folder`, whole or not at all; numpy alone reads the file, without pickles."""
    content = io.BytesIO()
    arrays = {
        _NAMES: np.asarray(scores.names, np.str_),
        _LABELS: np.asarray(scores.labels, np.int32),
        _CLASSES: np.asarray(scores.class_names, np.str_),
    }
    np.savez(content, **arrays, **scores.logits)
    workdir.write(epath.Path(folder) / FILE, content.getvalue())


def read(folder: os.PathLike | str) -> Scores:
    """What an evaluation left in `folder`.

    Raises:
      UserError: there is no such file, or another one than `write` makes.
    """
    path = epath.Path(folder).expanduser() / FILE
    if not path.exists():
        raise UserError(
            f"{path}: not found; expected the workdir of a finished `python -m amr_jax.evaluate` "
            "with a protocol that has logits (linear, finetune)."
        )
    expected = f"arrays {_NAMES}, {_LABELS} and {_CLASSES}, and logits of each encoder"
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise BadFile(path, f"something else ({error})", f"an .npz file with {expected}") from error
    if not {_NAMES, _LABELS, _CLASSES} < arrays.keys():
        raise BadFile(path, f"the arrays {', '.join(arrays)}", expected)
    names, labels, classes = (arrays.pop(name) for name in (_NAMES, _LABELS, _CLASSES))
    for encoder, logits in arrays.items():
        if logits.shape != (len(names), len(classes)) or len(labels) != len(names):
            raise BadFile(
                path,
                f"{encoder} of shape {logits.shape} for {len(names)} names, {len(labels)} labels "
                f"and {len(classes)} classes",
                "one row a sequence, one column a class",
            )
    return Scores(names, labels, tuple(classes.tolist()), arrays)
