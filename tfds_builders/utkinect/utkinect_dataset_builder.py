"""TFDS builder of UTKinect."""

from typing import ClassVar

from amr_jax.data.build import by_subject
from amr_jax.data.readers import kinect_text
from amr_jax.skeleton import action_names, layouts


class Builder(by_subject.SubjectBuilder):
    """UTKinect: 10 actions, 10 subjects, one body of 20 joints (Kinect v1)."""

    TRAIN_SUBJECTS = (1, 3, 5, 7, 9)
    BUILDER_CONFIGS: ClassVar = by_subject.protocols(TRAIN_SUBJECTS, range(1, 11))
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the folder of aAA_sSS_eEE.txt (one file per action), or an archive of it, into "
        "manual_dir."
    )
    DESCRIPTION = "UTKinect: skeletons of Kinect v1, cut to actions."
    HOMEPAGE = "https://cvrc.ece.utexas.edu/KinectDatasets/HOJ3D.html"
    CITATION = (
        "Xia, Chen, Aggarwal: View invariant human action recognition using histograms of 3D "
        "joints. CVPR Workshops 2012."
    )
    CLASS_NAMES = action_names.UTKINECT
    NUM_JOINTS = layouts.KINECT_20.num_joints
    SUFFIX = ".txt"
    FILES = "sequences of UTKinect (aAA_sSS_eEE.txt)"
    OTHERS = kinect_text.others(kinect_text.UTKINECT)
    PUBLISHED: ClassVar = {
        "xsub": {"train": 100, "test": 100},
        **{f"loso{s}": {} for s in range(1, 11)},
    }

    read = staticmethod(kinect_text.UTKINECT.read)
