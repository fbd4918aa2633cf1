"""TFDS builders; importing this package registers all of them."""

from tfds_builders.custom import custom_dataset_builder as custom
from tfds_builders.florence3d import florence3d_dataset_builder as florence3d
from tfds_builders.kard import kard_dataset_builder as kard
from tfds_builders.msr_action3d import msr_action3d_dataset_builder as msr_action3d
from tfds_builders.ntu_rgbd60 import ntu_rgbd60_dataset_builder as ntu_rgbd60
from tfds_builders.ntu_rgbd120 import ntu_rgbd120_dataset_builder as ntu_rgbd120
from tfds_builders.nw_ucla import nw_ucla_dataset_builder as nw_ucla
from tfds_builders.pku_mmd import pku_mmd_dataset_builder as pku_mmd
from tfds_builders.utd_mhad import utd_mhad_dataset_builder as utd_mhad
from tfds_builders.utkinect import utkinect_dataset_builder as utkinect

__all__ = [
    "custom",
    "florence3d",
    "kard",
    "msr_action3d",
    "ntu_rgbd60",
    "ntu_rgbd120",
    "nw_ucla",
    "pku_mmd",
    "utd_mhad",
    "utkinect",
]
