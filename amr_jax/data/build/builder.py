"""Common base of the TFDS builders: from raw files to ArrayRecord shards.

The base class is `ShardBasedBuilder`, because the shuffler of `GeneratorBasedBuilder` needs
TensorFlow for splits above 1 GB (NTU RGB+D). `shards` orders the sequences instead.

This module is not in the package `tfds_builders`, because `tfds build` imports a builder's folder
on its own; importing the package as well would register every builder twice.
"""

import abc
import collections
import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import writer

from amr_jax.data import record_files, record_folder
from amr_jax.data.build import parsing, shards
from amr_jax.data.readers import findings
from amr_jax.data.readers.files import LeftOut
from amr_jax.data.readers.search import raise_first, some
from amr_jax.errors import UserError
from amr_jax.run.console import progress_bar

SPLITS = ("train", "test")

_AS_CAPTURED = {
    "xyz": "in metres as captured",
    "xy": "in the image, as captured",
    "xyc": "in the image, as captured, and the confidence",
}


@dataclasses.dataclass(frozen=True)
class RawSet:
    """The raw files of one data set, found but not yet read.

    Attributes:
      tasks: arguments of `read`; every raw file is in exactly one task.
      read: as in `parsing.parse`.
      split: (protocol, fields of an example) -> 'train', 'test', or None if the example is not
        part of that protocol.
      protocols: the builder configs that these files allow.
      left_out: samples that are not read, e.g. those in the authors' list of missing skeletons;
        those with an error end the command, unless bad files are skipped.
      notes: messages for the user about the files found.
    """

    tasks: Sequence[object]
    read: Callable[[object], dict | list]
    split: Callable[[str, dict], str | None]
    protocols: tuple[str, ...]
    left_out: Sequence[LeftOut] = ()
    notes: Sequence[str] = ()

    def parse(self, folder: Path, **options) -> parsing.Spool:
        """Reads all tasks into a spool in `folder`; options as in `parsing.parse`."""
        if options.get("on_bad_file") != "skip":
            raise_first(self.left_out)
        spool = parsing.parse(self.read, self.tasks, folder, **options)
        spool.left_out[:0] = self.left_out
        return spool


class SkeletonBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Base of the builders: subclasses define the raw files and the protocols.

    Args:
      on_bad_file: 'fail' or 'skip', as in `parsing.parse`.
      file_format: of the records; only the default can be written without TensorFlow.
      **kwargs: data_dir, config and version, as in `tfds.builder`.
    """

    VERSION = tfds.core.Version(record_folder.VERSION)
    RELEASE_NOTES: ClassVar = {"1.0.0": "Initial release: joints as captured, full length."}

    # Set by subclasses.
    DESCRIPTION: ClassVar[str]
    HOMEPAGE: ClassVar[str]
    CITATION: ClassVar[str]
    CLASS_NAMES: ClassVar[tuple[str, ...]]
    MAX_BODIES: ClassVar[int]
    NUM_JOINTS: ClassVar[int]
    CHANNELS: ClassVar[str] = "xyz"  # one of `skeleton.layouts.CHANNELS`
    INTEGERS: ClassVar[tuple[str, ...]]  # int32 features in addition to the label
    TEXTS: ClassVar[tuple[str, ...]] = ("name",)
    PUBLISHED: ClassVar[dict[str, dict[str, int]]]  # protocol -> split -> sequences
    OPTIONS: ClassVar[tuple[str, ...]] = ()  # keywords of `find` that are flags of `prepare`

    def __init__(self, *, on_bad_file: str = "fail", file_format: str | None = None, **kwargs):
        self._on_bad_file = on_bad_file
        self.source: tuple[RawSet, parsing.Spool] | None = None
        super().__init__(file_format=file_format, **kwargs)
        if self.info.file_format is None or not (file_format or self.is_prepared()):
            self.info.set_file_format("array_record", override=True)
        self._original_state.update(on_bad_file=on_bad_file, file_format=file_format)

    @classmethod
    @abc.abstractmethod
    def find(cls, manual_dir: Path, **options: str) -> RawSet:
        """Finds the raw files in `manual_dir`.

        Raises:
          UserError: names the files that are missing and the place where they are expected.
        """

    @classmethod
    def protocols(cls, **options: str) -> tuple[str, ...]:
        """Names of the builder configs; the keywords are those of `find`."""
        del options
        return tuple(config.name for config in cls.BUILDER_CONFIGS)

    @classmethod
    def left_out_file(cls, **options: str) -> str:
        """The list of samples without a record, relative to the folder of the builder."""
        del options
        return "left_out.json"

    @classmethod
    def make(
        cls,
        protocol: str,
        data_dir: Path,
        source: tuple[RawSet, parsing.Spool] | None,
        **options: str,
    ) -> "SkeletonBuilder":
        """Creates the builder of one protocol.

        Args:
          protocol: one of `protocols`.
          data_dir: folder of its records.
          source: what it writes; None if it only reads.
          **options: the keywords of `find`.
        """
        builder = cls(config=protocol, data_dir=data_dir, **options)
        builder.source = source
        return builder

    def options(self) -> dict[str, str]:
        """The keywords for `find`, which are stored as metadata of the records."""
        return {}

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "joints": tfds.features.Tensor(
                shape=(None, self.MAX_BODIES, self.NUM_JOINTS, len(self.CHANNELS)),
                dtype=np.float32,
                encoding="bytes",
                doc=f"(frames, bodies, joints, {self.CHANNELS}) {_AS_CAPTURED[self.CHANNELS]}; "
                "zeros: no such body.",
            ),
            "label": tfds.features.ClassLabel(names=self.CLASS_NAMES),
            **{key: tfds.features.Text() for key in self.TEXTS},
            **{key: tfds.features.Scalar(np.int32) for key in self.INTEGERS},
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("joints", "label"),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            metadata=tfds.core.MetadataDict(
                {key: value for key, value in self.options().items() if value is not None}
            ),
            disable_shuffling=True,  # `shards.of` orders the sequences
        )

    def download_and_prepare(self, **kwargs) -> None:
        """As in TFDS; also writes `checksums.json` unless it exists."""
        super().download_and_prepare(**kwargs)
        if not (self.data_path / record_files.CHECKSUMS_FILE).exists():
            record_files.write(self.data_path)

    def _download_and_prepare(self, dl_manager, download_config=None) -> None:
        if self.source is not None:  # `build.prepare` parses once for all protocols
            self._write(dl_manager, download_config)
            return
        raw = self.find(Path(dl_manager.manual_dir), **self.options())
        # Inside the temporary folder of TFDS, which is removed on any error.
        with tempfile.TemporaryDirectory(dir=self.data_dir, prefix="spool_") as folder:
            # In this process: workers cannot import a builder that `tfds build` loads by path.
            spool = raw.parse(Path(folder), num_workers=1, on_bad_file=self._on_bad_file)
            self.source = raw, spool
            self._write(dl_manager, download_config)
        write_left_out(self.data_path / "left_out.json", spool.left_out)

    def _write(self, dl_manager, download_config) -> None:
        total = sum(map(len, self._members().values()))
        if found := findings.total(self.source[1].findings()):
            self.info.metadata["findings"] = found
        name = f"{self.name}/{self.builder_config.name}"
        with progress_bar(f"writing {name}", total) as self._advance:
            super()._download_and_prepare(dl_manager, download_config)

    def _shard_iterators_per_split(self, dl_manager) -> dict[str, list[Callable]]:
        features = tuple(self.info.features)
        # A user may hold a part of the data; a split without sequences is not written.
        return {
            split: shards.of(self.source[1], indices, features, self.MAX_BODIES, self._advance)
            for split, indices in self._members().items()
            if indices
        }

    def _members(self) -> dict[str, list[int]]:
        """Indices of the sequences of each split of this protocol."""
        raw, spool = self.source
        protocol = self.builder_config.name
        if protocol not in raw.protocols:
            raise UserError(
                f"{self.name}/{protocol}: the raw files allow only {', '.join(raw.protocols)}."
            )
        members: dict[str, list[int]] = {split: [] for split in SPLITS}
        for index in range(len(spool)):
            split = raw.split(protocol, spool.fields(index))
            if split is not None:
                members[split].append(index)
        if not any(members.values()):
            raise nothing_left(f"{self.name}/{protocol}", spool)
        for split, indices in members.items():
            names = collections.Counter(spool.fields(index)["name"] for index in indices)
            name, count = max(names.items(), key=lambda item: item[1], default=("", 0))
            if count > 1:
                raise UserError(
                    f"{self.name}/{protocol}, {split}: found {count} sequences called {name!r}; "
                    "expected every name once. Rename or remove the file of one."
                )
        return members

    def notes(self) -> list[str]:
        """Messages for the user about the classes of this protocol."""
        name, spool = f"{self.name}/{self.builder_config.name}", self.source[1]
        train, test = (
            {spool.fields(index)["label"] for index in indices}
            for indices in self._members().values()
        )
        names = self.info.features["label"].names
        untaught = [names[label] for label in sorted(test - train)]
        absent = [names[label] for label in range(len(names)) if label not in train | test]
        notes = []
        if untaught and train:
            notes.append(
                f"{name}: {len(untaught)} of {len(names)} classes have test sequences, but none "
                f"for training: {some(untaught)}."
            )
        if absent:
            what = f"{len(absent)} of {len(names)} classes have no sequence"
            notes.append(f"{name}: {what}: {some(absent)}.")
        return notes

    def _example_writer(self) -> writer.ExampleWriter:
        return shards.Writer(file_format=self.info.file_format)

    def _as_dataset(self, split, decoders=None, read_config=None, shuffle_files=False):
        """`tfds.load` of array_record, which TFDS itself only reads as a data source."""
        if self.info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
            return super()._as_dataset(split, decoders, read_config, shuffle_files)
        if decoders:
            raise UserError("decoders are not supported on array_record; decode after loading.")
        # The only use of TensorFlow: a caller that wants a tf.data.Dataset has it installed.
        from tensorflow_datasets.core.utils.lazy_imports_utils import tensorflow as tf

        source = self.as_data_source(split)
        return tf.data.Dataset.from_generator(
            functools.partial(iter, source),
            output_signature=tf.nest.map_structure(
                lambda spec: tf.TensorSpec(spec.shape, spec.tf_dtype),
                self.info.features.get_tensor_info(),
            ),
        )


def nothing_left(name: str, spool: parsing.Spool) -> UserError:
    """The error where no sequence of `name` can be written; it says why the first was left out."""
    why = "; ".join(f"{sample.name}: {sample.why}" for sample in spool.left_out[:1])
    more = len(spool.left_out) - 1
    why += f"; and {more:,} more" if more > 0 else ""
    return UserError(f"{name}: no sequence is left to write{f' ({why})' if why else ''}.")


def write_left_out(path: Path, left_out: Sequence[LeftOut]) -> None:
    """Writes the samples without a record as a JSON list of {name, file, why}, sorted by name."""
    rows = [
        {"name": sample.name, "file": sample.file, "why": sample.why}
        for sample in sorted(left_out, key=lambda sample: (sample.name, sample.file))
    ]
    Path(path).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
