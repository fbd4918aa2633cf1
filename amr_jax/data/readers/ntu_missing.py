"""Lists of samples of NTU RGB+D with missing skeletons, as the authors publish them.

A list is text: names of samples in any usual spelling, between words of prose. A word that
resembles a name and is none is an error, so that no listed sample gets a record in silence.
"""

import dataclasses
import os
import re
from collections.abc import Iterator

from amr_jax.data.readers import files, text
from amr_jax.errors import BadFile

_MAX_BYTES = 2**24  # limit for a list; all samples of NTU RGB+D 120 take 3 MB
_TEXTS = (
    ".txt", ".csv", ".tsv", ".log", ".lst", ".list", ".md", ".json", ".py", ".yaml", ".yml",
    ".dat", ".tab", ".xml", ".cfg", ".rst",
)  # fmt: skip
_PERHAPS = re.compile("ignore|exclu|without|no_?skel|bad|broken|incomplete", re.IGNORECASE)
_BETWEEN = re.compile(r"""[\s,;=|"'`<>()\[\]{}=，、；。\ufeff]+""")
_FOLDER = re.compile(r".*[/\\!]")  # in the notations of all systems, and of archives
# What may follow in names of files: '.skeleton', '.skeleton.gz', '_rgb.avi'.
_NAME = re.compile(r"(S\d{3}C\d{3}P\d{3}R\d{3}A\d{3})((?:[._][a-z]\w*)*)[.:]?", re.IGNORECASE)
_RESEMBLES = re.compile(r"S\d+[^a-z]*C\d|(?<![a-z0-9])[SCPRA]\d{3}", re.IGNORECASE)
_COMMENT = re.compile(r"(?:^|\s)[#%]")


@dataclasses.dataclass(frozen=True)
class Listed:
    """The names in a list, in upper case.

    Attributes:
      names: name -> its line.
      in_comments: names after '#' or '%', which are not listed.
    """

    names: dict[str, int]
    in_comments: tuple[str, ...]


def is_list(raw: files.RawFile) -> bool:
    """Whether the name of a file says that it lists samples without skeletons."""
    if raw.name.lower().endswith(".skeleton") or raw.name.startswith("."):
        return False
    return "missing" in raw.name.lower() or bool(_PERHAPS.search(raw.name) and names_samples(raw))


def read(raw: files.RawFile) -> Listed:
    """Reads a list.

    Raises:
      BadFile: no text, no name of a sample, or a word that resembles a name and is none.
    """
    names: dict[str, int] = {}
    in_comments: list[str] = []
    content = text.without_mark(raw.read(_MAX_BYTES), raw).decode("utf-8", errors="replace")
    for number, line in enumerate(content.splitlines(), start=1):
        listed, *comment = _COMMENT.split(line, maxsplit=1)
        in_comments += [name for part in comment for _, name in _words(part) if name]
        for word, name in _words(listed):
            if name:
                names.setdefault(name, number)
            elif _RESEMBLES.search(word):
                expected = "the name of a sample, like S001C002P005R002A008, or a comment (#)"
                raise BadFile(raw, repr(word[:60]), expected, number)
    if not names:
        raise BadFile(raw, "no name of a sample", "names like S001C002P005R002A008, one per line")
    return Listed(names, tuple(in_comments))


def is_text(raw: files.RawFile) -> bool:
    """Whether the name of a file is one of texts: by its ending, or without any."""
    has_none = not (raw.name.startswith(".") or os.path.splitext(raw.name)[1])
    return has_none or raw.name.lower().endswith(_TEXTS)


def names_samples(raw: files.RawFile) -> bool:
    """Whether a text file holds names of samples, whatever it is for."""
    if not is_text(raw):
        return False
    try:
        content = raw.read(_MAX_BYTES).decode("latin-1").replace("\0", "")
    except BadFile:
        return False
    return any(name for _, name in _words(content))


def _words(line: str) -> Iterator[tuple[str, str]]:
    """(word, the name of the sample that it names or '') for the words of a text."""
    for word in _BETWEEN.split(line):
        match = _NAME.fullmatch(_FOLDER.sub("", word))
        yield word, match[1].upper() if match and not _RESEMBLES.search(match[2]) else ""
