"""Rules across several settings.

A setting names its rule (`settings.Setting.rule`). A rule receives the config and the setting's
value; it returns what was expected, or None if it holds. Rules that depend on the method or the
devices are functions that raise.
"""

import importlib.util
import inspect
import itertools

import ml_collections

from amr_jax.config.settings import refuse
from amr_jax.data import datasets
from amr_jax.skeleton import union

_SERVICES = ("wandb", "mlflow")  # writers that need a package of their name


def installed(config: ml_collections.ConfigDict, writers: tuple[str, ...]) -> str | None:
    """The packages of writers are there; they are not imported."""
    del config
    absent = [x for x in writers if x in _SERVICES and importlib.util.find_spec(x) is None]
    if absent:
        return f"the package {absent[0]} to be installed: pip install 'amr_jax[{absent[0]}]'"
    return None


def num_times(config: ml_collections.ConfigDict) -> int:
    """T_e: patches along time."""
    return config.encoder.num_frames // config.encoder.patch_len


def num_patches(config: ml_collections.ConfigDict) -> int:
    """N: patches of a body."""
    return num_times(config) * config.encoder.num_joints


def num_visible(num_patches: int, mask_ratio: float, explicit: int | None, rounding: str) -> int:
    """Patches of a body that stay visible.

    Args:
      num_patches: N.
      mask_ratio: share of patches that is hidden.
      explicit: overrides the ratio unless None or 0.
      rounding: 'nearest': 75 of 750 at the ratio 0.9; 'down', as published code computes it: 74,
        because 750 · (1 − 0.9) lies below 75 in floating point.
    """
    exact = num_patches * (1 - mask_ratio)
    return explicit or (round(exact) if rounding == "nearest" else int(exact))


def _visible(config: ml_collections.ConfigDict) -> int:
    model = config.model
    return num_visible(
        num_patches(config), model.mask_ratio, model.num_visible, model.round_visible
    )


def some_visible(config: ml_collections.ConfigDict, value) -> str | None:
    """At least one patch is visible and one hidden."""
    del value
    most = num_patches(config) - 1
    if 0 < _visible(config) <= most:
        return None
    return (
        f"1 to {most} visible patches; found {_visible(config)}, with config.model.mask_ratio = "
        f"{config.model.mask_ratio}"
    )


def two_times_if_motion_aware(config: ml_collections.ConfigDict, masking: str) -> str | None:
    """Motion-aware masking compares patches in time."""
    if masking != "motion_aware" or num_times(config) >= 2:
        return None
    return "'random', as a clip is one patch in time (encoder.num_frames / encoder.patch_len)"


def all_bodies_if_repeated(config: ml_collections.ConfigDict, second_body: str) -> str | None:
    """An absent second body is repeated only where it is encoded."""
    named = "config.input.bodies" if "input" in config else "config.bodies"
    bodies = config.input.bodies if "input" in config else config.bodies
    return None if second_body == "zeros" or bodies == "all" else f"'zeros', or {named} = 'all'"


def bfloat16_if_cudnn(config: ml_collections.ConfigDict, kernel: str) -> str | None:
    """cuDNN's attention takes 16-bit inputs only."""
    if kernel == "cudnn" and config.dtype not in ("auto", "bfloat16"):
        return "'xla', or config.dtype = 'bfloat16'"
    return None


def about_z_in_an_image(config: ml_collections.ConfigDict, angles: tuple) -> str | None:
    """Joints of two coordinates rotate about z only."""
    if config.encoder.channels - config.encoder.confidence == 2 and any(angles[:2]):
        return "(0.0, 0.0, angle): joints in an image rotate about z only"
    return None


def even_heads_if_rotary(config: ml_collections.ConfigDict, position: str) -> str | None:
    """Rotary positions turn pairs of features of a head."""
    encoder = config["encoder"]
    head = encoder["width"] // encoder["num_heads"]
    if position != "rotary" or head % 2 == 0:
        return None
    return f"'grid', or heads of an even width; found {head} (encoder.width / encoder.num_heads)"


def frames_if_patch_timestamps(config: ml_collections.ConfigDict, normalisation: str) -> str | None:
    """Normalisation over the frames of a predicted patch needs two of them."""
    model = config.model
    frames = config.encoder.patch_len * model.get("r", model.get("pool", 1))
    if normalisation == "patch_timestamps" and frames < 2:
        return "another one, or predicted patches of at least 2 frames (encoder.patch_len is 1)"
    return None


def hidden_and_not_pooled(config: ml_collections.ConfigDict, num_decoded: int | None) -> str | None:
    """Decoder masking decodes some hidden patches; pooling would need all of them."""
    num_hidden = num_patches(config) - _visible(config)
    if num_decoded is None:
        return None
    if num_decoded > num_hidden:
        return f"at most {num_hidden}, the hidden patches"
    return None if config.model.pool == 1 else "None where config.model.pool is above 1"


def each_joint_once(config: ml_collections.ConfigDict, mirrored: tuple) -> str | None:
    """A mirror image has every joint once."""
    joints = config.encoder.num_joints
    if sorted(mirrored) in ([], list(range(joints))):
        return None
    return f"each of the joints 0 to {joints - 1} once, or ()"


def parts_of_joints(config: ml_collections.ConfigDict, parts: tuple) -> str | None:
    """Body parts have joints, each of the joints at most once."""
    joints = [joint for part in parts for joint in part]
    known = set(range(config.encoder.num_joints))
    if parts and all(parts) and len(set(joints)) == len(joints) and set(joints) <= known:
        return None
    return f"tuples of joints, none of them empty, each of 0 to {len(known) - 1} at most once"


def encoder_of_views(config: ml_collections.ConfigDict, parts: tuple) -> str | None:
    """Views of several lengths, with hidden patches, need an encoder of that form."""
    del parts
    encoder, wanted = config.encoder, {"class_token": True, "mask_token": True}
    wanted["position"] = "rotary"
    lacks = [f"config.encoder.{key} = {x!r}" for key, x in wanted.items() if encoder[key] != x]
    return f"an encoder with {' and '.join(lacks)} for these views" if lacks else None


def as_many_as_local_parts(config: ml_collections.ConfigDict, shares: tuple) -> str | None:
    """Each local view has its bound."""
    number = len(config.model.local_parts)
    return None if len(shares) == number else f"{number} numbers, as config.model.local_parts has"


def levels_nest(config: ml_collections.ConfigDict, levels: tuple) -> str | None:
    """Each level pools the one before it."""
    del config
    if all(coarser % finer == 0 for finer, coarser in itertools.pairwise(levels)):
        return None
    return "levels of which each divides the next"


def require_method_fits(config: ml_collections.ConfigDict, method) -> None:
    """Raises `UserError` for training settings that the method, as configured, cannot do.

    Args:
      config: of pre-training.
      method: its `across_bodies` and `momentum_encoder` are read (`amr_jax.methods`).
    """
    if method.across_bodies and config.optim.accumulate > 1:
        refuse(
            "config.optim.accumulate",
            config.optim.accumulate,
            f"1, as the loss of {config.method} compares the bodies of a whole batch",
        )
    if config.judged == "average" and not (method.momentum_encoder or config.optim.ema_decay):
        refuse(
            "config.judged",
            config.judged,
            f"'encoder', as this run of {config.method} keeps no moving average: set "
            "config.optim.ema_decay for one",
        )
    if method.momentum_encoder and config.optim.ema_decay:
        refuse(
            "config.optim.ema_decay",
            config.optim.ema_decay,
            f"None, as {config.method} keeps a moving average of its encoder already",
        )


def require_mixture_fits(config: ml_collections.ConfigDict, method) -> None:
    """Raises `UserError` if several sets have too few joints or other bones for these settings.

    Args:
      config: of pre-training.
      method: its `num_kept` is read, and whether it takes `joints` (`amr_jax.methods`).
    """
    mix = datasets.get(config.dataset)
    for name, one in (mix.members or {}).items():
        fewest = num_times(config) * one.layout.num_joints
        needed = method.num_kept + (config.model.get("num_decoded") or 1)
        masks = method.num_kept < num_patches(config)
        if masks and needed > fewest:
            refuse(
                "config.model.mask_ratio",
                config.model.mask_ratio,
                f"a share that leaves hidden patches: {method.num_kept} of all patches stay "
                f"visible, {needed} are used, and bodies of {name} have {fewest}",
            )
        joint = union.other_parent(mix.layout, one.layout)
        if config.input.stream == "bone" and joint:
            refuse(
                "config.input.stream",
                "bone",
                f"'joint' or 'motion', as {joint!r} of {name} is not the end of the same bone as "
                "in the other sets",
            )
        lacks = one.layout.num_joints < mix.layout.num_joints
        if lacks and "joints" not in inspect.signature(type(method).__call__).parameters:
            refuse(
                "config.dataset",
                config.dataset,
                f"sets with the same joints, as {config.method} does not take `joints`, which "
                "tells it which a set has",
            )


def require_fits(config: ml_collections.ConfigDict, method, mesh) -> None:
    """Raises `UserError` unless method, data sets and devices of a `jax.sharding.Mesh` fit."""
    require_batch_splits(config, mesh.size)
    require_kernel_runs(config, mesh.devices.flat[0].platform)
    require_method_fits(config, method)
    require_mixture_fits(config, method)


def require_kernel_runs(config: ml_collections.ConfigDict, platform: str) -> None:
    """Raises `UserError` if the attention kernel is not for devices of this platform, `tpu`."""
    if config.attention_kernel == "fused" and platform != "tpu":
        refuse(
            "config.attention_kernel",
            "fused",
            f"'auto', as this kernel is for TPUs, and the devices here are {platform!r}",
        )


def require_batch_splits(config: ml_collections.ConfigDict, num_devices: int) -> None:
    """Raises `UserError` unless the parts of a batch split over the devices."""
    if config.batch_size % (num_devices * config.optim.accumulate):
        refuse(
            "config.batch_size",
            config.batch_size,
            f"a multiple of {num_devices * config.optim.accumulate} ({num_devices} devices × "
            f"{config.optim.accumulate} parts, config.optim.accumulate)",
        )
