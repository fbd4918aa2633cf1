"""Adapts an encoder to another skeleton, or to clips of another length.

Only its position embeddings change: time embeddings are interpolated, joint embeddings are matched
by the names of the joints.
"""

import dataclasses
import os
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np

from amr_jax.config import arguments
from amr_jax.config import base as base_config
from amr_jax.config.settings import refuse
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.ops import augment, resample
from amr_jax.skeleton.layouts import Layout
from amr_jax.skeleton.union import match_joints, other_parent, places


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """How the position embeddings were adapted; its fields are JSON.

    Attributes:
      joints: target joint -> source joint whose embedding it received.
      new: target joints without a counterpart.
      unused: source joints without a counterpart.
      num_times: patches along time, of the source and of the target; None where time is rotary,
        and nothing is interpolated.
    """

    joints: dict[str, str]
    new: list[str]
    unused: list[str]
    num_times: list[int] | None

    def lines(self) -> dict[str, str]:
        """The adaptation in words, for the banner."""
        same = [joint for joint, taken in self.joints.items() if joint == taken]
        other = [f"{joint} ← {taken}" for joint, taken in self.joints.items() if joint != taken]
        times = "rotary time"
        if self.num_times:
            before, after = self.num_times
            times = f"{before} times" + (f" interpolated to {after}" * (before != after) or " kept")
        found = {
            "same name": same,
            "other name": other,
            "new, random": self.new,
            "not used": self.unused,
        }
        lines = {
            "adapted": f"{len(self.joints)} of {len(self.joints) + len(self.new)} joints matched; "
            f"{times}"
        }
        return lines | {
            f"  {title}": f"{len(names)}: {', '.join(names)}"
            for title, names in found.items()
            if names
        }


def adapt(
    params: dict[str, Any],
    fresh: dict[str, Any],
    source: Layout,
    target: Layout,
    time_embeddings: str,
    path: os.PathLike | str,
) -> tuple[dict[str, Any], Adaptation]:
    """Adapts parameters to another layout of joints and another number of frames.

    Time embeddings, if there are any, are interpolated, with half-pixel centres. A joint receives
    the embedding of its counterpart (`match_joints`), or a random one if it has none. All other
    parameters are unchanged.

    Args:
      params: of an encoder of the source layout, on the host.
      fresh: a random initialisation of an encoder of the target layout and number of frames.
      source, target: the layouts.
      time_embeddings: 'linear', or 'bicubic' (`resample.bicubic`).
      path: file of the parameters, for messages.

    Raises:
      UserError: the layouts have no joint in common; the parameters are for another number of
        joints than the source layout has.
    """
    joints = params["position"]["joint"]
    if len(joints) != source.num_joints:
        raise UserError(
            f"{path}: an encoder of {len(joints)} joints: expected {source.num_joints}, as its "
            f"data set has ({source.name}). Pre-train on the data set as it is now."
        )
    counterparts = match_joints(source, target)
    matched = {name: taken for name, taken in counterparts.items() if taken is not None}
    if not matched:
        raise UserError(
            f"none of the {target.num_joints} joints of {target.name} "
            f"({', '.join(target.joints[:4])} …) has a counterpart in {source.name} "
            f"({', '.join(source.joints[:4])} …): expected at least one. Name the joints of "
            "your layout as the other layout does, where they are the same."
        )
    adapted = np.array(fresh["position"]["joint"])
    for name, taken in matched.items():
        adapted[target.joints.index(name)] = joints[source.joints.index(taken)]
    position, num_times = {"joint": adapted}, None
    if "time" in params["position"]:
        times = params["position"]["time"]
        num_times = [len(times), len(fresh["position"]["time"])]
        position["time"] = _resized(times, num_times, time_embeddings)
    adaptation = Adaptation(
        joints=matched,
        new=[name for name in target.joints if name not in matched],
        unused=[name for name in source.joints if name not in matched.values()],
        num_times=num_times,
    )
    return {**params, "position": position}, adaptation


def _resized(times: np.ndarray, num_times: list[int], how: str) -> np.ndarray:
    """Time embeddings of another number of times; `how` as `time_embeddings` of `adapt`."""
    if how == "bicubic":
        return resample.bicubic(times, num_times[1])
    return np.asarray(augment.crop_resize(jnp.asarray(times), 0, *num_times))  # as clips are


def selected(params: dict[str, Any], source: Layout, target: Layout) -> dict[str, Any]:
    """Parameters for a layout whose joints are all in `source`: their embeddings, in its order."""
    position = params["position"]
    joint = position["joint"][np.array(places(source, target))]
    return {**params, "position": {**position, "joint": joint}}


def settings(
    config: ml_collections.ConfigDict, pretraining: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """The pre-training config that defines how an evaluation loads, crops and encodes clips.

    This is the config of the run; of a run on several sets, as it is for this one of them. With
    `config.adapt` it is the config that the run would have had on this data set: loading and
    augmentation are the defaults of the data set, the stream and the size of the encoder those of
    the run.

    Args:
      config: of the evaluation, resolved.
      pretraining: of the run, resolved; from scratch, `config.scratch`.

    Raises:
      UserError: an unknown data set, or one with other channels; without `config.adapt`, other
        joints or another number of frames than the encoder was trained on.
    """
    _check_fit(config, pretraining)
    if not config.pretrained:
        return pretraining
    if not config.adapt:
        return for_one_set(pretraining, config.dataset)
    own = base_config.pretraining(pretraining.method, arguments.spell(config.dataset))
    seen = ml_collections.ConfigDict(pretraining.copy_and_resolve_references())
    seen.dataset = config.dataset
    seen.input.centre, seen.input.max_frames = own.input.centre, own.input.max_frames
    seen.augment = own.augment
    seen.encoder.num_frames = config.num_frames
    seen.encoder.num_joints = own.encoder.num_joints
    seen.encoder.channels = own.encoder.channels
    seen.encoder.confidence = own.encoder.confidence
    return seen


def for_one_set(pretraining: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    """The config of a run on several sets as it is for one set whose joints they have.

    Any other run's stays what it is.
    """
    if not datasets.get(pretraining.dataset).members:
        return pretraining
    one = datasets.get(name)
    seen = ml_collections.ConfigDict(pretraining.copy_and_resolve_references())
    seen.dataset, seen.input = name, one.cut(seen.input)
    seen.encoder.num_joints = one.layout.num_joints
    return seen


def has_joints_of(pretraining: ml_collections.ConfigDict, asked: datasets.Dataset) -> bool:
    """Whether the encoder of a run knows all joints of a set, and all bones if it sees bones.

    A run on one set knows the joints of that layout only, in that order.
    """
    trained = datasets.get(pretraining.dataset)
    if trained.layout == asked.layout:
        return True
    if not trained.members or places(trained.layout, asked.layout) is None:
        return False
    bones = pretraining.input.stream == "bone"
    return not bones or other_parent(trained.layout, asked.layout) is None


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
    if not has_joints_of(pretraining, asked):
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
