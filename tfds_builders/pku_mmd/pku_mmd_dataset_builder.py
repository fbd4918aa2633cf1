"""TFDS builder of PKU-MMD, phases I and II, cross-subject and cross-view."""

from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from amr_jax.data.build import builder
from amr_jax.data.build import pku as build
from amr_jax.data.readers import pku
from amr_jax.skeleton import action_names


class Builder(builder.SkeletonBuilder):
    """PKU-MMD: 51 actions cut out of long videos of 3 Kinect v2 cameras, up to two bodies."""

    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="v1_xsub", description="Phase I, cross-subject."),
        tfds.core.BuilderConfig(name="v1_xview", description="Phase I, cross-view."),
        tfds.core.BuilderConfig(name="v2_xsub", description="Phase II, cross-subject."),
        tfds.core.BuilderConfig(name="v2_xview", description="Phase II, cross-view."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "From the data set's page download "
        + "; ".join(
            f"for phase {'I' * p}: {build.ARCHIVES[p]}, {build.SPLIT_FILES[p]}"
            for p in build.PHASES
        )
        + ". Unpack the archives with `7z x`, each into a folder of its name, in manual_dir."
    )
    DESCRIPTION = (
        "PKU-MMD: the labelled actions of long videos, in camera coordinates at full length. Phase "
        "II has 41 of the 51 actions; the classes are the same in both."
    )
    HOMEPAGE = "https://struct002.github.io/PKUMMD/"
    CITATION = (
        "Liu, Hu, Li, Song, Liu: PKU-MMD: a large scale benchmark for continuous multi-modal human "
        "action understanding. 2017."
    )
    CLASS_NAMES = action_names.PKU_51
    MAX_BODIES = pku.NUM_BODIES
    NUM_JOINTS = pku.NUM_JOINTS
    INTEGERS = ("start", "end")
    TEXTS = ("name", "video")
    PUBLISHED: ClassVar = {
        "v1_xsub": {"train": 18_841, "test": 2_704},
        "v1_xview": {"train": None, "test": None},  # the sum is that of v1_xsub, about 21,545
        "v2_xsub": {"train": 5_332, "test": 1_613},
        "v2_xview": {"train": None, "test": None},
    }

    @classmethod
    def find(cls, manual_dir: Path) -> builder.RawSet:
        """Finds the videos, labels and splits of the phases that are there."""
        return build.find(manual_dir, tuple(cls.builder_configs))
