"""What a step of pre-training sees of a clip, and what it predicts: by the trained parameters.

Everything is computed here, by the method itself; intermediate values are captured by Flax, so
that the training step knows nothing of it.
"""

import dataclasses
import functools
import itertools
import os

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from amr_jax import methods
from amr_jax.data import datasets
from amr_jax.errors import UserError
from amr_jax.inference import read_inputs
from amr_jax.inference.load import of_pretraining
from amr_jax.methods.amr import AMR
from amr_jax.methods.masked import MaskedReconstruction
from amr_jax.models.settings import matmul_precision
from amr_jax.ops import motion_energy, normalise, targets
from amr_jax.ops.body_frame import BodyFrame
from amr_jax.run import checkpoint, paths, sharding, workdir
from amr_jax.skeleton.layouts import Layout
from amr_jax.train import step as train_step
from amr_jax.train.views import make_views


@dataclasses.dataclass(frozen=True)
class Given:
    """A clip as a run loads it.

    Attributes:
      name: of the sequence.
      joints: (T, M, V, C), cut and normalised.
      has: (V,) bool, joints that its data set has; None: all.
    """

    name: str
    joints: np.ndarray
    has: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Look:
    """One view of the first person of a clip, under B masks.

    Attributes:
      name: of the clip. method, step: of the run.
      layout, channels: of the joints.
      view: (T, V, C), cropped, resized and rotated; zero where the person is absent.
      present: (T, V) bool.
      ids: (B, N_v), the visible patches: time · V + joint.
      patch_len, predicted_len: frames of a patch, and of a predicted one.
      target: `joint` or `motion`. normalisation: of the targets.
      predicted: (T, V, 2 or 3), the joints by the prediction under the first mask: see `positions`.
      visible_kept: whether visible patches are in `predicted` as they are: the loss is of others.
      weights: (T, V), W; None where the method has none.
      attention: (B, Q, K) of the decoder's queries to tokens, the mean over heads and blocks; the
        tokens are the visible patches in the order of `ids` (AMR), or all patches.
    """

    name: str
    method: str
    step: int
    layout: Layout
    channels: str
    view: np.ndarray
    present: np.ndarray
    ids: np.ndarray
    patch_len: int
    predicted_len: int
    target: str
    normalisation: str
    predicted: np.ndarray
    visible_kept: bool
    weights: np.ndarray | None
    attention: np.ndarray

    @property
    def visible(self) -> np.ndarray:
        """Which patches the encoder sees under the first mask, (T/l, V) bool."""
        num_patches = self.view.shape[0] // self.patch_len * self.view.shape[1]
        return np.isin(np.arange(num_patches), self.ids[0]).reshape(-1, self.view.shape[1])


def given(
    run: os.PathLike | str,
    file: str | None = None,
    *,
    dataset: str | None = None,
    data_dir: str | None = None,
    split: str = "test",
    index: int = 0,
) -> Given:
    """A clip as a pre-training run loads it: of a file, or of records, by default the run's.

    `index` counts the sequences of the file, or of the split.

    Raises:
      UserError: no such run, file, record; a clip that does not fit the run.
    """
    config = workdir.read_config(paths.absolute(run))
    row, own = datasets.get(dataset or config.dataset), datasets.get(config.dataset).layout
    if row.layout != own:
        raise UserError(
            f"--dataset={dataset}: its layout is {row.layout.name}; expected {own.name}, of "
            f"{config.dataset}, which the run was trained on."
        )
    if file is not None:
        model = of_pretraining(run, dataset=dataset)
        inputs = read_inputs.read([file], model, read_inputs.Options())
        first = list(itertools.islice(inputs, index + 1))
        if first and isinstance(first[-1], UserError):
            raise first[-1]
        if len(first) <= index:
            count = f"{len(first)} sequences; expected --index= of one, from 0"
            raise UserError(f"{file}: found {count}.")
        found = first[index]
        size = model.input
        turned = size.body_frame != "none"
        frame = BodyFrame.of(size.body_frame, size.joints) if turned else None
        joints = found.joints[: size.max_frames]
        name = found.name.rpartition("/")[2]
        return Given(name, normalise.normalise(joints, size.centre, size.channels, frame))
    source = row.open_split(data_dir or config.data_dir, split, config.input)
    if index >= len(source):
        raise UserError(f"--index={index}: {split} has {len(source):,} sequences, from 0.")
    (example,) = source.examples(np.array([index]))
    has = None if source.has_joints is None else source.has_joints[index]
    label = source.class_names[example["label"]]
    return Given(f"{example['name']}, {label}", example["joints"], has)


def of_run(
    run: os.PathLike | str, clip: Given, step: int | None = None, seed: int = 0, masks: int = 1
) -> Look:
    """What a pre-training run sees of a clip.

    Args:
      run: its workdir, of a method that reconstructs joints or their motion.
      clip: see `given`.
      step: of the checkpoint; None: the newest.
      seed: of crop, rotation and masks.
      masks: B.

    Raises:
      UserError: no such run; one of another method, or of another stream than joints.
    """
    return of_params(*checkpoint.load_params(run, step), clip, seed, masks, run)


def of_params(
    params: dict,
    config: ml_collections.ConfigDict,
    step: int,
    clip: Given,
    seed: int = 0,
    masks: int = 1,
    run: os.PathLike | str = "this run",
) -> Look:
    """As `of_run`, of parameters in memory: all of a run with this resolved config, after `step`.

    `run` names it in messages.
    """
    method = _whole(run, config)
    keys = train_step.stream_keys(seed, jnp.int32(0), (train_step.AUGMENT, *method.streams))
    augment = keys.pop(train_step.AUGMENT)
    lengths = jnp.array([len(clip.joints)], jnp.int32)
    has = () if clip.has is None else (jnp.asarray(clip.has)[None],)
    views = make_views(config, sharding.make_mesh(jax.devices()[:1]))
    found = jax.jit(views)(augment, jnp.asarray(clip.joints)[None], lengths, *has)
    first = int(np.asarray(found[1]).any((1, 2)).argmax())
    body = [jnp.repeat(x[first : first + 1], masks, axis=0) for x in found]
    with matmul_precision(method.encoder.dtype, config.matmul_precision):
        captured = jax.jit(functools.partial(_captured, method))(params, body, keys)
    ids, target, values, weights, attention = jax.device_get(captured)
    view, present = (np.asarray(x[first]) for x in found[:2])
    view, length = np.where(present[..., None], view, 0), target.shape[-2]
    true, dataset = view[..., : values.shape[-1]], datasets.get(config.dataset)
    predicted = positions(values, true, method.target, method.motion_stride, length)
    hidden_only = config.model.get("loss_on", "masked") == "masked"
    look = Look(
        name=clip.name,
        method=config.method,
        step=step,
        layout=dataset.layout,
        channels=dataset.channels,
        view=view,
        present=present,
        ids=ids,
        patch_len=method.encoder.patch_len,
        predicted_len=length,
        target=method.target,
        normalisation=method.normalisation,
        predicted=predicted,
        visible_kept=hidden_only,
        weights=weights,
        attention=attention,
    )
    if not hidden_only:
        return look
    visible = np.repeat(look.visible, look.patch_len, axis=0)[..., None]
    return dataclasses.replace(look, predicted=np.where(visible, true, predicted))


def _captured(method: MaskedReconstruction, params: dict, body: list, keys: dict) -> tuple:
    """Ids, target, denormalised prediction, weights and attention; see `Look`."""
    variables = {"params": params}
    if method.momentum_encoder:  # only the term that is not drawn needs it
        variables["average"] = {"encoder": params["encoder"]}

    def wanted(module, name: str) -> bool:
        inner = "decoder" in module.path and module.name in ("decoder", "q", "kv", "qkv")
        return name in ("draw_mask", "target_patches") or (inner and name == "__call__")

    how = {"rngs": keys, "capture_intermediates": wanted, "mutable": "intermediates"}
    kept = method.apply(variables, *body, **how)[1]["intermediates"]
    clips, present = method.coordinates(body[0][:1]), body[1][:1]
    target = kept["target_patches"][0][0][:1]
    x = kept["decoder"]["__call__"][0][:1].astype(jnp.float32).reshape(target.shape)
    how = method.target, method.normalisation, method.motion_stride
    values, weights = targets.denormalised(x, clips, present, *how)[0], None
    if isinstance(method, AMR):
        how = method.windows, method.weighting, method.k, method.epsilon, method.energy_threshold
        weights = motion_energy.motion_weights(clips, present, *how)[0]
    return kept["draw_mask"][0], target, values, weights, _attention(kept, method)


def _whole(run: os.PathLike | str, config: ml_collections.ConfigDict) -> MaskedReconstruction:
    """The method of a run, without stochastic depth, predicting all patches."""
    config = ml_collections.ConfigDict(config)
    config.attention_kernel = "xla"  # the run's may be for other devices
    config.encoder.drop_path = 0.0
    if config.model.get("num_decoded"):
        config.model.num_decoded = None
    method = methods.build(config)
    if not isinstance(method, MaskedReconstruction) or config.input.stream != "joint":
        found = f"{config.method} on the {config.input.stream} stream"
        raise UserError(
            f"{run}: {found} predicts nothing that can be drawn as a skeleton; expected a run of "
            "amr, mamp, skeleton_mae or nat on the joint stream."
        )
    return method


def positions(
    values: np.ndarray, true: np.ndarray, kind: str, stride: int, length: int
) -> np.ndarray:
    """Joints by predicted values: the values themselves, or where the predicted motion leads.

    Within every predicted patch, a joint starts at its true place and follows the prediction.

    Args:
      values: (T, V, C), as `targets.denormalised` gives them.
      true: (T, V, C).
      kind: `joint` or `motion`, displacements over `stride` frames.
      length: frames of a predicted patch.
    """
    if kind == "joint":
        return values
    result = true.copy()
    for frame in range(len(true)):
        if frame % length >= stride:
            result[frame] = result[frame - stride] + values[frame - stride]
    return result


def _attention(kept: dict, method: MaskedReconstruction) -> jax.Array:
    """Mean attention over heads and blocks of the decoder, (B, Q, K), from captured projections."""
    total, blocks = 0.0, [name for name in kept["decoder"] if name.startswith("block_")]
    for name in blocks:
        own = kept["decoder"][name]
        if "cross_attn" in own:
            q, kv = (own["cross_attn"][part]["__call__"][0] for part in ("q", "kv"))
            k = kv[..., : kv.shape[-1] // 2]
        else:
            q, k, _ = jnp.split(own["attn"]["qkv"]["__call__"][0], 3, axis=-1)
        q, k = (x.reshape(*x.shape[:2], method.decoder_heads, -1) for x in (q, k))
        logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
        total += jax.nn.softmax(logits.astype(jnp.float32)).mean(1)
    return total / len(blocks)
