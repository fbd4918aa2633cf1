"""TFDS builder of NTU RGB+D 120, cross-subject and cross-setup."""

from typing import ClassVar

import tensorflow_datasets as tfds

from amr_jax.data.build import ntu
from amr_jax.skeleton import action_names

# The other subjects of 1 to 106 are for testing (docs/formats.md).
TRAIN_SUBJECTS = frozenset(
    (
        *(1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38),
        *(45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78),
        *(80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94, 95, 97, 98, 100, 103),
    )
)


class Builder(ntu.NtuBuilder):
    """NTU RGB+D 120: 120 actions, 106 subjects, 32 setups, up to two bodies of 25 joints."""

    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="xsub", description="Train on 53 of the 106 subjects."),
        tfds.core.BuilderConfig(name="xset", description="Train on even setups, test on odd ones."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Request access at {ntu.HOMEPAGE}, download both halves of the skeletons, "
        "nturgbd_skeletons_s001_to_s017.zip and nturgbd_skeletons_s018_to_s032.zip, and put the "
        "archives (or what they unpack to) into manual_dir; optionally also the authors' list of "
        "samples with missing skeletons (*.txt)."
    )
    DESCRIPTION = "NTU RGB+D 120: skeletons of 120 actions, after the field's standard denoising."
    CITATION = (
        "Liu, Shahroudy, Perez, Wang, Duan, Kot: NTU RGB+D 120: a large-scale benchmark for 3D "
        "human activity understanding. TPAMI 2019."
    )
    SETUPS = range(1, 33)
    CLASS_NAMES = action_names.NTU_120
    PUBLISHED: ClassVar = {
        "xsub": {"train": 63_026, "test": 50_919},
        "xset": {"train": 54_468, "test": 59_477},
    }

    @staticmethod
    def split(protocol: str, fields: dict) -> str:
        if protocol == "xsub":
            return "train" if fields["subject"] in TRAIN_SUBJECTS else "test"
        return "train" if fields["setup"] % 2 == 0 else "test"
