"""The pre-training methods, and the contract that the one training loop relies on.

A method is a Linen module with a field `encoder`, so that the encoder's parameters are the sub-tree
`params["encoder"]`, all that downstream loads. `method.apply({"params": …, …}, clips, rngs={…})`
returns `(loss, metrics)` for clips (B, T, V, C). The loop relies on nothing else but:

- `validate()` refuses settings that do not fit, before anything compiles;
- `num_kept`, `num_predicted`: patches of a body that stay visible, and that are predicted;
- `streams`: the names of the random streams that it draws from (`make_rng`);
- `across_bodies`: True if the loss compares bodies of a batch with each other, so that a batch
  cannot be computed in parts (`optim.accumulate`);
- `momentum_encoder`: True if it needs a moving average of its encoder. The loop keeps one, hands it
  in as the collection `average` ({"encoder": …}), and updates it after every step by the share
  `momentum(progress)`;
- any other collection that `init` makes is kept from step to step as `apply` leaves it (S-JEPA's
  centre). Where a batch is computed in parts, each starts from the same values and the results are
  averaged: right for what is linear in the batch's means.

Parameters called `kernel` have weight decay, all others have none (`optim.decay_mask`). Masks,
targets and weights are pure functions elsewhere. A further method is one new file and one
line in METHODS.
"""

from collections.abc import Mapping

from amr_jax.errors import UserError
from amr_jax.methods.amr import AMR
from amr_jax.methods.gfp import GFP
from amr_jax.methods.mamp import MAMP
from amr_jax.methods.masked import MaskedMethod
from amr_jax.methods.nat import NAT
from amr_jax.methods.sjepa import SJEPA
from amr_jax.methods.skeleton_mae import SkeletonMAE
from amr_jax.models.encoder import Encoder
from amr_jax.models.settings import compute_dtype, construct

METHODS: dict[str, type[MaskedMethod]] = {
    "amr": AMR,
    "gfp": GFP,
    "mamp": MAMP,
    "nat": NAT,
    "sjepa": SJEPA,
    "skeleton_mae": SkeletonMAE,
}


def build(config: Mapping) -> MaskedMethod:
    """The method that a pre-training config describes, validated.

    Args:
      config: its keys `method`, `encoder` (fields of `Encoder`), `model` (fields of the method),
        `dtype` (`float32` or `bfloat16`), `attention_kernel` and `input.stream` are read.

    Raises:
      UserError: naming the key that is unknown, missing, or does not fit.
    """
    if config["method"] not in METHODS:
        raise UserError(
            f"config.method = {config['method']!r}; expected one of: {', '.join(METHODS)}."
        )
    how = {
        "dtype": compute_dtype(config["dtype"]),
        "attention_kernel": config["attention_kernel"],
    }
    encoder = construct(Encoder, "config.encoder", config["encoder"], **how)
    method = construct(
        METHODS[config["method"]],
        "config.model",
        config["model"],
        encoder=encoder,
        input_stream=config["input"]["stream"],
        **how,
    )
    method.validate()
    return method
