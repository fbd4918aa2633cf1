"""The table of data sets that a config can name, e.g. `configs/amr.py:ntu60_xsub`.

Each data set and protocol has one row: its records, its joints, and how the field loads it. Configs
read this table, and nothing else lists data sets. Custom data is named by the folder of its
records, `configs/amr.py:DATA/custom/NAME`; its row is read from a file that `prepare` wrote there.
Names joined by + are several sets at once, `configs/amr.py:nwucla+utd` (docs/transfer.md).
"""

import json

from etils import epath

from amr_jax.data import record_folder
from amr_jax.data.dataset import Dataset
from amr_jax.data.readers import layout_file
from amr_jax.errors import UserError, did_you_mean
from amr_jax.run import paths
from amr_jax.skeleton import layouts, union


def _ntu(records: str) -> Dataset:
    return Dataset(records, layouts.NTU_25, centre=True, max_frames=300, camera=r"C\d{3}")


def _pku(records: str) -> Dataset:
    # Published pipelines feed PKU-MMD in camera coordinates (docs/formats.md). The cameras of a
    # recording number its actions in slightly different ways; the label says which is which.
    camera = r"-[LMR]_\d+"
    return Dataset(records, layouts.NTU_25, centre=False, max_frames=300, camera=camera)


def _kinect(
    records: str,
    layout: layouts.Layout,
    longest: int,
    validation: int | str,
    camera: str | None = None,
) -> Dataset:
    """A set of Kinect v1: one body, hundreds of sequences; `validation` by these subjects."""
    return Dataset(
        records,
        layout,
        centre=True,
        max_frames=longest,
        one_kinect=True,
        camera=camera,
        validation=f"subject={validation}",
    )


def _ucla(protocol: str, validation: int | str) -> Dataset:
    return _kinect(f"nw_ucla/{protocol}", layouts.KINECT_20, 201, validation, camera=r"_v\d+")


def _leave_one_out(
    name: str, records: str, layout: layouts.Layout, longest: int
) -> dict[str, Dataset]:
    """Protocols that test on one of ten subjects; the next one is for validation."""
    return {
        f"{name}_loso{s}": _kinect(f"{records}/loso{s}", layout, longest, s % 10 + 1)
        for s in range(1, 11)
    }


DATASETS = {
    "ntu60_xsub": _ntu("ntu_rgbd60/xsub"),
    "ntu60_xview": _ntu("ntu_rgbd60/xview"),
    "ntu120_xsub": _ntu("ntu_rgbd120/xsub"),
    "ntu120_xset": _ntu("ntu_rgbd120/xset"),
    "pku1_xsub": _pku("pku_mmd/v1_xsub"),
    "pku1_xview": _pku("pku_mmd/v1_xview"),
    "pku2_xsub": _pku("pku_mmd/v2_xsub"),
    "pku2_xview": _pku("pku_mmd/v2_xview"),
    "nwucla": _ucla("xview", "9,10"),
    "nwucla_xsub": _ucla("xsub", 9),
    "utd": _kinect("utd_mhad/xsub", layouts.KINECT_20, 125, 7),
    "msr": _kinect("msr_action3d/xsub", layouts.KINECT_20, 196, 9),
    "kard": _kinect("kard/xsub", layouts.OPENNI_15, 310, 9),
    "utkinect": _kinect("utkinect/xsub", layouts.KINECT_20, 115, 9),
    "florence": _kinect("florence3d/xsub", layouts.OPENNI_15, 34, 9),
    **_leave_one_out("utkinect", "utkinect", layouts.KINECT_20, 115),
    **_leave_one_out("florence", "florence3d", layouts.OPENNI_15, 34),
    # `python -m amr_jax.synthetic` writes files in the format of NTU RGB+D 60.
    "synthetic": _ntu("ntu_rgbd60/xsub"),
}


def get(name: str) -> Dataset:
    """The row with this name, or of the custom data in the folder `name`, or of several sets.

    Raises:
      UserError: there is no such row or folder; the message lists the choices. Or sets that cannot
        be one.
    """
    if name in DATASETS:
        return DATASETS[name]
    if "+" in name and not is_own(name):
        return _several(name.split("+"))
    if "/" not in name:
        raise UserError(
            f"unknown data set {name!r}; expected one of: {', '.join(DATASETS)}; or the folder of "
            f"records of your own: DATA/custom/NAME.{did_you_mean(name, DATASETS)}"
        )
    return _own(epath.Path(name).expanduser())


def _several(names: list[str]) -> Dataset:
    """The row of several sets at once; `UserError` if they do not fit together."""
    text, members = "+".join(names), {name: get(name) for name in names}
    first, layout = members[names[0]], union.of_layouts([one.layout for one in members.values()])
    known: dict[str, str] = {}
    for name, one in members.items():
        if names.count(name) > 1 or one.recordings in known:
            raise UserError(
                f"{text}: {known.get(one.recordings, name)} and {name} are of the same recordings; "
                "expected each set once, under one protocol: training sequences of one are tests "
                "of another."
            )
        known[one.recordings] = name
        if one.channels != first.channels:
            raise UserError(
                f"{text}: joints of {names[0]} are {first.channels}, those of {name} are "
                f"{one.channels}; expected sets with the same numbers for each joint."
            )
        at = union.places(layout, one.layout)
        if at is None:
            raise UserError(
                f"{text}: two joints of {name} ({one.layout.name}) are one joint of "
                f"{layout.name}; expected one each. Prepare the set with one of them only."
            )
        if odd := [joint for joint in at if layout.mirrored[joint] not in at]:
            joint, other = layout.joints[odd[0]], layout.joints[layout.mirrored[odd[0]]]
            raise UserError(
                f"{text}: {name} has the joint {joint!r}, but not {other!r}; expected both or "
                "neither, as methods may exchange left and right."
            )
    rows = members.values()
    return Dataset(
        records=text,
        layout=layout,
        centre=any(one.centre for one in rows),
        max_frames=max(one.max_frames for one in rows),
        channels=first.channels,
        one_kinect=all(one.one_kinect for one in rows),
        members=members,
    )


def _own(folder: epath.Path) -> Dataset:
    file = _metadata(folder)
    try:
        content = json.loads(file.read_text())
        layout, channels, scale, longest, sequences = (
            content[key] for key in ("layout", "channels", "scale", "longest", "sequences")
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: found no custom data ({file.name} of version {record_folder.VERSION}: "
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
        scores=content.get("scores"),
        sequences=sequences,
    )


def short(name: str) -> str:
    """A data set's name for folders and tables: of own records, the last part of the path."""
    return name.rstrip("/").rpartition("/")[2]


def is_own(name: str) -> bool:
    """Whether this is the folder of custom data."""
    return "/" in name and _metadata(paths.absolute(name)).exists()


def _metadata(folder: epath.Path) -> epath.Path:
    return folder / record_folder.VERSION / "metadata.json"
