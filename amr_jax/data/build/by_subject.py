"""Common base of the builders of small sets of one Kinect, one body and protocols by subject."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from amr_jax.data.build import builder
from amr_jax.data.readers import files
from amr_jax.data.readers.search import Search

# How the names of files begin, right or nearly right; other files of the same ending are foreign.
SAMPLE = r"a\d+_s\d+"
_LEAVE_OUT = "loso"


def protocols(
    train: Collection[int], leave_out: Iterable[int] = ()
) -> list[tfds.core.BuilderConfig]:
    """The builder configs `xsub`, and `losoS` for every subject S of `leave_out`.

    Args:
      train: the subjects that x-sub trains on; it tests on all others.
      leave_out: subjects of which each is the test of one protocol (leave one subject out).
    """
    subjects = ", ".join(map(str, train))
    cross = tfds.core.BuilderConfig(name="xsub", description=f"Train on subjects {subjects}.")
    return [
        cross,
        *(
            tfds.core.BuilderConfig(
                name=f"{_LEAVE_OUT}{subject}", description=f"Test on subject {subject} alone."
            )
            for subject in leave_out
        ),
    ]


class SubjectBuilder(builder.SkeletonBuilder, skip_registration=True):
    """Base of these builders: subclasses name the files and how to read one.

    `BUILDER_CONFIGS` come from `protocols`.
    """

    MAX_BODIES = 1
    INTEGERS = ("subject", "replication")
    SUFFIX: ClassVar[str]  # of the raw files
    FILES: ClassVar[str]  # what they are, for messages
    SAMPLE: ClassVar[str] = SAMPLE  # how their names begin
    OTHERS: ClassVar[Mapping[str, str]] = {}  # sets with similar names, as in `search.Search`
    TRAIN_SUBJECTS: ClassVar[tuple[int, ...]]  # of x-sub

    @classmethod
    def find(cls, manual_dir: Path) -> builder.RawSet:
        """Finds the raw files in folders and archives."""
        search = Search(manual_dir, cls.FILES, cls.SUFFIX, cls.SAMPLE, cls.OTHERS)
        raw, protocols = search.samples(cls.SUFFIX), tuple(cls.builder_configs)
        return builder.RawSet(raw, cls.read, cls.split, protocols, search.left_out, search.notes)

    @staticmethod
    def read(raw: files.RawFile) -> dict:
        """The example in a file."""
        raise NotImplementedError

    @classmethod
    def split(cls, protocol: str, fields: dict) -> str:
        """'train' or 'test' for an example."""
        if protocol == "xsub":
            return "train" if fields["subject"] in cls.TRAIN_SUBJECTS else "test"
        return "test" if fields["subject"] == int(protocol.removeprefix(_LEAVE_OUT)) else "train"
