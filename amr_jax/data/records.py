"""Reads the records that `python -m amr_jax.prepare` wrote.

Sequences are cut at `max_frames` and normalised (`ops.normalise`) when they are read.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from etils import epath

from amr_jax.data import fixed_point, record_files, record_folder
from amr_jax.data.selection import Selection
from amr_jax.errors import UserError
from amr_jax.ops import normalise
from amr_jax.ops.body_frame import BodyFrame

if TYPE_CHECKING:  # else late: configs import this module
    import tensorflow_datasets as tfds

_FIRST = re.compile(r"\w+\[:(\d{1,9})\]")
_CHUNK = 256  # records read at a time


class Records:
    """Random access to one split of prepared records.

    Args:
      data_dir: the folder that `prepare` wrote to, or its copy in a bucket (`amr_jax.run.paths`).
      name: builder and config, such as 'ntu_rgbd60/xsub'; or the absolute path of custom data, as
        in `datasets.Dataset.records`.
      split: 'train' or 'test', or a part of one in the syntax of TFDS: 'train[:64]', which has all
        sequences, with a note, if there are fewer; or 'train[subject!=7]' (`selection`).
      centre_joint: see `normalise.move_origin`; None: the origin stays.
      max_frames: sequences are cut at this many frames.
      body_frame: see `ops.body_frame`; None: sequences keep the camera's axes.

    Attributes:
      class_names: all classes of the data set.
      channels: one of `layouts.CHANNELS`.
      num_slots, num_joints, num_channels: M, V and C of the sequences.
      sizes, has_joints: see `mixture.Mixture`; one data set that has all its joints.

    Raises:
      UserError: the records are absent, of another version, or damaged; reading them may raise it
        too.
    """

    has_joints = None

    def __init__(
        self,
        data_dir: str,
        name: str,
        split: str,
        centre_joint: int | tuple[int, ...] | None,
        max_frames: int,
        body_frame: BodyFrame | None = None,
    ):
        builder, self._again = record_folder.open_builder(data_dir, name)
        whole = split.partition("[")[0].strip()
        if whole not in builder.info.splits:
            raise UserError(
                f"{builder.data_path}: found the splits {', '.join(builder.info.splits)}; expected "
                f"{split!r}. {record_folder.how_to_add_a_split(name, self._again)}"
            )
        there, first = builder.info.splits[whole].num_examples, _FIRST.fullmatch(split)
        if first and int(first[1]) > there:  # where TFDS refuses, and runlocal asks for 64
            print(f"note: {name}: {split} has {there:,} sequences, all of {whole}.")
            split = whole
        self._folder = epath.Path(builder.data_path)
        self._shards = record_files.shards(builder, whole)
        wrong = record_files.faults(self._folder, of=self._shards)
        if wrong := wrong or record_files.wrong_counts(builder, [whole]):
            raise record_files.damage(wrong, f"{self._again} --overwrite")
        selected = Selection.parse(split)
        try:
            self._source = builder.as_data_source(selected.split if selected else split)
            # Their places in the source; None: all of it.
            self._places = self._select(selected, builder) if selected else None
        except ValueError as error:  # a slice that TFDS cannot read, or beyond the end
            raise UserError(
                f"{builder.data_path}: split {split!r}: {error}; expected {whole!r} or a part of "
                f"it, such as '{whole}[:10%]' or '{whole}[subject!=7]'."
            ) from error
        # The files that hold the sequences of the source, in order.
        self._parts = builder.info.splits[whole if selected else split].file_instructions
        self._centre_joint, self._max_frames = centre_joint, max_frames
        self._body_frame = body_frame
        self.class_names = tuple(builder.info.features["label"].names)
        # Only custom data names its channels; all other data sets are metres in space.
        self.channels = dict(builder.info.metadata or {}).get("channels", "xyz")
        _, self.num_slots, self.num_joints, self.num_channels = builder.info.features[
            "joints"
        ].shape

    def __len__(self) -> int:
        return len(self._source if self._places is None else self._places)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (len(self),)

    def _select(self, selected: Selection, builder: "tfds.core.DatasetBuilder") -> np.ndarray:
        """The places of the selected sequences; reads the whole split."""
        fields = sorted(builder.info.features.keys() - {"joints", "label", "name"})
        rows = []
        for start in range(0, len(self._source), _CHUNK):
            with self._reading():
                stop = min(start + _CHUNK, len(self._source))
                stored = self._source.__getitems__(list(range(start, stop)))
            rows += [[_text(example[field]) for field in fields] for example in stored]
        columns = np.array(rows, str).reshape(-1, len(fields)).T
        return selected.places(dict(zip(fields, columns, strict=True)))

    def _at(self, sequences: np.ndarray) -> np.ndarray:
        """Places in the source."""
        return sequences if self._places is None else self._places[sequences]

    def joints(self, index: int) -> np.ndarray:
        """One sequence, cut and normalised: (T, M, V, C) float32."""
        with self._reading():
            joints = self._source[int(self._at(index))]["joints"]
        return self._normalised(self._used(joints))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Turns errors of ArrayRecord or of the file system into one that names the folder."""
        try:
            yield
        except Exception as error:  # ArrayRecord and TFDS document no exceptions
            raise UserError(
                f"{self._folder}: records can no longer be read ({error}). If the disk was away, "
                "start the same command again; if they are damaged, prepare them again: "
                f"{self._again} --overwrite"
            ) from error

    def _used(self, joints: np.ndarray) -> np.ndarray:
        """The frames up to `max_frames` in which somebody is; all of these if nobody ever is.

        `prepare` leaves empty frames out; records of earlier versions have them.
        """
        joints = joints[: self._max_frames]
        occupied = normalise.found(joints, self.channels).any(axis=(1, 2))
        return joints if occupied.all() or not occupied.any() else joints[occupied]

    def _normalised(self, joints: np.ndarray) -> np.ndarray:
        result = normalise.normalise(joints, self._centre_joint, self.channels, self._body_frame)
        if self.channels == "xy":
            # Zero means not found. Joints that were moved to the origin stay one unit of the
            # fixed-point numbers beside it.
            unit = fixed_point.unit(result)
            at_origin = (np.abs(result) <= unit / 2).all(axis=-1)
            moved = at_origin & normalise.found(joints, "xy")
            result[..., 0] = np.where(moved, unit[..., 0], result[..., 0])
        return result

    def summary(self) -> str:
        """A one-line fingerprint of the number of sequences and the files."""
        crc32 = record_files.checksum(self._folder, self._shards)
        return f"{len(self):,} sequences of files with the crc32 {crc32}"

    def verify(self, sequences: np.ndarray | None = None) -> None:
        """Checks the contents of the files that hold some sequences, by default all.

        Raises:
          UserError: a file is not as it was written; names all such files.
        """
        shards = self._shards if sequences is None else self._shards_of(sequences)
        if wrong := record_files.faults(self._folder, shards, contents_of=shards):
            raise record_files.damage(wrong, f"{self._again} --overwrite")

    def examples(self, sequences: np.ndarray) -> Iterator[dict]:
        """Some sequences in the given order: `joints` as in `joints()`, `name`, `label`.

        Also `present` (M,): which slots hold a body in any of these frames.
        """
        for start in range(0, len(sequences), _CHUNK):
            with self._reading():
                places = self._at(sequences[start : start + _CHUNK])
                stored = self._source.__getitems__(places.tolist())
            for example in stored:
                joints = self._used(example["joints"])
                yield {
                    "joints": self._normalised(joints),
                    "present": normalise.found(joints, self.channels).any(axis=(0, 2)),
                    "name": _text(example["name"]),
                    "label": example["label"],
                }

    def _shards_of(self, sequences: np.ndarray) -> list[str]:
        """Names of the files that hold these sequences."""
        ends = np.cumsum([part.take for part in self._parts])
        held = np.unique(np.searchsorted(ends, self._at(sequences), side="right"))
        return [epath.Path(self._parts[i].filename).name for i in held]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
