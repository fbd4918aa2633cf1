"""Sequences that a Python program holds as arrays, in the one form that all code takes."""

import numpy as np

from amr_jax.data.readers import arrays
from amr_jax.errors import UserError

_FORMS = (
    "one sequence (T, V, C), several of equal length (n, T, V, C) or (n, T, M, V, C), or a list of "
    "sequences (T, V, C) or (T, M, V, C)"
)

_BODIES = 2  # an axis as short as this is hardly time


def sequences(x: object) -> list[np.ndarray]:
    """The sequences in `x`, each as (T, M, V, C).

    Args:
      x: an array of one sequence (T, V, C), of several of equal length (n, T, V, C) or
        (n, T, M, V, C), or a list of sequences (T, V, C) or (T, M, V, C) of any length.
        Anything that `np.asarray` takes is an array; frames of zeros may follow the last one.
        MediaPipe's landmarks may be in one row per frame, (T, 132).

    Raises:
      UserError: another form, one that can mean two things, or nothing at all.
    """
    if not isinstance(x, (list, tuple)):
        x = np.asarray(x)
        x = x.reshape(arrays.shape_of(x))
        if x.ndim not in (3, 4, 5) and x.dtype != object:
            raise UserError(f"x: found the shape {x.shape}; expected {_FORMS}.")
        if x.ndim == 4 and x.shape[1] <= _BODIES:
            raise UserError(
                f"x: found the shape {x.shape}, which may be one sequence (T, M, V, C), or "
                f"{len(x)} of {x.shape[1]} frame(s); expected [x] for the first, list(x) for the "
                "others."
            )
        x = [x] if x.ndim == 3 else list(x)
    found = [np.asarray(one) for one in x]
    if not found:
        raise UserError(f"x: found no sequence; expected {_FORMS}.")
    found = [one.reshape(arrays.shape_of(one)) for one in found]
    for i, one in enumerate(found):
        if one.ndim not in (3, 4):
            raise UserError(f"x[{i}]: found the shape {one.shape}; expected {_FORMS}.")
    return [one[:, None] if one.ndim == 3 else one for one in found]
