"""Adapts an encoder to another skeleton, or to clips of another length.

Only its position embeddings change: time embeddings are interpolated, joint embeddings are matched
by the names of the joints.
"""

import dataclasses
import os
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from amr_jax.config import base as base_config
from amr_jax.config.settings import refuse
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.models.encoder import Encoder
from amr_jax.ops import augment
from amr_jax.run import checkpoint
from amr_jax.skeleton import layouts
from amr_jax.skeleton.layouts import Layout

# Fields of an encoder that its parameters depend on, and that cannot be adapted.
_KEPT = ("channels", "confidence", "patch_len", "width", "depth", "num_heads", "mlp_ratio")


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """How the position embeddings were adapted; its fields are JSON.

    Attributes:
      joints: target joint -> source joint whose embedding it received.
      new: target joints without a counterpart.
      unused: source joints without a counterpart.
      num_times: patches along time, of the source and of the target.
    """

    joints: dict[str, str]
    new: list[str]
    unused: list[str]
    num_times: list[int]

    def lines(self) -> dict[str, str]:
        """The adaptation in words, for the banner."""
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
    """The source joint for every target joint, in the order of the target; None: no counterpart.

    Counterparts have the same name, or stand together in `layouts.SAME_JOINT`.
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
    """Adapts parameters to another layout of joints and another number of frames.

    Time embeddings are interpolated linearly, with half-pixel centres. A joint receives the
    embedding of its counterpart (`match_joints`), or a random one if it has none. All other
    parameters are unchanged.

    Args:
      params: of the source encoder, on the host.
      fresh: a random initialisation of the target encoder.
      source, target: the encoders, and the layouts of their joints.
      path: file of the parameters, for messages.

    Raises:
      UserError: the encoders differ in more than frames and joints; the parameters are not those
        of the source encoder; the layouts have no joint in common.
    """
    (before, source_layout), (after, target_layout) = source, target
    for name in _KEPT:
        was, wanted = getattr(before, name), getattr(after, name)
        if was != wanted:
            raise UserError(
                f"{path}: the encoder was trained with {name} = {was}: expected {wanted}, as only "
                "joints and num_frames can be adapted. Pre-train with that value, or choose data "
                f"with {name} = {was}."
            )
    checkpoint.check_same(params, _shapes(before), path)
    counterparts = match_joints(source_layout, target_layout)
    if not any(counterparts.values()):
        raise UserError(
            f"none of the {target_layout.num_joints} joints of {target_layout.name} "
            f"({', '.join(target_layout.joints[:4])} …) has a counterpart in {source_layout.name} "
            f"({', '.join(source_layout.joints[:4])} …): expected at least one. Name the joints of "
            "your layout as the other layout does, where they are the same."
        )
    time, joint = params["position"]["time"], np.array(fresh["position"]["joint"])
    for i, taken in enumerate(counterparts.values()):
        if taken is not None:
            joint[i] = params["position"]["joint"][source_layout.joints.index(taken)]
    # Embeddings are resampled as clips are.
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
    """Shapes of the parameters of an encoder; nothing is computed."""
    clips = jnp.zeros((1, encoder.num_frames, encoder.num_joints, encoder.channels))
    return jax.eval_shape(encoder.init, jax.random.key(0), clips)["params"]


def settings(
    config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """The pre-training config that defines how an evaluation loads, crops and encodes clips.

    This is the config of the run. With `config.adapt` it is the config that the run would have had
    on this data set: loading and augmentation are the defaults of the data set, the stream and the
    size of the encoder those of the run.

    Args:
      config: of the evaluation, resolved.
      pretraining: of the run, resolved; from scratch, `config.scratch`.

    Raises:
      UserError: an unknown data set, or one with other channels; without `config.adapt`, other
        joints or another number of frames than the encoder was trained on.
    """
    _check_fit(config, pretraining)
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


def _check_fit(config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict) -> None:
    """Refuses an evaluation that needs `config.adapt` without it, or that cannot be adapted."""
    frames, patch_len = pretraining.encoder.num_frames, pretraining.encoder.patch_len
    if not config.pretrained:
        if config.num_frames != frames:
            refuse(
                "config.num_frames",
                config.num_frames,
                f"{frames}, config.scratch.encoder.num_frames: without config.pretrained nothing "
                "is adapted",
            )
        return
    if config.num_frames % patch_len:
        refuse(
            "config.num_frames",
            config.num_frames,
            f"None or a multiple of {patch_len}, the frames of a patch of {config.pretrained}",
        )
    trained, asked = (datasets.get(c.dataset) for c in (pretraining, config))
    run = f"{config.pretrained} was trained on {pretraining.dataset}"
    if trained.channels != asked.channels:
        refuse(
            "config.dataset",
            config.dataset,
            f"a data set with channels {trained.channels}, not {asked.channels}: {run}",
        )
    if config.adapt:
        return
    if trained.layout != asked.layout:
        refuse(
            "config.dataset",
            config.dataset,
            f"a data set with {trained.layout.num_joints} joints ({trained.layout.name}), not "
            f"{asked.layout.num_joints} ({asked.layout.name}): {run}. Or set --config.adapt=True, "
            "which matches joints by name",
        )
    if config.num_frames != frames:
        refuse(
            "config.num_frames",
            config.num_frames,
            f"{frames}: {run} with clips of {frames} frames. Leave it unset, or set "
            "--config.adapt=True, which interpolates time embeddings",
        )
