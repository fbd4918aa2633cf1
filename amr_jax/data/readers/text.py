"""The encoding of text files: byte order marks, and texts that are not UTF-8."""

import codecs

from amr_jax.errors import BadFile

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # UTF-32 LE begins alike


def without_mark(data: bytes, path: object) -> bytes:
    """The bytes of a text without the byte order mark that editors of Windows write in front.

    Args:
      data: the whole file.
      path: how errors call it.

    Raises:
      BadFile: text in UTF-16 or UTF-32, which editors of Windows call 'Unicode'.
    """
    # Without a mark: every second of the first bytes is zero.
    zeros = [byte == 0 for byte in data[:4]]
    if data.startswith(_UTF_16) or zeros in ([False, True] * 2, [True, False] * 2):
        raise BadFile(
            path,
            "text in UTF-16 ('Unicode' in editors of Windows)",
            "text in UTF-8",
            hint="Save it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW.",
        )
    return data.removeprefix(codecs.BOM_UTF8)


def decode(data: bytes, path: object) -> str:
    """The text of a file in UTF-8; `BadFile` names any other encoding."""
    try:
        return without_mark(data, path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFile(path, "bytes that are not text", "text in UTF-8") from error
