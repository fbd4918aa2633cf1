"""TFDS builders; importing this package registers all of them."""

from tfds_builders.custom import custom_dataset_builder as custom
from tfds_builders.ntu_rgbd60 import ntu_rgbd60_dataset_builder as ntu_rgbd60
from tfds_builders.ntu_rgbd120 import ntu_rgbd120_dataset_builder as ntu_rgbd120
from tfds_builders.nw_ucla import nw_ucla_dataset_builder as nw_ucla
from tfds_builders.pku_mmd import pku_mmd_dataset_builder as pku_mmd

__all__ = ["custom", "ntu_rgbd60", "ntu_rgbd120", "nw_ucla", "pku_mmd"]
