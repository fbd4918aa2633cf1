"""The file of the logits of a test split; ensembles read it (`python -m amr_jax.ensemble`)."""

import dataclasses
import io
import os

import numpy as np
from etils import epath

from amr_jax.data.readers import bounded
from amr_jax.errors import BadFile, UserError
from amr_jax.run import workdir

FILE = "scores.npz"

_MAX_BYTES = 2**31  # of the unpacked arrays; NTU-120 has 60 MB

# Names of arrays in the file; all other arrays are logits, named by encoder.
_NAMES, _LABELS, _CLASSES = "names", "labels", "class_names"


@dataclasses.dataclass(frozen=True)
class Scores:
    """Logits of classifiers for every test sequence.

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
    """Writes the file of `folder` atomically; numpy reads it without pickles."""
    content = io.BytesIO()
    arrays = {
        _NAMES: np.asarray(scores.names, np.str_),
        _LABELS: np.asarray(scores.labels, np.int32),
        _CLASSES: np.asarray(scores.class_names, np.str_),
    }
    np.savez(content, **arrays, **scores.logits)
    workdir.write(epath.Path(folder) / FILE, content.getvalue())


def read(folder: os.PathLike | str) -> Scores:
    """Reads the file that an evaluation wrote to `folder`.

    Raises:
      UserError: the file is absent, or not of the form that `write` makes.
    """
    path = epath.Path(folder).expanduser() / FILE
    if not path.exists():
        raise UserError(
            f"{path}: not found; expected the workdir of a finished `python -m amr_jax.evaluate` "
            "with a protocol that has logits (linear, finetune)."
        )
    try:
        content = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise BadFile(path, error.strerror or str(error), "a file that can be read") from error
    arrays = bounded.load_npz(content, path, max_bytes=_MAX_BYTES)
    if not {_NAMES, _LABELS, _CLASSES} < arrays.keys():
        expected = f"arrays {_NAMES}, {_LABELS} and {_CLASSES}, and logits of each encoder"
        raise BadFile(path, f"the arrays {', '.join(arrays)}", expected)
    names, labels, classes = (arrays.pop(name) for name in (_NAMES, _LABELS, _CLASSES))
    for what, texts in ((_NAMES, names), (_CLASSES, classes)):
        if texts.dtype.kind != "U" or texts.ndim != 1 or not len(texts):
            raise BadFile(path, _shape(what, texts), "one axis of strings")
        if len(set(texts.tolist())) < len(texts):
            raise BadFile(path, f"{what} that occur twice", f"different {what}")
    if labels.dtype != np.int32 or labels.shape != names.shape:
        raise BadFile(path, _shape(_LABELS, labels), f"{len(names)} of dtype int32, one per name")
    if not 0 <= labels.min() <= labels.max() < len(classes):
        found = f"{_LABELS} from {labels.min()} to {labels.max()}"
        raise BadFile(path, found, f"0 to {len(classes) - 1}, the indices of the classes")
    for encoder, logits in arrays.items():
        if logits.shape != (len(names), len(classes)) or logits.dtype != np.float32:
            found = f"{_shape(encoder, logits)} for {len(names)} names and {len(classes)} classes"
            raise BadFile(path, found, "float32, one row per sequence, one column per class")
        if not np.isfinite(logits).all():
            raise BadFile(path, f"{encoder} with numbers that are not finite", "finite logits")
    return Scores(names, labels, tuple(classes.tolist()), arrays)


def _shape(name: str, array: np.ndarray) -> str:
    return f"{name} of shape {array.shape}, dtype {array.dtype}"
