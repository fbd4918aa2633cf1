"""S-JEPA pre-training: predicts the tokens of a momentum encoder that sees the whole clip.

  amr-jax pretrain --config=sjepa:ntu60_xsub --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`), or `NAME,runlocal` for a small model and
batch: seconds on two cores. Shared settings: `amr_jax/config/base.py`.
`,published` takes the rules of MAMP's code for bodies, masks, decay, initial values and precision,
and trains for 1,200 epochs, for evaluations of the momentum encoder: docs/published_settings.md.
`--config.average=True` of a protocol evaluates the momentum encoder.

NW-UCLA, 40 epochs, one CPU core: 18:19 minutes; linear 62.7 %, 1-NN 62.9 % (docs/results.md).
"""

import ml_collections

from amr_jax.config import base, checks
from amr_jax.config.settings import Setting
from amr_jax.data import datasets

SETTINGS = {
    "masking": base.with_default(base.MODEL["masking"], "motion_aware"),
    "view_angles": Setting(
        (0.3, 0.3, 0.3),
        "bounds of a view's random rotation about x, y and z, in radians",
        low=0,
        length=3,
        rule=checks.about_z_in_an_image,
    ),
    "view_shift": Setting(
        0.1, "bound of a view's random translation, in metres (in an image: body sizes)", low=0
    ),
    "view_mirror": Setting(
        (),
        "the opposite of each joint: half of the views are mirrored",
        rule=checks.each_joint_once,
    ),
    "shared_view": Setting(False, "the target encoder sees the transformed view, too"),
    "target_temperature": Setting(0.06, "of the targets' softmax", above=0),
    "prediction_temperature": Setting(0.1, "of the predictions' softmax", above=0),
    "centre_momentum": Setting(0.9, "share the targets' centre keeps at a step", low=0, below=1),
    **base.MOMENTUM,
    "momentum_start": base.with_default(base.MOMENTUM["momentum_start"], 0.9999),
}

PUBLISHED = {"": {"epochs": 1200, "judged": "average"}}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = base.pretraining("sjepa", argument)
    dataset = datasets.get(config.dataset)
    config.model.view_angles = base.max_angles(dataset)
    config.model.view_mirror = dataset.layout.mirrored
    if base.small_model(config.dataset):
        # With a hundredth of the steps, a momentum of 0.9999 would keep the average at its start.
        config.model.momentum_start = 0.996
    return config
