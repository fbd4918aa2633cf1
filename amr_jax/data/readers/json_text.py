"""JSON in files that users hand in: the standard parser, without what it lets pass in silence."""

import json

from amr_jax.errors import BadFile


class _Twice(ValueError):
    """A key twice in one object: the parser would keep the last, and nobody would know."""


def load(data: bytes, path: object, expected: str) -> dict:
    """The object in a file.

    Args:
      data: the whole file, in UTF-8 (or UTF-16 or UTF-32, as JSON may be).
      path: what to call it in an error.
      expected: what it is to be, e.g. 'one JSON object'.

    Raises:
      BadFile: no JSON, no object, a key twice in one, or digits or nesting beyond all bounds.
    """
    try:
        content = json.loads(data, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        found = f"no JSON ({error.msg}, column {error.colno})"
        raise BadFile(path, found, expected, error.lineno) from error
    except UnicodeDecodeError as error:
        raise BadFile(path, "bytes that are not text", f"{expected} in UTF-8") from error
    except _Twice as error:
        raise BadFile(path, f"the key {str(error)!r} twice", "every key once") from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, deep nesting
        raise BadFile(path, f"no JSON that can be read ({error})", expected) from error
    if not isinstance(content, dict):
        raise BadFile(path, f"a JSON {type(content).__name__}", "a JSON object")
    return content


def _object(pairs: list[tuple[str, object]]) -> dict:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        raise _Twice(next(key for key, _ in pairs if key in seen or seen.add(key)))
    return content
