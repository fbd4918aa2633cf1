"""Records as written by `python -m amr_jax.prepare`, read back: one by one or all at once.

Loading applies what the field applies to every sequence before anything random: cutting at
`max_frames`, and moving the origin to one joint of the first actor (datasets.md, Centring).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from amr_jax.errors import UserError

# Of the TFDS builders in tfds_builders/; raised when the content of the records changes.
VERSION = "1.0.0"

_CHUNK = 256  # records read at a time


@dataclasses.dataclass(frozen=True)
class Bodies:
    """Every real body of a split, ragged, on the host.

    Attributes:
      frames: (F, V, C) float32, all bodies' frames one body after the other, in metres.
      offset, length: (B,) int32, where each body's frames are; a body is as long as its sequence.
      sequence: (B,) int32, the sequence that each body belongs to.
      present: (S, M) bool, which slots of which sequence hold a body (row-major: bodies' order).
      label: (S,) int32 class of each sequence.
      names: (S,) names of the sequences.
      class_names: all classes of the data set.
    """

    frames: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    sequence: np.ndarray
    present: np.ndarray
    label: np.ndarray
    names: np.ndarray
    class_names: tuple[str, ...]


def centre(joints: np.ndarray, joint: int) -> np.ndarray:
    """Moves the origin to `joint` of the first actor, in the first frame in which it is seen.

    Args:
      joints: (T, M, V, C); a body that is absent from a frame is all zero there, and stays so.
      joint: 0-based.
    """
    seen = joints.any(axis=(2, 3))  # (T, M)
    if not seen[:, 0].any():
        return joints
    origin = joints[seen[:, 0].argmax(), 0, joint]
    return np.where(seen[..., None, None], joints - origin, np.float32(0))


class Records:
    """Random access to one split of prepared records.

    Args:
      data_dir: where `prepare` wrote to.
      name: builder and config, e.g. 'ntu_rgbd60/xsub'.
      split: 'train' or 'test', or a part of one as TFDS writes it: 'train[:64]'.
      centre_joint: see `centre`; None leaves coordinates as captured.
      max_frames: sequences are cut at this many frames.

    Raises:
      UserError: no records there, of another version, or damaged.
    """

    def __init__(
        self, data_dir: str, name: str, split: str, centre_joint: int | None, max_frames: int
    ):
        builder = _open(data_dir, name)
        if split.partition("[")[0] not in builder.info.splits:
            raise UserError(
                f"{builder.data_path}: found the splits {', '.join(builder.info.splits)}; expected "
                f"{split!r}. If one of train and test is missing, {name} was prepared from a part "
                "of the raw files: add the others and prepare it again with --overwrite."
            )
        try:
            self._source = builder.as_data_source(split)
        except ValueError as error:  # a slice that TFDS cannot read, or beyond the end
            raise UserError(f"{builder.data_path}: split {split!r}: {error}") from error
        self._centre_joint, self._max_frames = centre_joint, max_frames
        self.class_names = tuple(builder.info.features["label"].names)
        _, self.num_slots, self.num_joints, self.num_channels = builder.info.features[
            "joints"
        ].shape

    def __len__(self) -> int:
        return len(self._source)

    def joints(self, index: int) -> np.ndarray:
        """(T, M, V, C) float32 of one sequence, cut and centred."""
        return self._loaded(self._source[index]["joints"])

    def _loaded(self, joints: np.ndarray) -> np.ndarray:
        joints = joints[: self._max_frames]
        return joints if self._centre_joint is None else centre(joints, self._centre_joint)

    def examples(self) -> Iterator[dict]:
        """All examples in order, as stored but for `joints`, which are cut and centred."""
        for start in range(0, len(self), _CHUNK):
            indices = range(start, min(start + _CHUNK, len(self)))
            for example in self._source.__getitems__(list(indices)):
                yield {**example, "joints": self._loaded(example["joints"])}

    def scan(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reads all once, keeps no joints: `present`, lengths (S,) and `names`; see `Bodies`."""
        present, lengths, names = [], [], []
        for example in self.examples():
            present.append(example["joints"].any(axis=(0, 2, 3)))
            lengths.append(len(example["joints"]))
            names.append(_text(example["name"]))
        return np.stack(present), np.array(lengths, np.int32), np.array(names)

    def load(self) -> Bodies:
        """The whole split in memory."""
        frames, present, lengths, labels, names = [], [], [], [], []
        for example in self.examples():
            joints = example["joints"]
            here = joints.any(axis=(0, 2, 3))
            frames.extend(joints[:, slot] for slot in np.flatnonzero(here))
            present.append(here)
            lengths.append(len(joints))
            labels.append(example["label"])
            names.append(_text(example["name"]))
        present = np.stack(present)
        sequence = np.nonzero(present)[0].astype(np.int32)
        length = np.array(lengths, np.int32)[sequence]
        return Bodies(
            frames=np.concatenate(frames),
            offset=(np.cumsum(length) - length).astype(np.int32),
            length=length,
            sequence=sequence,
            present=present,
            label=np.array(labels, np.int32),
            names=np.array(names),
            class_names=self.class_names,
        )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _open(data_dir: str, name: str) -> tfds.core.DatasetBuilder:
    """The read-only builder of the records, or an error that says what to run."""
    folder = epath.Path(data_dir).expanduser() / name
    make = (
        f"python -m amr_jax.prepare --dataset={name.split('/')[0]} --manual_dir=RAW_FILES "
        f"--data_dir={data_dir}"
    )
    if not (folder / VERSION).exists():
        versions = sorted(p.name for p in folder.iterdir()) if folder.exists() else []
        found = f"only version {', '.join(versions)}" if versions else "nothing"
        raise UserError(
            f"{folder}: found {found}; expected records of version {VERSION}. Make them with: "
            f"{make}"
        )
    try:
        return tfds.builder_from_directory(folder / VERSION)
    except Exception as error:  # TFDS raises what its parsers raise
        raise UserError(
            f"{folder / VERSION}: not a complete folder of records ({error}). Delete it and run: "
            f"{make}"
        ) from error
