"""Raw files of published data sets: which set a file is of."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from amr_jax.data.readers import files, keypoints, kinect_text, ntu, nw_ucla, pku, utd_mhad
from amr_jax.skeleton import layouts
from amr_jax.skeleton.layouts import Layout


@dataclasses.dataclass(frozen=True)
class RawSet:
    """A data set whose files are read one by one.

    Attributes:
      title: of the data set.
      dataset: its name for `--dataset` of `prepare`.
      layout: of its joints.
      read: reads the joints of a file, (T, M, V, 3) in metres, and counts what it finds
        (`findings`) in its second argument; `BadFile` as of the set's reader.
    """

    title: str
    dataset: str
    layout: Layout
    read: Callable[[files.RawFile, dict[str, int]], np.ndarray]


_BY_ENDING = {
    ".skeleton": RawSet(
        "NTU RGB+D",
        "ntu_rgbd60",
        layouts.NTU_25,
        lambda raw, counts: ntu.read_joints(raw, "contiguous", counts),
    ),
    ".txt": RawSet("PKU-MMD", "pku_mmd1", layouts.NTU_25, lambda raw, _: pku.read_video(raw)),
    ".json": RawSet("NW-UCLA", "nw_ucla", layouts.KINECT_20, nw_ucla.read_joints),
    ".mat": RawSet("UTD-MHAD", "utd_mhad", layouts.KINECT_20, utd_mhad.read_joints),
}
ENDINGS = tuple(_BY_ENDING)


def of(raw: files.RawFile) -> RawSet | None:
    """The set that a file is of by its name, for JSON by its content; None: of none."""
    if text := kinect_text.of_name(raw.name):
        name = text.title.lower().replace("-", "_").replace(" ", "")
        return RawSet(text.title, name, text.layout, text.read_joints)
    ending = os.path.splitext(raw.name.lower())[1]
    if ending == ".json" and b'"skeletons"' not in raw.read(keypoints.MAX_BYTES):
        return None
    return _BY_ENDING.get(ending)
