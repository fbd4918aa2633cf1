"""USDRL pre-training: decorrelated features of four views of a clip; no mask, no momentum encoder.

  amr-jax pretrain --config=usdrl:ntu60_xsub --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`), or `NAME,runlocal` for a small model and
batch: seconds on two cores. Shared settings: `amr_jax/config/base.py`.
All patches of four views are encoded: a step costs several times one of a masked method. The small
sets have a third of the others' epochs for that.
"""

import ml_collections

from amr_jax.config import arguments, base
from amr_jax.config.settings import Setting

MASKS = False

SETTINGS = {
    "projector_width": Setting(
        512, "features of the projectors' layers; the instance's last has twice that", low=1
    ),
    "temporal_weight": Setting(0.5, "weight of the temporal level; the instance's is 1", low=0),
    "spatial_weight": Setting(0.5, "weight of the spatial level", low=0),
    "similarity_weight": Setting(5.0, "weight of the differences between views", low=0),
    "variance_weight": Setting(5.0, "weight of the hinge on the features' deviation", low=0),
    "covariance_weight": Setting(1.0, "weight of covariances within a view", low=0),
    "correlation_weight": Setting(1e-3, "weight of correlations between views", low=0),
    "off_diagonal": Setting(0.005, "of different features, in the correlations", low=0),
    "view_corruption": Setting(
        0.5, "probability that a view has corrupted joints, and is not sheared", low=0, high=1
    ),
    "corrupted_joints": Setting(0.6, "share of joints that are corrupted", low=0, high=1),
    "view_shear": Setting(1.0, "bound of a view's random shear", low=0),
}

# Its code has an encoder of its own; these are its views and its training.
PUBLISHED = {
    "": {
        "epochs": 451,
        "batch_size": 356,
        "optim.lr": 5e-4,
        "optim.weight_decay": 1e-5,
        "augment.min_fraction": 0.1,
        "augment.max_angles": (0.0, 0.0, 0.0),
    }
}

# In place of the epochs of a set's small model: about the time of the other methods.
SMALL = {"epochs": 20, "optim.warmup_epochs": 2}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = base.pretraining("usdrl", argument)
    small = base.small_model(config.dataset)
    if small and not arguments.read(argument).runlocal:
        config.update_from_flattened_dict(SMALL)
    # As published: twice the width of the encoder, and at most 1.5 features for each body of a
    # batch (of small sets: 32). Covariances of many more features than bodies cannot vanish, and
    # then outweigh the loss of all variance: features shrink, whatever they show.
    most = 48 if small else 3 * config.batch_size // 2
    config.model.projector_width = min(2 * config.encoder.width, most)
    return config
