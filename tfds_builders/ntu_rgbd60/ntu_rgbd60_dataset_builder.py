"""TFDS builder of NTU RGB+D (60 actions), cross-subject and cross-view."""

from typing import ClassVar

import tensorflow_datasets as tfds

from amr_jax.data.build import ntu
from amr_jax.skeleton import action_names

# All other subjects and cameras are for testing (docs/formats.md).
TRAIN_SUBJECTS = frozenset(
    (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
)
TRAIN_CAMERAS = frozenset((2, 3))


class Builder(ntu.NtuBuilder):
    """NTU RGB+D: 60 actions, 40 subjects, 3 Kinect v2 cameras, up to two bodies of 25 joints."""

    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="xsub", description="Train on 20 of the 40 subjects."),
        tfds.core.BuilderConfig(name="xview", description="Train on cameras 2 and 3, test on 1."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Request access at {ntu.HOMEPAGE}, download the skeletons "
        "nturgbd_skeletons_s001_to_s017.zip and put the archive (or what it unpacks to) into "
        "manual_dir; optionally also the authors' list of samples with missing skeletons (*.txt)."
    )
    DESCRIPTION = "NTU RGB+D: skeletons of 60 actions, after the field's standard denoising."
    CITATION = (
        "Shahroudy, Liu, Ng, Wang: NTU RGB+D: a large scale dataset for 3D human activity "
        "analysis. CVPR 2016."
    )
    SETUPS = range(1, 18)
    CLASS_NAMES = action_names.NTU_120[:60]
    PUBLISHED: ClassVar = {
        "xsub": {"train": 40_091, "test": 16_487},
        "xview": {"train": 37_646, "test": 18_932},
    }

    @staticmethod
    def split(protocol: str, fields: dict) -> str:
        if protocol == "xsub":
            return "train" if fields["subject"] in TRAIN_SUBJECTS else "test"
        return "train" if fields["camera"] in TRAIN_CAMERAS else "test"
