r"""STARS: a short contrastive stage on the encoder of another run, of any method.

  amr-jax pretrain --config=amr:ntu60_xsub --workdir=RUN
  amr-jax pretrain --config=stars:ntu60_xsub --config.start_from=RUN --workdir=DIR

The argument is a data set (`amr_jax/data/datasets.py`), or `NAME,runlocal` for a small model and
batch: seconds on two cores. Shared settings: `amr_jax/config/base.py`. The encoder's sizes, and
what it sees, are those of RUN. Without `start_from` a random encoder is trained by contrast alone.
"""

import ml_collections

from amr_jax.config import arguments, base, checks
from amr_jax.config.settings import Setting
from amr_jax.data import datasets

MASKS = False

SETTINGS = {
    "projector_hidden": Setting(4096, "hidden width of the projector", low=1),
    "features": Setting(256, "width of what is compared", low=1),
    "predictor_hidden": Setting(4096, "hidden width of the predictor", low=1),
    "queue": Setting(32768, "earlier features among which neighbours are looked up", low=1),
    "temperature": Setting(0.07, "of the softmax over the batch", above=0),
    "view_mirror": Setting(
        (),
        "the opposite of each joint: half of the views are mirrored",
        rule=checks.each_joint_once,
    ),
}

# Of published code; on small sets a twentieth of the steps would be too few.
STAGE = {
    "epochs": 20,
    "optim.lr": 1e-3,
    "optim.min_lr": 0.0,
    "optim.warmup_epochs": 0,
    "optim.weight_decay": 1e-4,
    "optim.b2": 0.999,
    "optim.clip_norm": 3.0,
    "optim.layer_decay": 0.45,
    "checkpoint.epochs": 5,
}

# A queue as long as 32,768 would hold each of a few hundred sequences a hundred times.
SMALL = {
    "model.projector_hidden": 512,
    "model.features": 128,
    "model.predictor_hidden": 512,
    "model.queue": 512,
}


def get_config(argument: str = "ntu60_xsub") -> ml_collections.ConfigDict:
    """The config for a data set and options (`amr_jax/data/datasets.py`)."""
    config = base.pretraining("stars", argument)
    runlocal = arguments.read(argument).runlocal
    config.update_from_flattened_dict(
        {k: v for k, v in STAGE.items() if not (runlocal and k in base.RUNLOCAL)}
    )
    if base.is_small(config.dataset) or runlocal:
        config.update_from_flattened_dict(SMALL)
    config.model.view_mirror = datasets.get(config.dataset).layout.mirrored
    return config
