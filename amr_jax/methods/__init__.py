"""The pre-training methods, and the contract that the one training loop relies on.

A method is a Linen module with a field `encoder`, so that the encoder's parameters are the sub-tree
`params["encoder"]`, all that downstream loads. `method.apply({"params": …}, clips, rngs={"mask": …,
"drop_path": …})` returns `(loss, metrics)` for clips (B, T, V, C); `validate()` refuses settings
that do not fit, before anything compiles; `num_kept` and `num_predicted` are the numbers of patches
of a body that stay visible and that are predicted. Masks, targets and weights are pure functions
elsewhere. A further method is one new file and one line in METHODS.
"""

from collections.abc import Mapping

from amr_jax.errors import UserError
from amr_jax.methods.amr import AMR
from amr_jax.methods.mamp import MAMP
from amr_jax.methods.masked import MaskedReconstruction
from amr_jax.methods.skeleton_mae import SkeletonMAE
from amr_jax.models.encoder import Encoder
from amr_jax.models.settings import compute_dtype, construct

METHODS: dict[str, type[MaskedReconstruction]] = {
    "amr": AMR,
    "mamp": MAMP,
    "skeleton_mae": SkeletonMAE,
}


def build(config: Mapping) -> MaskedReconstruction:
    """The method that a pre-training config describes, validated.

    Args:
      config: its keys `method`, `encoder` (fields of `Encoder`), `model` (fields of the method) and
        `dtype` (`float32` or `bfloat16`) are read.

    Raises:
      UserError: naming the key that is unknown, missing, or does not fit.
    """
    if config["method"] not in METHODS:
        raise UserError(
            f"config.method = {config['method']!r}; expected one of: {', '.join(METHODS)}."
        )
    dtype = compute_dtype(config["dtype"])
    encoder = construct(Encoder, "config.encoder", config["encoder"], dtype=dtype)
    method = construct(
        METHODS[config["method"]], "config.model", config["model"], encoder=encoder, dtype=dtype
    )
    method.validate()
    return method
