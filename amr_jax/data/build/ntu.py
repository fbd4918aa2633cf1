"""Common base of the builders of NTU RGB+D 60 and 120, which define only their protocols."""

import functools
import re
from pathlib import Path
from typing import ClassVar

from amr_jax.data.build import builder
from amr_jax.data.readers import files, ntu
from amr_jax.data.readers.files import LeftOut
from amr_jax.errors import BadFile, UserError

HOMEPAGE = "https://rose1.ntu.edu.sg/dataset/actionRecognition/"
ARCHIVES = {
    range(1, 18): "nturgbd_skeletons_s001_to_s017.zip",
    range(18, 33): "nturgbd_skeletons_s018_to_s032.zip",
}

_LISTED = re.compile(r"(S\d{3}C\d{3}P\d{3}R\d{3}A\d{3})(\.skeleton)?", re.IGNORECASE)


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

        Files are left out if a text file whose name contains 'missing' lists them: the authors
        publish a list of samples with missing skeletons.
        """
        if gaps not in ntu.GAPS:
            raise UserError(f"--gaps is {gaps!r}; expected {' or '.join(ntu.GAPS)}.")
        first, last = cls.SETUPS[0], cls.SETUPS[-1]
        archives = {setups: name for setups, name in ARCHIVES.items() if setups[0] in cls.SETUPS}
        what = f"skeletons of {cls.name} (S{first:03d}...S{last:03d}...)"
        setups = {raw: _setup(raw) for raw in files.find(manual_dir, ".skeleton", what=what)}
        # Keep names that do not parse: reading them reports the error.
        wanted = [raw for raw, setup in setups.items() if setup is None or setup in cls.SETUPS]
        if not wanted:
            raise UserError(
                f"{manual_dir}: none of {len(setups):,} .skeleton files is of setups {first} to "
                f"{last}, the setups of {cls.name}; expected {' and '.join(archives.values())}."
            )
        notes = [
            f"no file of setups {part[0]} to {part[-1]} is there: {name} belongs to {cls.name} too."
            for part, name in archives.items()
            if set(part).isdisjoint(setups.values())
        ]
        if len(wanted) < len(setups):
            notes.append(f"{len(setups) - len(wanted):,} files of other setups are ignored.")
        listed = missing_skeletons(Path(manual_dir))
        return builder.RawSet(
            tasks=[raw for raw in wanted if _stem(raw) not in listed],
            read=functools.partial(ntu.read_and_tell, gaps=gaps, num_actions=len(cls.CLASS_NAMES)),
            split=cls.split,
            protocols=tuple(cls.builder_configs),
            left_out=tuple(
                LeftOut(_stem(raw), str(raw), f"named in {listed[_stem(raw)]}")
                for raw in wanted
                if _stem(raw) in listed
            ),
            notes=tuple(notes),
        )

    @staticmethod
    def split(protocol: str, fields: dict) -> str:
        """'train' or 'test' for an example."""
        raise NotImplementedError


def missing_skeletons(manual_dir: Path) -> dict[str, str]:
    """Samples named in `*missing*.txt` files anywhere in the folder -> the file that names them.

    Raises:
      BadFile: such a file names no sample.
    """
    listed = {}
    for path in sorted(manual_dir.rglob("*.txt")) if manual_dir.is_dir() else ():
        if "missing" not in path.name.lower():
            continue
        words = path.read_text(encoding="utf-8", errors="replace").split()
        names = [match[1].upper() for word in words if (match := _LISTED.fullmatch(word))]
        if not names:
            raise BadFile(
                path, "no name of a sample", "names like S001C002P005R002A008, one per line"
            )
        listed |= dict.fromkeys(names, path.name)
    return listed


def _stem(raw: files.RawFile) -> str:
    return raw.name[: -len(".skeleton")]


def _setup(raw: files.RawFile) -> int | None:
    try:
        return ntu.parse_name(raw.name).setup
    except BadFile:
        return None
