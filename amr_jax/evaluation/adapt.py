"""An encoder that meets another skeleton, or clips of another length, than it was trained on.

All of its parameters stay but its embeddings of place: those of time are interpolated, those of
joints go by the joints' names.
"""

import dataclasses
import os
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from amr_jax.config import base as base_config
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.models.encoder import Encoder
from amr_jax.ops import augment
from amr_jax.run import checkpoint
from amr_jax.skeleton import layouts
from amr_jax.skeleton.layouts import Layout

# Fields of an encoder that decide what its parameters mean, beside those that `adapt` adapts.
_KEPT = ("channels", "confidence", "patch_len", "width", "depth", "num_heads", "mlp_ratio")


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """What became of an encoder's embeddings; JSON as it stands.

    Attributes:
      joints: target joint -> the source joint whose embedding it took.
      new: target joints without a counterpart.
      unused: source joints that are nobody's counterpart.
      num_times: patches along time, of the source and of the target.
    """

    joints: dict[str, str]
    new: list[str]
    unused: list[str]
    num_times: list[int]

    def lines(self) -> dict[str, str]:
        """What was matched, for the banner."""
        same = [joint for joint, taken in self.joints.items() if joint == taken]
        other = [f"{joint} ← {taken}" for joint, taken in self.joints.items() if joint != taken]
        before, after = self.num_times
        found = {
            "same name": same,
            "other name": other,
            "new, random": self.new,
            "not used": self.unused,
        }
        lines = {
            "adapted": f"{len(self.joints)} of {len(self.joints) + len(self.new)} joints matched; "
            f"{before} times" + (f" interpolated to {after}" if before != after else " kept")
        }
        return lines | {
            f"  {title}": f"{len(names)}: {', '.join(names)}"
            for title, names in found.items()
            if names
        }


def match_joints(source: Layout, target: Layout) -> dict[str, str | None]:
    """The source's counterpart of every joint of the target, in its order; None: there is none.

    The joint of the same name; else one that `layouts.SAME_JOINT` says is the same.
    """

    def counterpart(joint: str) -> str | None:
        if joint in source.joints:
            return joint
        also = (name for same in layouts.SAME_JOINT if joint in same for name in same)
        return next((name for name in also if name in source.joints), None)

    return {joint: counterpart(joint) for joint in target.joints}


def adapt(
    params: dict[str, Any],
    fresh: dict[str, Any],
    source: tuple[Encoder, Layout],
    target: tuple[Encoder, Layout],
    path: os.PathLike | str,
) -> tuple[dict[str, Any], Adaptation]:
    """An encoder's parameters for another layout of joints, and another number of frames.

    Time embeddings are interpolated linearly, with half-pixel centres: a clip's ends stay its ends.
    Joint embeddings are those of the joint's counterpart (`match_joints`). A joint without one
    takes a random embedding, as every joint began with: nothing that was learned says what it is.
    All else is handed on as it is; so is everything where nothing differs.

    Args:
      params: of the source's encoder, on the host.
      fresh: a random initialisation of the target's encoder.
      source, target: the encoders, and the joints that they see.
      path: where the parameters are from, for errors.

    Raises:
      UserError: encoders that differ in more than frames and joints; parameters that are not those
        of the source's encoder; layouts without a joint in common. By name.
    """
    (before, source_layout), (after, target_layout) = source, target
    for name in _KEPT:
        was, wanted = getattr(before, name), getattr(after, name)
        if was != wanted:
            raise UserError(
                f"the encoder was trained with {name} = {was}, and {name} = {wanted} is asked for: "
                "only joints and num_frames can be adapted. Pre-train with that value, or choose "
                f"data with {name} = {was}."
            )
    checkpoint.check_same(params, _shapes(before), path)
    counterparts = match_joints(source_layout, target_layout)
    if not any(counterparts.values()):
        raise UserError(
            f"none of the {target_layout.num_joints} joints of {target_layout.name} "
            f"({', '.join(target_layout.joints[:4])} …) has a counterpart in {source_layout.name} "
            f"({', '.join(source_layout.joints[:4])} …): nothing that was learned of joints would "
            "be kept. Give the joints of your layout the names of the other's, where they are the "
            "same."
        )
    time, joint = params["position"]["time"], np.array(fresh["position"]["joint"])
    for i, taken in enumerate(counterparts.values()):
        if taken is not None:
            joint[i] = params["position"]["joint"][source_layout.joints.index(taken)]
    # A table of embeddings is resampled as a clip is: the same positions, and as exactly.
    time = augment.crop_resize(jnp.asarray(time), 0, before.num_times, after.num_times)
    matched = {name: taken for name, taken in counterparts.items() if taken is not None}
    adaptation = Adaptation(
        joints=matched,
        new=[name for name, taken in counterparts.items() if taken is None],
        unused=[name for name in source_layout.joints if name not in matched.values()],
        num_times=[before.num_times, after.num_times],
    )
    return {**params, "position": {"time": np.asarray(time), "joint": joint}}, adaptation


def _shapes(encoder: Encoder) -> dict[str, Any]:
    """Of the encoder's parameters; nothing is computed."""
    clips = jnp.zeros((1, encoder.num_frames, encoder.num_joints, encoder.channels))
    return jax.eval_shape(encoder.init, jax.random.key(0), clips)["params"]


def settings(
    config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """How an evaluation's clips are loaded, viewed and encoded: as a config of pre-training.

    That is the run's own; with `config.adapt`, what it would be had the run been on this data set.
    Loading and augmentation are then the data set's defaults, being a matter of how long its
    sequences are, from where they are seen and whether the field centres them; the stream and the
    encoder's size stay the run's.

    Args:
      config: of the evaluation, resolved.
      pretraining: the run's, resolved; or what stands for it from scratch, where nothing is
        adapted.

    Raises:
      UserError: an unknown data set, or one with other channels; without `config.adapt`, other
        joints or another number of frames than the encoder was trained on.
    """
    _require_fit(config, pretraining)
    if not (config.adapt and config.pretrained):
        return pretraining
    own = base_config.pretraining(pretraining.method, config.dataset)
    seen = ml_collections.ConfigDict(pretraining.copy_and_resolve_references())
    seen.dataset = config.dataset
    seen.input.centre, seen.input.max_frames = own.input.centre, own.input.max_frames
    seen.augment = own.augment
    seen.encoder.num_frames = config.num_frames
    seen.encoder.num_joints = own.encoder.num_joints
    seen.encoder.channels = own.encoder.channels
    seen.encoder.confidence = own.encoder.confidence
    return seen


def _require_fit(config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict) -> None:
    """Refuses an evaluation that would need what `config.adapt` does, and does not ask for it."""
    patch_len, frames = pretraining.encoder.patch_len, pretraining.encoder.num_frames
    if not config.pretrained:
        if config.num_frames != frames:
            raise UserError(
                f"config.num_frames={config.num_frames}: without config.pretrained nothing is "
                "adapted; config.scratch.encoder.num_frames says how many frames."
            )
        return
    if config.num_frames < 1 or config.num_frames % patch_len:
        raise UserError(
            f"config.num_frames={config.num_frames}: expected a multiple of {patch_len}, the "
            f"frames of a patch of the encoder in {config.pretrained}; or 0, as it was trained."
        )
    rows = [datasets.get(c.dataset) for c in (pretraining, config)]
    if rows[0].channels != rows[1].channels:
        raise UserError(
            f"config.dataset={config.dataset!r} has joints of {rows[1].channels}; the encoder in "
            f"{config.pretrained} was trained on {pretraining.dataset}, with {rows[0].channels}. "
            "Choose a data set of the same channels, or an encoder trained on this one."
        )
    if config.adapt:
        return
    seen, asked = (row.layout for row in rows)
    if seen != asked:
        raise UserError(
            f"config.dataset={config.dataset!r} has {asked.num_joints} joints ({asked.name}); the "
            f"encoder in {config.pretrained} was trained on {pretraining.dataset}, with "
            f"{seen.num_joints} ({seen.name}). Choose a data set of that layout, an encoder "
            "trained on this one, or --config.adapt=True: its joints are then matched by name."
        )
    if config.num_frames != frames:
        raise UserError(
            f"config.num_frames={config.num_frames}: the encoder in {config.pretrained} was "
            f"trained on clips of {frames} frames. Leave it at 0, or set --config.adapt=True: its "
            "time embeddings are then interpolated."
        )
