"""The table of data sets that a config can name, e.g. `configs/amr.py:ntu60_xsub`.

Each data set and protocol has one row: its records, its joints, and how the field loads it. Configs
read this table, and nothing else lists data sets. Custom data is named by the folder of its
records, `configs/amr.py:DATA/custom/NAME`; its row is read from a file that `prepare` wrote there.
"""

import dataclasses
import json

import ml_collections
from etils import epath

from amr_jax.data import records
from amr_jax.data.readers import layout_file
from amr_jax.errors import UserError, did_you_mean
from amr_jax.run import paths
from amr_jax.skeleton import layouts


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One data set under one protocol.

    Attributes:
      records: name of the TFDS builder and its config, as in `tfds.builder(records)`; for custom
        data the absolute path of the folder.
      layout: the joints.
      centre: whether the field moves the origin to `layout.centre` of the first actor.
      max_frames: sequences are cut at this many frames when they are read.
      channels: the numbers of a joint, one of `layouts.CHANNELS`.
      scale: custom data: the factor that converted the coordinates in its files to metres.
      sequences: custom data: the number of sequences in each split.
    """

    records: str
    layout: layouts.Layout
    centre: bool
    max_frames: int
    channels: str = "xyz"
    scale: float = 1.0
    sequences: dict[str, int] | None = None

    def open_split(
        self, data_dir: str, split: str, section: ml_collections.ConfigDict
    ) -> records.Records:
        """Opens a split as a pre-training run loads it.

        Args:
          data_dir, split: as in `records.Records`.
          section: the section `input` of the pre-training config: `centre`, `max_frames`.

        Raises:
          UserError: the records are absent, of another version, or damaged.
        """
        centre = self.layout.centre if section.centre else None
        return records.Records(data_dir, self.records, split, centre, section.max_frames)

    def first(self, split: str, count: int) -> str:
        """The first `count` sequences of a split, in the syntax of TFDS; all, if it has no more."""
        few = self.sequences is not None and self.sequences.get(split, 0) <= count
        return split if few else f"{split}[:{count}]"

    @property
    def has_confidence(self) -> bool:
        """Whether the last channel is the detector's confidence, not a coordinate."""
        return self.channels.endswith("c")

    @property
    def turns_about(self) -> tuple[bool, bool, bool]:
        """Whether a sequence can be rotated about the axes x, y, z; in an image only about z."""
        in_space = layouts.num_coordinates(self.channels) == 3
        return in_space, in_space, True


def _ntu(records: str) -> Dataset:
    return Dataset(records, layouts.NTU_25, centre=True, max_frames=300)


def _pku(records: str) -> Dataset:
    # Published pipelines feed PKU-MMD in camera coordinates (docs/formats.md).
    return Dataset(records, layouts.NTU_25, centre=False, max_frames=300)


DATASETS = {
    "ntu60_xsub": _ntu("ntu_rgbd60/xsub"),
    "ntu60_xview": _ntu("ntu_rgbd60/xview"),
    "ntu120_xsub": _ntu("ntu_rgbd120/xsub"),
    "ntu120_xset": _ntu("ntu_rgbd120/xset"),
    "pku1_xsub": _pku("pku_mmd/v1_xsub"),
    "pku1_xview": _pku("pku_mmd/v1_xview"),
    "pku2_xsub": _pku("pku_mmd/v2_xsub"),
    "pku2_xview": _pku("pku_mmd/v2_xview"),
    "nwucla": Dataset("nw_ucla/xview", layouts.KINECT_20, centre=True, max_frames=201),
    # `python -m amr_jax.synthetic` writes files in the format of NTU RGB+D 60.
    "synthetic": _ntu("ntu_rgbd60/xsub"),
}


def get(name: str) -> Dataset:
    """The row with this name, or the row of the custom data in the folder `name`.

    Raises:
      UserError: there is no such row or folder; the message lists the choices.
    """
    if name in DATASETS:
        return DATASETS[name]
    if "/" not in name:
        raise UserError(
            f"unknown data set {name!r}; expected one of: {', '.join(DATASETS)}; or the folder of "
            f"records of your own: DATA/custom/NAME.{did_you_mean(name, DATASETS)}"
        )
    return _own(epath.Path(name).expanduser())


def _own(folder: epath.Path) -> Dataset:
    file = folder / records.VERSION / "metadata.json"
    try:
        content = json.loads(file.read_text())
        layout, channels, scale, longest, sequences = (
            content[key] for key in ("layout", "channels", "scale", "longest", "sequences")
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: found no custom data ({file.name} of version {records.VERSION}: "
            f"{type(error).__name__}); expected a folder DATA/custom/NAME that `python -m "
            "amr_jax.prepare --dataset=custom --data_dir=DATA --name=NAME` wrote. If it was moved "
            "after a run began, move it back or correct 'dataset' in the run's config.json."
        ) from error
    return Dataset(
        records=str(folder),
        layout=layout_file.from_json(layout, file),
        centre=True,
        max_frames=longest,
        channels=channels,
        scale=scale,
        sequences=sequences,
    )


def argument(text: str) -> tuple[str, Dataset, bool]:
    """A config's argument, `NAME` or `NAME,runlocal` → (name, its row, whether `runlocal`).

    A folder is returned as its absolute path, so that the run finds it from any working directory.
    """
    name, _, variant = text.partition(",")
    if variant not in ("", "runlocal"):
        raise UserError(f"config argument {text!r}: expected 'NAME' or 'NAME,runlocal'.")
    if "/" in name:
        name = str(paths.absolute(name))
    return name, get(name), variant == "runlocal"
