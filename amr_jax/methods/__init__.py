"""The pre-training methods, and the contract between a method and the training loop.

A method is a Linen module with a field `encoder`; the encoder's parameters are the sub-tree
`params["encoder"]`, all that downstream tasks load. For clips (B, T, V, C) and their presence
(B, T, V), `method.apply({"params": …, …}, clips, present, rngs={…})` returns `(loss, metrics)`;
what is absent counts in no mean (`ops.presence`). Where data sets with different joints are mixed,
`joints` (B, V) follows `present`: a joint that a body's set lacks is never visible, attended to or
counted, and its values in `clips` mean nothing. The loop relies on this and on:

- `num_kept`, `num_predicted`: the numbers of visible and of predicted patches of a body;
- `views`: how the views of a clip are drawn; `view_frames`: how long they are. A method with
  several views gets tuples as `clips` and `present`;
- `streams`: names of the random streams that the method draws from (`make_rng`);
- `across_bodies`: whether the loss compares bodies of a batch with each other, so that a batch
  cannot be computed in parts (`optim.accumulate`);
- `momentum_encoder`: whether the method needs a moving average of its encoder. The loop keeps it,
  passes it as the collection `average` ({"encoder": …}), and updates it after every step; the share
  that it keeps of itself is `momentum(progress)`. With `momentum_heads`, copies of other
  sub-modules are kept alike;
- further arguments, by name, if `__call__` takes them (with defaults: `init` gives none):
  `sequences` (B,) int32, of which sequence of the split each body is; `progress`, the share of the
  training that is done, 0 to 1;
- any other collection that `init` makes: `apply` updates it and the loop keeps it (the centre of
  S-JEPA). With `optim.accumulate`, every part of a batch starts from the same values and the
  results are averaged, which is exact for what is linear in the means of the batch.

Weight decay applies only to parameters called `kernel` (`optim.decay_mask`). Masks, targets and
weights are pure functions in `ops`. A new method is a file here, a line in METHODS and
configs/NAME.py, whose SETTINGS are the method's fields with their bounds.
"""

from collections.abc import Mapping

from amr_jax.config.settings import require_choice
from amr_jax.methods.amr import AMR
from amr_jax.methods.gfp import GFP
from amr_jax.methods.mamp import MAMP
from amr_jax.methods.method import Method
from amr_jax.methods.nat import NAT
from amr_jax.methods.sjepa import SJEPA
from amr_jax.methods.skeleton_mae import SkeletonMAE
from amr_jax.methods.slim import SLiM
from amr_jax.methods.stars import STARS
from amr_jax.methods.usdrl import USDRL
from amr_jax.models.encoder import build_encoder
from amr_jax.models.settings import compute_dtype, construct

METHODS: dict[str, type[Method]] = {
    "amr": AMR,
    "gfp": GFP,
    "mamp": MAMP,
    "nat": NAT,
    "sjepa": SJEPA,
    "skeleton_mae": SkeletonMAE,
    "slim": SLiM,
    "stars": STARS,
    "usdrl": USDRL,
}


def build(config: Mapping) -> Method:
    """Builds the method that a checked pre-training config describes.

    Args:
      config: its keys `method`, `encoder` (fields of `Encoder`), `model` (fields of the method),
        `dtype` (`float32` or `bfloat16`), `attention_kernel` and `input.stream` are read.

    Raises:
      UserError: an unknown method; a key that is unknown or missing.
    """
    require_choice("config.method", config["method"], METHODS)
    kernel = config["attention_kernel"]
    return construct(
        METHODS[config["method"]],
        "config.model",
        config["model"],
        encoder=build_encoder(config["encoder"], config["dtype"], kernel),
        input_stream=config["input"]["stream"],
        dtype=compute_dtype(config["dtype"]),
        attention_kernel=kernel,
    )
