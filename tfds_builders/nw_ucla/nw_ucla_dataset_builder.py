"""TFDS builder of Northwestern-UCLA, cross-view and cross-subject."""

from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from amr_jax.data.build import builder, by_subject
from amr_jax.data.readers import nw_ucla
from amr_jax.data.readers.search import Search
from amr_jax.skeleton import action_names

TRAIN_VIEWS, TEST_VIEW = (1, 2), 3
# Ours: published results are cross-view. Nearly every test sequence of x-view has twins among the
# training sequences: the same performance, seen by another camera (docs/formats.md).
TRAIN_SUBJECTS = (1, 3, 5, 7, 9)


def split(protocol: str, fields: dict) -> str | None:
    """'train' or 'test' for an example; None for a view that the data set does not have."""
    if fields["camera"] not in (*TRAIN_VIEWS, TEST_VIEW):
        return None
    if protocol == "xsub":
        return "train" if fields["subject"] in TRAIN_SUBJECTS else "test"
    return "train" if fields["camera"] in TRAIN_VIEWS else "test"


class Builder(builder.SkeletonBuilder):
    """Northwestern-UCLA: 10 actions, 10 subjects, 3 Kinect v1 cameras, one body of 20 joints."""

    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="xview", description="Train on views 1 and 2, test on 3."),
        tfds.core.BuilderConfig(name="xsub", description="Train on subjects 1, 3, 5, 7 and 9."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put nw_ucla_all_sqe.zip, or the folder all_sqe that it unpacks to, into manual_dir."
    )
    DESCRIPTION = "Northwestern-UCLA multiview action 3D: skeletons of Kinect v1."
    HOMEPAGE = "https://wangjiangb.github.io/my_data.html"
    CITATION = (
        "Wang, Nie, Xia, Wu, Zhu: Cross-view action modeling, learning and recognition. CVPR 2014."
    )
    CLASS_NAMES = action_names.NW_UCLA
    MAX_BODIES = 1
    NUM_JOINTS = nw_ucla.NUM_JOINTS
    INTEGERS = ("subject", "camera", "replication")
    PUBLISHED: ClassVar = {
        "xview": {"train": 1020, "test": 464},
        "xsub": {"train": 724, "test": 760},
    }

    @classmethod
    def find(cls, manual_dir: Path) -> builder.RawSet:
        """Finds every `aAA_sSS_eEE_vVV.json` in folders and archives."""
        what = "sequences of NW-UCLA (aAA_sSS_eEE_vVV.json)"
        search = Search(manual_dir, what, ".json", by_subject.SAMPLE)
        raw, protocols = search.samples(".json"), tuple(cls.builder_configs)
        return builder.RawSet(raw, nw_ucla.read, split, protocols, search.left_out, search.notes)
