"""TFDS builder of KARD."""

from typing import ClassVar

from amr_jax.data.build import by_subject
from amr_jax.data.readers import kinect_text
from amr_jax.skeleton import action_names, layouts


class Builder(by_subject.SubjectBuilder):
    """KARD: 18 actions, 10 subjects, one body of 15 joints (OpenNI)."""

    TRAIN_SUBJECTS = (1, 3, 5, 7, 9)
    BUILDER_CONFIGS: ClassVar = by_subject.protocols(TRAIN_SUBJECTS)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the folder of aAA_sSS_eEE_realworld.txt, or an archive of it, into manual_dir."
    )
    DESCRIPTION = "KARD: skeletons of OpenNI in world coordinates."
    HOMEPAGE = "https://data.mendeley.com/datasets/k28dtm7tr6/1"
    CITATION = (
        "Gaglio, Lo Re, Morana: Human activity recognition process using 3-D posture data. IEEE "
        "Transactions on Human-Machine Systems 45(5), 2015."
    )
    CLASS_NAMES = action_names.KARD
    NUM_JOINTS = layouts.OPENNI_15.num_joints
    SUFFIX = ".txt"
    FILES = "sequences of KARD (aAA_sSS_eEE_realworld.txt)"
    OTHERS = kinect_text.others(kinect_text.KARD)
    PUBLISHED: ClassVar = {"xsub": {"train": 270, "test": 270}}

    read = staticmethod(kinect_text.KARD.read)
