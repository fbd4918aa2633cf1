"""A user's own sequences, one `.npz` file each.

Arrays in a file: `joints` (T, M, V, C) or, of one body, (T, V, C); and, as far as they are known,
`confidence` (T, M, V) or (T, V), `label` (a number from 0, or a name), `split` ('train', 'test', or
any other name) and `subject`. A `labels.csv` beside the files may tell the last three instead.
"""

import numpy as np

from amr_jax.data.readers import arrays
from amr_jax.errors import BadFile

_TEXTS = ("label", "split", "subject")


def read(raw, name: str, form: arrays.Form, told: dict[str, str] | None = None) -> dict:
    """Reads one sequence.

    Args:
      raw: a `files.RawFile` (anything with `read()` and a path as its `str`).
      name: what to call the sequence.
      form: what its joints must be.
      told: its row of labels.csv, instead of what the file says.

    Returns:
      joints (T, M, V, C) float32; name; label, split and subject as texts, '' where not told.

    Raises:
      BadFile: no such file, no joints, or joints of another form; `arrays.NoBody`.
    """
    found = arrays.read_npz(raw.read(), ("joints", "confidence", *_TEXTS), raw)
    if "joints" not in found:
        raise BadFile(raw, "no array 'joints'", "joints (T, M, V, C), or (T, V, C) of one body")
    joints, confidence = found["joints"], found.get("confidence")
    if joints.ndim == 3:
        joints = joints[:, None]
        confidence = None if confidence is None else confidence[:, None]
    texts = {key: _text(found[key], key, raw) if key in found else "" for key in _TEXTS}
    return {
        "joints": arrays.joints(joints, confidence, form, raw),
        "name": name,
        **(told or texts),
    }


def _text(value: np.ndarray, key: str, raw) -> str:
    """A single text or whole number, as text."""
    if value.size != 1 or value.dtype.kind not in "iuUS":
        found = f"'{key}' of shape {value.shape}, dtype {value.dtype}"
        raise BadFile(raw, found, "one number from 0, or one text")
    item = value.reshape(()).item()
    try:
        text = item.decode() if isinstance(item, bytes) else str(item)
    except UnicodeDecodeError as error:
        raise BadFile(raw, f"'{key}' of bytes that are not text", "text in UTF-8") from error
    if isinstance(item, int) and item < 0:
        raise BadFile(raw, f"'{key}' {item}", "a number from 0, or a name")
    return text
