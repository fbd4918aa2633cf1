"""TFDS builder of Florence 3D."""

from typing import ClassVar

from amr_jax.data.build import by_subject
from amr_jax.data.readers import kinect_text
from amr_jax.skeleton import action_names, layouts


class Builder(by_subject.SubjectBuilder):
    """Florence 3D: 9 actions, 10 subjects, one body of 15 joints."""

    TRAIN_SUBJECTS = (1, 3, 5, 7, 9)
    BUILDER_CONFIGS: ClassVar = by_subject.protocols(TRAIN_SUBJECTS, range(1, 11))
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the folder of aAA_sS_idN.txt, or an archive of it, into manual_dir."
    )
    DESCRIPTION = "Florence 3D: skeletons of 15 joints in world coordinates."
    HOMEPAGE = "https://www.micc.unifi.it/resources/datasets/florence-3d-actions-dataset/"
    CITATION = (
        "Seidenari, Varano, Berretti, Del Bimbo, Pala: Recognizing actions from depth cameras as "
        "weakly aligned multi-part bag-of-poses. CVPR Workshops 2013."
    )
    CLASS_NAMES = action_names.FLORENCE_3D
    NUM_JOINTS = layouts.OPENNI_15.num_joints
    SUFFIX = ".txt"
    FILES = "sequences of Florence 3D (aAA_sS_idN.txt)"
    OTHERS = kinect_text.others(kinect_text.FLORENCE3D)
    PUBLISHED: ClassVar = {
        "xsub": {"train": 109, "test": 106},
        **{f"loso{s}": {} for s in range(1, 11)},
    }

    read = staticmethod(kinect_text.FLORENCE3D.read)
