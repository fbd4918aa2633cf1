"""Mutations for particular formats: absurd content in valid form, with valid checksums."""

import gzip
import io
import itertools
import json
import pickle
import pickletools
import re
import struct
import warnings
import zipfile

import numpy as np

from tests.fuzz import mutations

# --- JSON

_ODD = (
    None, True, 0, -1, 1.5, 2**31, 10**9, 10**400, 1e308, float("nan"), float("inf"), "", "x",
    "1.5", "\u0661", "\ud800", "a\x00b\n", "x" * 5000, [], {}, [[]], [None], {"a": 1},
    [[1, 2], [3]],
)  # fmt: skip


class _Pairs(list):
    """A JSON object that may hold a key twice."""


def _dump(node: object) -> str:
    if isinstance(node, _Pairs):
        return "{" + ", ".join(f"{json.dumps(k)}: {_dump(v)}" for k, v in node) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(map(_dump, node)) + "]"
    return json.dumps(node)


def json_pairs(data: bytes) -> list:
    """Parses JSON, with lists of pairs for its objects."""
    return json.loads(data, object_pairs_hook=_Pairs)


def _containers(node: object) -> list:
    """All lists and objects, outer ones first."""
    children = [value for _, value in node] if isinstance(node, _Pairs) else node
    found = [node]
    for child in children:
        if isinstance(child, list):
            found += _containers(child)
    return found


def json_value(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Changes, repeats, removes, renames or moves one value."""
    return _changed(rng, json_pairs(data)).encode(), "rest"


def _changed(rng: np.random.Generator, tree: list) -> str:
    containers = [node for node in _containers(tree) if node]
    outer = [node for node in containers if isinstance(node, _Pairs)]
    node = (outer if rng.random() < 0.5 else containers)[0 if rng.random() < 0.3 else -1]
    if rng.random() < 0.5:
        node = containers[rng.integers(len(containers))]
    at, way = int(rng.integers(len(node))), int(rng.integers(5))
    odd = _ODD[rng.integers(len(_ODD))]
    item = node[at]
    if way == 0:
        node.insert(at, item)
    elif way == 1:
        del node[at]
    elif isinstance(node, _Pairs):
        other = node[rng.integers(len(node))]
        node[at] = [(item[0], odd), (str(odd), item[1]), (other[0], item[1])][way - 2]
    else:
        node[at] = [odd, [item], node[rng.integers(len(node))]][way - 2]
    return _dump(tree)


def json_form(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Writes the same content with other spaces, order of keys and escapes."""
    content = json.loads(data)
    if rng.random() < 0.5:
        content = dict(reversed(content.items()))
    text = json.dumps(content, indent=[None, 0, 1, "\t"][rng.integers(4)])
    return (" " * int(rng.integers(3)) + text + "\n").encode(), "same"


def json_deep(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Inserts deeply nested lists."""
    deep = b"[" * int(rng.choice([40, 900, 100_000]))
    at = data.find(b"[")
    return data[:at] + deep + data[at:] + (b"" if rng.random() < 0.5 else b"]" * len(deep)), "rest"


# --- pickles

_INSTRUCTIONS = (
    b"0", b"1", b"2", b"N", b"(", b")", b"]", b"}", b"a", b"e", b"s", b"u", b"t", b"\x85", b"\x86",
    b"b", b"R", b"\x81", b"\x93", b".", b"\x94", b"h\x00", b"h\x05", b"q\x01", b"j\x05\x00\x00\x00",
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"c__builtin__\nbytes\n)R", b"Ptouch\n", b"\x82\x01",
    b"K\x00", b"J\xff\xff\xff\x7f", b"\x8a\x01\xff", b"\x8b\xff\xff\xff\x7f", b"I1000000000\n",
    b"X\x03\x00\x00\x00\xed\xa0\x80", b"\x8c\x05numpy\x8c\x07ndarray\x93", b"G\x7f\xf8" + bytes(6),
    b"\x95" + b"\xff" * 8, b"C\x00", b"B\xff\xff\xff\xff", b"\x8e" + b"\xff" * 7 + b"\x7f", b"\x8f",
    b"\x90", b"\x91", b"\x8f(K\x01\x90", b"(K\x01\x85\x91", b"U\x01a", b"U\x02\xff\xfe",
    b"T\xff\xff\xff\xff", b"c__builtin__\nset\n", b"ccollections\ndefaultdict\n)R",
)  # fmt: skip


def pickle_program(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Removes, repeats or replaces one instruction."""
    starts = [place for _, _, place in pickletools.genops(data)] + [len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(starts)]
    at, way = int(rng.integers(len(pieces))), rng.integers(5)
    odd = _INSTRUCTIONS[rng.integers(len(_INSTRUCTIONS))]
    other = pieces[rng.integers(len(pieces))]
    pieces[at] = [b"", pieces[at] * 2, odd, pieces[at] + odd, other][way]
    return b"".join(pieces), "rest"


_CONTAINERS = (
    list, tuple, set, frozenset, dict.fromkeys, np.array, lambda names: np.array(names, object),
)  # fmt: skip


def pickle_content(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Pickles odd content, or the same content in another protocol and other containers."""
    content = pickle.loads(data)
    entry = content["annotations"][rng.integers(len(content["annotations"]))]
    way = rng.integers(6)
    if way == 0:
        split = content["split"]
        kind = _CONTAINERS[rng.integers(len(_CONTAINERS))]
        content["split"] = {name: kind(members) for name, members in split.items()}
        return pickle.dumps(content, protocol=int(rng.integers(2, 6))), "same"
    if way == 1:
        entry[list(entry)[rng.integers(len(entry))]] = _odd_value(rng, entry)
    elif way == 2:
        del entry[list(entry)[rng.integers(len(entry))]]
    elif way == 3:
        key = ["split", "annotations", "extra"][rng.integers(3)]
        content[key] = _odd_value(rng, entry)
    elif way == 4:
        content["annotations"].append(dict(entry))
    else:
        content["split"][["sub_train", "\ud800", 3][rng.integers(3)]] = [_odd_value(rng, entry)]
    return pickle.dumps(content, protocol=4), "sane"


def _odd_value(rng: np.random.Generator, entry: dict) -> object:
    joints = entry.get("keypoint", np.zeros((1, 2, 17, 2), np.float16))
    odd = (
        *_ODD, joints[:0], joints[0], joints.astype(np.float64) * 1e300, joints * np.nan,
        joints[::-1], joints.astype("U8"), joints > 0, joints.astype(np.int32), np.int64(7),
        np.arange(3), np.zeros((1, 2, 17, 10**6))[..., :0], b"S001", ("a",), frozenset("a"),
        np.array(["a", "b"], object), np.array([["a"], 1, None], object), {"S001", 1},
    )  # fmt: skip
    return odd[rng.integers(len(odd))]


# --- NumPy's files

_SHAPES = (
    "()", "(1000000000,)", "(1000000000, 2, 17, 3)", "(-1,)", "(-1, -2)", "(0, 10**19)", "(0,)",
    "(0, 10000000000000000000)", "(True, 2)", "(1.0, 2)", "'ab'", "((1,),)", "(" + "1, " * 70 + ")",
    "[1, 2]", "(" * 200, "(99999999999999999999,)", "None", "(1e3,)", "(2, 1, 17, 3)",
)  # fmt: skip
_DTYPES = (
    "'|O'", "'<U5'", "'<U0'", "'|V0'", "'|S0'", "'|V8'", "'>f4'", "'<f8'", "'<f2'", "'<c8'", "{}",
    "'<M8[s]'", "'(2,3)f4'", "'|b1'", "'<i4'", "'<f16'", "[('a', '<f4')]", "[('a', '|O')]", "7",
    "'x'", "''", "'<U1000000000'", "__import__('os').system('true')", "'<f4,<f4'", "'\u00b5'",
)  # fmt: skip


def npy_header(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Changes shape, dtype or order in the header, and sometimes its length."""
    start = 10
    end = start + int.from_bytes(data[8:10], "little")
    header = data[start:end].decode("latin-1").strip()
    way = rng.integers(4)
    if way == 0:
        shape = _SHAPES[rng.integers(len(_SHAPES))]
        header = re.sub(r"\('shape'.*|'shape': \([^)]*\)", f"'shape': {shape}", header)
    elif way == 1:
        dtype = _DTYPES[rng.integers(len(_DTYPES))]
        header = re.sub(r"'descr': '[^']*'", lambda _: f"'descr': {dtype}", header)
    elif way == 2:
        header = header.replace("False", ["True", "7", "None", "'no'"][rng.integers(4)])
    else:
        header = header[:-1] + ", 'more': 1}"
    text = header.encode("utf-8") + b"\n"
    length = len(text) if rng.random() < 0.9 else int(rng.integers(2**16))
    version = (
        b"\x01\x00"
        if rng.random() < 0.8
        else [b"\x02\x00", b"\x03\x00", b"\x09\x09"][rng.integers(3)]
    )
    size = struct.pack("<H" if version[:1] == b"\x01" else "<I", length)
    content = data[end:] if rng.random() < 0.7 else b""
    return b"\x93NUMPY" + version + size + text + content, "sane"


def npy_value(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Changes one number, e.g. to NaN."""
    array = np.load(io.BytesIO(data)).copy()
    values = array.reshape(-1)
    odd = (np.nan, np.inf, -np.inf, 6e4, 1e-7, -1.0, 2.0)
    values[rng.integers(values.size)] = odd[rng.integers(len(odd))]
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue(), "rest"


# --- zip archives and .npz


def members_of(data: bytes) -> dict[str, bytes]:
    """The members of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these members, with a fixed date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, content)
    return buffer.getvalue()


def zip_form(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Writes the same members with another compression or in another order."""
    members = list(members_of(data).items())
    rng.shuffle(members)
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return pack(members, methods[rng.integers(4)]) + rng.bytes(rng.integers(2)), "same"


def gzip_form(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Writes the same content at another level, in several parts, or with zeros behind it."""
    content = gzip.decompress(data)
    cuts = [0, *sorted(rng.integers(len(content), size=rng.integers(3)).tolist()), len(content)]
    parts = [
        gzip.compress(content[start:stop], int(rng.integers(10)), mtime=int(rng.integers(9)))
        for start, stop in itertools.pairwise(cuts)
    ]
    return b"".join(parts) + bytes(int(rng.integers(3))), "same"


def zip_members(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Removes, renames or damages a member; all checksums are valid."""
    members = list(members_of(data).items())
    at, way = int(rng.integers(len(members))), rng.integers(4)
    name, content = members[at]
    if way == 0:
        del members[at]
    elif way == 1:
        odd = ("", "/", "../../x", "a\x00b", "x" * 60_000, "\u00e9.npy", name + "/", name.upper())
        members[at] = (odd[rng.integers(len(odd))], content)
    else:
        special = (npy_header, npy_value) if b"'<f" in content[:80] else (npy_header,)
        members[at] = (name, mutations.make(rng, [content], special).data)
    return pack(members), "sane"


def zip_twice(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Adds a member with a name that exists."""
    members = list(members_of(data).items())
    one, other = rng.integers(len(members), size=2)
    members.insert(int(rng.integers(len(members))), (members[one][0], members[other][1]))
    with warnings.catch_warnings(action="ignore"):  # zipfile warns about it
        return pack(members), "same"


def zip_field(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Writes an extreme number into a header of the archive."""
    heads = [m.start() for m in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", data)]
    at = heads[rng.integers(len(heads))] + 4 + 2 * int(rng.integers(20))
    size = int(rng.choice([1, 2, 4]))
    value = (0, 1, 2**31, 2**32 - 1, 10**9, 2**16 - 1)[rng.integers(6)] % 256**size
    return data[:at] + value.to_bytes(size, "little") + data[at + size :], "same"


JSON = (json_value, json_form, json_deep)
ZIP = (zip_form, zip_field, zip_twice, zip_members)
