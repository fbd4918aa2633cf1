"""TFDS builder of MSR-Action3D."""

from typing import ClassVar

from amr_jax.data.build import by_subject
from amr_jax.data.readers import kinect_text
from amr_jax.skeleton import action_names, layouts


class Builder(by_subject.SubjectBuilder):
    """MSR-Action3D: 20 actions, 10 subjects, one body of 20 joints."""

    TRAIN_SUBJECTS = (1, 3, 5, 7, 9)
    BUILDER_CONFIGS: ClassVar = by_subject.protocols(TRAIN_SUBJECTS)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the folder of aAA_sSS_eEE_skeleton3D.txt (world coordinates) that "
        "MSRAction3DSkeletonReal3D.rar unpacks to, or a zip archive of it, into manual_dir."
    )
    DESCRIPTION = "MSR-Action3D: skeletons in world coordinates."
    HOMEPAGE = "https://sites.google.com/view/wanqingli/data-sets/msr-action3d"
    CITATION = (
        "Li, Zhang, Liu: Action recognition based on a bag of 3D points. CVPR Workshops 2010."
    )
    CLASS_NAMES = action_names.MSR_ACTION3D
    NUM_JOINTS = layouts.KINECT_20.num_joints
    SUFFIX = ".txt"
    FILES = "sequences of MSR-Action3D (aAA_sSS_eEE_skeleton3D.txt)"
    OTHERS = kinect_text.others(kinect_text.MSR_ACTION3D)
    PUBLISHED: ClassVar = {"xsub": {"train": 291, "test": 275}}

    read = staticmethod(kinect_text.MSR_ACTION3D.read)
