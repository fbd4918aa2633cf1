"""The data sets that a config can name, e.g. `configs/amr.py:ntu60_xsub`.

One row per data set and protocol: where its records stand, what its skeleton looks like, and how
the field loads it. Configs read this table; nothing else keeps a list of data sets.
"""

import dataclasses

from amr_jax import skeleton
from amr_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One data set under one protocol.

    Attributes:
      records: name of the TFDS builder and its config, as in `tfds.builder(records)`.
      layout: the joints.
      centre: whether the field puts the origin at `layout.centre` of the first actor.
      max_frames: sequences are cut at this many frames when loaded.
    """

    records: str
    layout: skeleton.Layout
    centre: bool
    max_frames: int


def _ntu(records: str) -> Dataset:
    return Dataset(records, skeleton.NTU_25, centre=True, max_frames=300)


def _pku(records: str) -> Dataset:
    # Published pipelines feed PKU-MMD in camera coordinates (datasets.md).
    return Dataset(records, skeleton.NTU_25, centre=False, max_frames=300)


DATASETS = {
    "ntu60_xsub": _ntu("ntu_rgbd60/xsub"),
    "ntu60_xview": _ntu("ntu_rgbd60/xview"),
    "ntu120_xsub": _ntu("ntu_rgbd120/xsub"),
    "ntu120_xset": _ntu("ntu_rgbd120/xset"),
    "pku1_xsub": _pku("pku_mmd/v1_xsub"),
    "pku1_xview": _pku("pku_mmd/v1_xview"),
    "pku2_xsub": _pku("pku_mmd/v2_xsub"),
    "pku2_xview": _pku("pku_mmd/v2_xview"),
    "nwucla": Dataset("nw_ucla/xview", skeleton.KINECT_20, centre=True, max_frames=201),
    # `python -m amr_jax.synthetic` writes files in the format of NTU RGB+D 60, prepared as such.
    "synthetic": _ntu("ntu_rgbd60/xsub"),
}


def get(name: str) -> Dataset:
    """The row called `name`; `UserError` names the choices."""
    if name not in DATASETS:
        raise UserError(f"unknown data set {name!r}; expected one of: {', '.join(DATASETS)}.")
    return DATASETS[name]


def argument(text: str) -> tuple[str, Dataset, bool]:
    """A config's argument, `NAME` or `NAME,runlocal` → (name, its row, whether `runlocal`)."""
    name, _, variant = text.partition(",")
    if variant not in ("", "runlocal"):
        raise UserError(f"config argument {text!r}: expected 'NAME' or 'NAME,runlocal'.")
    return name, get(name), variant == "runlocal"
