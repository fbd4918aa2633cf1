"""Finds the raw files of a data set, in folders and inside zip archives."""

import collections
import os
import pathlib
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence

from amr_jax.data.readers import archives, walk
from amr_jax.data.readers.archives import MAX_BYTES
from amr_jax.data.readers.files import LeftOut, RawFile
from amr_jax.errors import BadFile, UserError, readable

# Archives that are not read in place, and parts of one.
_PACKED = (".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz", ".zst", ".z01", ".001")


class Search:
    """Everything in a folder, below it, and inside every zip archive there.

    `find` is enough where every problem is an error. A preparation also tells what it does not
    read: it passes `left_out` and `notes` on.

    Attributes:
      files: on disk and in archives, in the order of their names; of one name, a file on disk
        before a member of an archive.
      left_out: what gets no record; those with an error end the command unless it may skip them.
      notes: messages for the user.

    Args:
      manual_dir: the folder that the user downloaded to, any level above the files; or one archive.
      what: what is looked for, for messages, e.g. 'skeletons of NTU RGB+D'.
      ending: how the names end of the files that are going to be read, if all end alike.
      sample: a regular expression, in any case, for how the names of these files begin; others with
        this ending are not read.
      others: title -> a regular expression for the names of the files of another data set, which
        may be in the same folder; they are not read either.

    Raises:
      UserError: no such folder.
      BadFile: an archive is incomplete.
    """

    def __init__(
        self,
        manual_dir: str | os.PathLike,
        what: str,
        ending: str = "",
        sample: str = "",
        others: Mapping[str, str] = types.MappingProxyType({}),
    ):
        self._manual_dir, self._what = _existing(manual_dir, what), what
        self._others = others
        self._foreign_ending, self._sample = ending.lower() if sample else None, sample
        self.left_out: list[LeftOut] = []
        self.notes: list[str] = []
        disk, self._zips = self._walk()
        found = [RawFile(path) for path in disk]
        ending = ending.lower()
        for path in self._zips:
            names = archives.names(path, lambda name: ending and self._is_sample(name, ending))
            found += [RawFile(path, name) for name in names]
        found = [raw for raw in found if not _is_apple_double(raw.member or raw.container)]
        found.sort(key=lambda raw: (raw.name, raw.member is not None, str(raw)))
        self.files = found

    def _walk(self) -> tuple[list[str], list[str]]:
        """(files, zip archives); lists what cannot be looked at as left out."""
        if os.path.isfile(self._manual_dir):
            return [], [self._manual_dir]
        found, problems = walk.files_below(self._manual_dir)
        self.left_out += [
            LeftOut(os.path.basename(bad.path), bad.path, bad.found, bad) for bad in problems
        ]
        zips = [path for path in found if _is_zip(path)]
        return [path for path in found if not _is_zip(path)], zips

    def _is_sample(self, name: str, ending: str) -> bool:
        """Whether the name of a file, perhaps in folders, says that it is going to be read."""
        base = os.path.basename(name)
        begins = re.match(self._sample, base, re.IGNORECASE) and self._other(base) is None
        return bool(begins) and name.lower().endswith(ending.lower())

    def _other(self, base: str) -> str | None:
        """The title of the other data set whose files have such names."""
        fits = (t for t, form in self._others.items() if re.fullmatch(form, base, re.IGNORECASE))
        return next(fits, None)

    def ending(self, suffix: str) -> list[RawFile]:
        """The files of samples whose names end so, in any case; `UserError` if there is none."""
        found = [raw for raw in self.files if self._is_sample(raw.name, suffix)]
        if not found:
            if bad := next((sample.bad for sample in self.left_out if sample.bad), None):
                raise bad
            raise UserError(self._nothing_found(suffix))
        return found

    def once(
        self,
        found: Iterable[RawFile],
        sample: Callable[[RawFile], str] = lambda raw: raw.name.lower(),
        max_bytes: int = MAX_BYTES,
    ) -> list[RawFile]:
        """The first file of every sample; a note tells of others with the same content.

        A sample with several files of different content is left out, with the error.

        Args:
          found: files, the preferred one of each sample first.
          sample: identifies the sample of a file.
          max_bytes: limit for a file that is compared.
        """
        of_sample: dict[str, list[RawFile]] = {}
        for raw in found:
            of_sample.setdefault(sample(raw), []).append(raw)
        several = {name: raws for name, raws in of_sample.items() if len(raws) > 1}
        again = []
        for name, (first, *others) in several.items():
            content = first.fingerprint(max_bytes)
            other = next((raw for raw in others if raw.fingerprint(max_bytes) != content), None)
            if other is None:
                again.append((first, others[0]))
                continue
            bad = BadFile(
                first,
                f"{name} with another content than in {other}",
                "every sample once, or the same content everywhere",
                hint="Remove one of the files.",
            )
            self.left_out.append(LeftOut(name, str(first), f"bad file: {bad}", bad))
            del of_sample[name]
        if again:
            self.notes.append(
                f"{len(again):,} samples are there more than once, with the same content: "
                f"{again[0][0]} is read, {again[0][1]} is not{_and_more(len(again) - 1)}."
            )
        return [raws[0] for raws in of_sample.values()]

    def samples(self, suffix: str) -> list[RawFile]:
        """One file for each name that ends so, whatever its case; notes what else is there."""
        found = self.ending(suffix)
        self.tell_unread(found)
        return self.once(found)

    def tell_unread(self, read: Iterable[RawFile]) -> None:
        """Notes the kinds of all other files, and lists archives that are not read in place."""
        read = set(read)
        others = [raw for raw in self.files if raw not in read and not raw.name.startswith(".")]
        packed = [raw for raw in others if _is_closed(raw)]
        for raw in packed:
            why = "an archive in an archive" if raw.member else "an archive other than .zip"
            self.left_out.append(LeftOut(raw.name, str(raw), f"{why}, which is not read"))
        if packed:
            names = some([str(raw) for raw in packed])
            self.notes.append(f"{names}: not read. {how_to_unpack(*map(str, packed[:3]))}")
        rest = [raw for raw in others if raw not in packed]
        if rest:
            self.notes.append(f"not read: {self._kinds(rest)}.")

    def _nothing_found(self, suffix: str) -> str:
        """The message of an empty search."""
        message = f"looked for the {self._what} (*{suffix}) in {readable(self._manual_dir)}, its "
        message += f"sub-folders and {len(self._zips)} zip archive(s) there: "
        if not self.files:
            return f"{message}the folder is empty. Download the data set there (docs/formats.md)."
        message += f"there is none among {len(self.files)} file(s) ({self._kinds(self.files)}). "
        packed = [str(raw) for raw in self.files if _is_closed(raw)]
        if packed:
            return message + how_to_unpack(*packed[:3])
        return message + "Point --manual_dir at the folder with the files or any folder above it."

    def _kinds(self, found: list[RawFile]) -> str:
        """How many files are of which other data set, or have which ending, or name.

        Names are without their numbers, and told if samples end so.
        """
        sets: collections.Counter[str] = collections.Counter()
        kinds: collections.Counter[str] = collections.Counter()
        for raw in found:
            ending = os.path.splitext(raw.name)[1].lower()
            if title := self._other(raw.name):
                sets[f"files of {title}"] += 1
            elif ending == self._foreign_ending:
                kinds[re.sub(r"\d+", "#", raw.name)] += 1
            else:
                kinds[ending or raw.name] += 1
        counts = [
            f"{count:,} {kind}" for kind, count in (*sets.most_common(), *kinds.most_common(6))
        ]
        more = sum(kinds.values()) - sum(count for _, count in kinds.most_common(6))
        return ", ".join(counts) + (f", and {more:,} more" if more else "")


def find(
    manual_dir: str | os.PathLike, suffix: str, what: str, unique: bool = True
) -> list[RawFile]:
    """The files of a `Search` whose names end in `suffix`, in the order of their names.

    Args:
      manual_dir, what: as in `Search`.
      suffix: e.g. '.skeleton'.
      unique: one file per name, see `Search.once`; False keeps all of them.

    Raises:
      UserError: nothing found.
      BadFile: an archive is incomplete, a folder cannot be listed, or files of one name differ.
    """
    search = Search(manual_dir, what, suffix)
    found = search.ending(suffix)
    found = search.once(found) if unique else found
    raise_first(search.left_out)
    return found


def raise_first(left_out: Iterable[LeftOut]) -> None:
    """Raises the first error among what is left out."""
    for sample in left_out:
        if sample.bad is not None:
            raise sample.bad


def _existing(manual_dir: str | os.PathLike, what: str) -> str:
    """The path as a string; it is a folder or a zip archive."""
    if not manual_dir or not os.fspath(manual_dir).strip():
        raise UserError(
            f"no --manual_dir given; expected the folder that holds the {what}, unpacked or as zip."
        )
    path = pathlib.Path(os.path.expanduser(manual_dir))
    if path.is_dir() or (path.is_file() and path.suffix.lower() == ".zip"):
        return str(path)
    if path.is_file():
        raise UserError(
            f"{path} is a file; expected a folder or a zip archive with the {what}. "
            + (how_to_unpack(str(path)) if path.suffix.lower() in _PACKED else "")
        )
    there = next(parent for parent in path.absolute().parents if parent.exists())
    names = sorted(os.listdir(there))[:8] if there.is_dir() else []
    raise UserError(
        f"looked for the {what} in {path}, but there is no such folder. {there} exists and holds: "
        f"{', '.join(names) or 'nothing'}. Download the data set there, or correct --manual_dir."
    )


def _is_zip(path: str) -> bool:
    return path.lower().endswith(".zip") and not os.path.basename(path).startswith("._")


def _is_closed(raw: RawFile) -> bool:
    """Whether it is an archive that is not read in place."""
    if raw.member is not None:
        return raw.name.lower().endswith((*_PACKED, ".zip"))
    # Beside the folder that it was unpacked to there is no need to read it.
    closed = raw.name.lower().endswith(_PACKED)
    return closed and not os.path.isdir(os.path.splitext(raw.path)[0])


def _is_apple_double(path: str) -> bool:
    """Whether macOS added the file: `__MACOSX/._name` for every `name` in an archive."""
    parts = path.split("/")
    return "__MACOSX" in parts or parts[-1].startswith("._")


def some(names: Sequence[str]) -> str:
    """The first names of many, for a note."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _and_more(count: int) -> str:
    return f", and so for {count:,} more" if count > 0 else ""


def how_to_unpack(*paths: str) -> str:
    """The hint for archives that are not read in place."""
    if paths[0].lower().endswith(".7z"):
        commands = " && ".join(f"7z x {path} -o{os.path.splitext(path)[0]}" for path in paths)
        return f"7z archives are not read in place: unpack with `{commands}` (package p7zip)."
    return f"Unpack it first (only .zip and .gz are read in place): {', '.join(paths)}."
