"""TFDS builder of UTD-MHAD."""

from typing import ClassVar

from amr_jax.data.build import by_subject
from amr_jax.data.readers import utd_mhad
from amr_jax.skeleton import action_names, layouts


class Builder(by_subject.SubjectBuilder):
    """UTD-MHAD: 27 actions, 8 subjects, one body of 20 joints (Kinect v1)."""

    TRAIN_SUBJECTS = (1, 3, 5, 7)
    BUILDER_CONFIGS: ClassVar = by_subject.protocols(TRAIN_SUBJECTS)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put Skeleton.zip, or the folder of aA_sS_tT_skeleton.mat that it unpacks to, into "
        "manual_dir."
    )
    DESCRIPTION = "UTD-MHAD: skeletons of Kinect v1."
    HOMEPAGE = "https://personal.utdallas.edu/~kehtar/UTD-MHAD.html"
    CITATION = (
        "Chen, Jafari, Kehtarnavaz: UTD-MHAD: a multimodal dataset for human action recognition "
        "utilizing a depth camera and a wearable inertial sensor. ICIP 2015."
    )
    CLASS_NAMES = action_names.UTD_MHAD
    NUM_JOINTS = layouts.KINECT_20.num_joints
    SUFFIX = ".mat"
    # The files of the other sensors are no skeletons.
    SAMPLE = rf"(?!.*_(?:inertial|depth|color)\.mat){by_subject.SAMPLE}"
    FILES = "sequences of UTD-MHAD (aA_sS_tT_skeleton.mat)"
    PUBLISHED: ClassVar = {"xsub": {"train": 431, "test": 430}}

    read = staticmethod(utd_mhad.read)
