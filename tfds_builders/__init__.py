"""TFDS builders; importing this package registers them all."""

from tfds_builders.nw_ucla import nw_ucla_dataset_builder as nw_ucla

__all__ = ["nw_ucla"]
