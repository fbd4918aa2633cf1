"""AMR as experiments on small real sets chose it (docs/real_sets.md): configs/amr_SIZE.py.

Where it differs from the paper, it does so in loading and in the target, not in the method: persons
are turned to the viewer, and the target is motion over a twelfth of the clip, divided by the body's
mean amplitude. A step between two frames is hardly larger than the noise of a Kinect, and
normalised patch by patch, this noise is as large a target as motion.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from amr_jax.config import arguments, base


def recipe(argument: str, sizes: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """The config of AMR by the recipe, for a data set and options (`arguments.read`).

    Args:
      argument: with `published`, all that the recipe does not change is as published; `runlocal`
        replaces the sizes.
      sizes: values of settings of pre-training, by key.

    Raises:
      UserError: as `arguments.read`.
    """
    chosen = arguments.read(argument)
    config = base.pretraining("amr", argument)
    if not chosen.runlocal:
        config.update_from_flattened_dict(dict(sizes))
        config.size = None
    config.optim.min_lr = 1e-5
    config.model.normalisation = "body"
    config.model.motion_stride = max(1, config.encoder.num_frames // 12)
    config.augment.max_angles = base.max_angles(chosen.dataset)
    if chosen.dataset.frame("first"):
        config.input.body_frame = "first"
    return config
