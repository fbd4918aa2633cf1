"""Common base of the builders of NTU RGB+D 60 and 120, which define only their protocols."""

import functools
from pathlib import Path
from typing import ClassVar

from amr_jax.data.build import builder
from amr_jax.data.readers import files, ntu, ntu_missing
from amr_jax.data.readers.files import LeftOut
from amr_jax.data.readers.search import Search, some
from amr_jax.errors import BadFile, UserError

HOMEPAGE = "https://rose1.ntu.edu.sg/dataset/actionRecognition/"
ARCHIVES = {
    range(1, 18): "nturgbd_skeletons_s001_to_s017.zip",
    range(18, 33): "nturgbd_skeletons_s018_to_s032.zip",
}

_MANY = 100  # other texts that are looked into


class NtuBuilder(builder.SkeletonBuilder, skip_registration=True):
    """Base of the two builders.

    Args:
      gaps: 'contiguous' or 'true_time', see `readers.ntu.denoise`; metadata of the records.
      **kwargs: as in `SkeletonBuilder`.
    """

    SETUPS: ClassVar[range]
    MAX_BODIES = 2
    NUM_JOINTS = 25
    INTEGERS = ("setup", "camera", "subject", "replication")
    OPTIONS = ("gaps",)
    HOMEPAGE = HOMEPAGE

    def __init__(self, *, gaps: str = "contiguous", **kwargs):
        self._gaps = gaps
        super().__init__(**kwargs)
        self._original_state["gaps"] = gaps

    def options(self) -> dict[str, str]:
        return {"gaps": self._gaps}

    @classmethod
    def find(cls, manual_dir: Path, gaps: str = "contiguous") -> builder.RawSet:
        """Finds the `.skeleton` files of the data set's setups.

        Samples are left out if a list of samples with missing skeletons names them, as the authors
        of the data set publish it (`readers.ntu_missing`).
        """
        if gaps not in ntu.GAPS:
            raise UserError(f"--gaps is {gaps!r}; expected {' or '.join(ntu.GAPS)}.")
        first, last = cls.SETUPS[0], cls.SETUPS[-1]
        archives = {setups: name for setups, name in ARCHIVES.items() if setups[0] in cls.SETUPS}
        what = f"skeletons of {cls.name} (S{first:03d}...S{last:03d}...)"
        search = Search(manual_dir, what, ".skeleton")
        setups = {raw: _setup(raw) for raw in search.ending(".skeleton")}
        # Keep names that do not parse: reading them reports the error.
        wanted = [raw for raw, setup in setups.items() if setup is None or setup in cls.SETUPS]
        if not wanted:
            raise UserError(
                f"{manual_dir}: none of {len(setups):,} .skeleton files is of setups {first} to "
                f"{last}, the setups of {cls.name}; expected {' and '.join(archives.values())}."
            )
        search.notes += [
            f"no file of setups {part[0]} to {part[-1]} is there: {name} belongs to {cls.name} too."
            for part, name in archives.items()
            if set(part).isdisjoint(setups.values())
        ]
        if len(wanted) < len(setups):
            search.notes.append(f"{len(setups) - len(wanted):,} files of other setups are ignored.")
        lists = [raw for raw in search.files if ntu_missing.is_list(raw)]
        listed = _listed(lists, {_sample(raw) for raw in setups}, search)
        search.tell_unread([*setups, *lists])
        samples = search.once(wanted, _sample)
        search.left_out += [
            LeftOut(_sample(raw), str(raw), f"named in {listed[_sample(raw)]}")
            for raw in samples
            if _sample(raw) in listed
        ]
        return builder.RawSet(
            tasks=[raw for raw in samples if _sample(raw) not in listed],
            read=functools.partial(ntu.read_and_tell, gaps=gaps, num_actions=len(cls.CLASS_NAMES)),
            split=cls.split,
            protocols=tuple(cls.builder_configs),
            left_out=search.left_out,
            notes=search.notes,
        )

    @staticmethod
    def split(protocol: str, fields: dict) -> str:
        """'train' or 'test' for an example."""
        raise NotImplementedError


def _listed(lists: list[files.RawFile], here: set[str], search: Search) -> dict[str, files.RawFile]:
    """Samples with missing skeletons -> the list that names them; notes what else lists name."""
    listed: dict[str, files.RawFile] = {}
    for raw in lists:
        found = ntu_missing.read(raw)
        listed |= dict.fromkeys(found.names, raw)
        unknown = [name for name in found.names if name not in here]
        if unknown:
            search.notes.append(
                f"{raw}: {len(unknown):,} of {len(found.names):,} samples that it lists are not "
                f"here: {some(unknown)}."
            )
        if found.in_comments:
            search.notes.append(
                f"{raw}: samples in comments are not left out: {some(found.in_comments)}."
            )
    search.notes += [
        f"{raw} names samples. It is not used: the name of a list of samples with missing "
        "skeletons says 'missing'."
        for raw in [raw for raw in search.files if ntu_missing.is_text(raw)][:_MANY]
        if raw not in lists and ntu_missing.names_samples(raw)
    ]
    return listed


def _sample(raw: files.RawFile) -> str:
    return raw.name[: -len(".skeleton")].upper()


def _setup(raw: files.RawFile) -> int | None:
    try:
        return ntu.parse_name(raw.name).setup
    except BadFile:
        return None
