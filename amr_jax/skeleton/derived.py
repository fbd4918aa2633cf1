"""Joints that a layout lacks, as means of joints that it has: for models of other sensors.

Key points of detectors lie on the skin's outline and at limbs' ends; a Kinect's also lie in the
trunk. Means come near them, a few centimetres off: a model sees bodies that differ a little from
those that it was trained on.
"""

from collections.abc import Sequence

import numpy as np

from amr_jax.errors import UserError
from amr_jax.skeleton.layouts import SAME_JOINT, Layout

# Joint -> the joints that it is the mean of; they may be means themselves.
MEANS = {
    "hip centre": ("left hip", "right hip"),
    "shoulder centre": ("left shoulder", "right shoulder"),
    "spine": ("hip centre", "shoulder centre"),
    "head": ("left ear", "right ear"),
    "neck": ("shoulder centre", "head"),
    **{
        f"{side} {joint}": tuple(f"{side} {of}" for of in those)
        for side in ("left", "right")
        for joint, those in {
            "hand": ("index finger", "little finger"),
            "hand tip": ("index finger",),
        }.items()
    },
}


def weights(layout: Layout, joints: Sequence[str]) -> np.ndarray:
    """The matrix (V, joints of the layout) whose product with a layout's joints are `joints`.

    Raises:
      UserError: a joint is neither in the layout nor in `MEANS`.
    """

    def row(joint: str) -> np.ndarray | None:
        names = {joint, *(name for same in SAME_JOINT if joint in same for name in same)}
        if known := [layout.joints.index(name) for name in names if name in layout.joints]:
            return np.eye(layout.num_joints)[known[0]]
        parts = next((MEANS[name] for name in sorted(names) if name in MEANS), ())
        rows = [row(part) for part in parts]
        return np.mean(rows, axis=0) if rows and all(x is not None for x in rows) else None

    rows = {joint: row(joint) for joint in joints}
    if lacking := [joint for joint, found in rows.items() if found is None]:
        raise UserError(
            f"{layout.name} has no {', '.join(lacking)}; expected a model of joints that it has or "
            f"of means of them: {', '.join(MEANS)}."
        )
    return np.stack(list(rows.values()))
