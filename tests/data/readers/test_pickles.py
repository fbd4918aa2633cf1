"""Pickles: data of Python and NumPy is read; anything that would run code is refused."""

import collections
import gzip
import os
import pickle
import pickletools
import re
import subprocess
import sys
import zlib

import numpy as np
import pytest

from amr_jax.data.readers import pickles
from amr_jax.errors import BadFile

RNG = np.random.default_rng(0)
ARRAYS = {
    "float16": RNG.normal(size=(2, 5, 17, 2)).astype(np.float16),
    "float32": RNG.normal(size=(2, 3)).astype(np.float32),
    "Fortran order": np.asfortranarray(RNG.normal(size=(3, 4, 5))),
    "axes exchanged": RNG.normal(size=(3, 4, 5)).transpose(1, 0, 2),
    "not contiguous": np.arange(12).reshape(3, 4)[:, ::2],
    "big-endian": np.arange(3, dtype=">i4"),
    "bool": np.array([True, False]),
    "empty": np.zeros((0, 3)),
    "no axes": np.array(2.5),
}
protocols = pytest.mark.parametrize("protocol", [2, 3, 4, 5])


def refused(data: bytes) -> str:
    with pytest.raises(BadFile) as caught:
        pickles.load(data, "file.pkl")
    assert caught.value.path == "file.pkl"
    return caught.value.found


@protocols
@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("numpy_1", [False, True])
@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
def test_arrays(protocol, name, numpy_1):
    array = ARRAYS[name]
    data = pickle.dumps({"x": array, "again": array}, protocol=protocol)
    if numpy_1:
        data = as_numpy_1(data)
    content = pickles.load(data, "x")
    np.testing.assert_array_equal(content["x"], array)
    assert content["x"].dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    assert content["again"] is content["x"]


def as_numpy_1(data: bytes) -> bytes:
    """The pickle as NumPy 1 writes it: its modules are called numpy.core."""
    frames = [place for opcode, _, place in pickletools.genops(data) if opcode.name == "FRAME"]
    for place in reversed(frames):  # their lengths change
        data = data[:place] + data[place + 9 :]
    for module in (b"numpy._core.multiarray", b"numpy._core.numeric"):
        old = module.replace(b"_core", b"core")
        text, old_text = (b"\x8c" + bytes([len(name)]) + name for name in (module, old))
        data = data.replace(text, old_text).replace(b"c" + module + b"\n", b"c" + old + b"\n")
    assert b"numpy.core" in data
    assert b"_core" not in data
    pickle.loads(data)  # numpy 2 still knows the old names
    return data


@protocols
def test_plain_data_and_numpy_scalars(protocol):
    content = {
        "split": {"train": ["ä", "b"], "val": []},
        "numbers": [0, -1, 255, 65_536, 2**70, 1.5, True, False, None],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "bytes": [b"", b"\x00\xff"],
        3: [np.int64(7), np.float32(2.5), np.bool_(True), np.str_("é")],
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, a=[1]),
        "set": {1, "b"},
        "frozen": frozenset({2.5}),
    }
    assert pickles.load(pickle.dumps(content, protocol=protocol), "x") == content


class Evil:
    def __init__(self, function, *arguments):
        self.how = function, arguments

    def __reduce__(self):
        return self.how


@protocols
@pytest.mark.parametrize(
    ("function", "argument"),
    [(os.system, "touch {}"), (eval, "open({!r}, 'w')"), (open, "{}"), (os.mkdir, "{}")],
)
def test_code_is_not_run(tmp_path, protocol, function, argument):
    created = tmp_path / "created"
    data = pickle.dumps(
        {"keypoint": Evil(function, argument.format(str(created)), *["w"][: function is open])},
        protocol=protocol,
    )
    assert f".{function.__name__}" in refused(data)
    assert not created.exists()
    pickle.loads(data)  # the standard reader does run it
    assert created.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # NEWOBJ
        b"\x80\x02K\x01K\x02\x85R.",  # a number is called
        b"\x80\x02cnumpy\nndarray\n)R.",  # an array class is called
        b"\x80\x02]}b.",  # a state for a list
        b"\x80\x02}((K\x01tK\x02u.",  # a tuple as a key
        b"\x80\x02P1\n.",
        b"\x80\x02\x82\x01.",  # an extension
        b"\x80\x02K\x01K\x02.",  # two values: the first would be lost
        b"\x80\x02(K\x01.",  # a mark whose values are not used
        b"\x80\x02K\x01.K\x02.",  # two pickles
        b"\x80\x02K\x01K\x020.",  # a value that is dropped
        b"\x80\x02cnumpy\ndtype\n}b.",  # a state for a function
        b"\x80\x02cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.",  # 2 GB of zeros
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
        b"\x80\x02cbuiltins\ngetattr\n.",
        b"\x80\x02(K\x01cos\nsystem\no.",  # OBJ
        b"\x80\x02}(K\x01K\x02K\x01K\x03u.",  # a key twice
        b"\x80\x02}K\x01K\x02sK\x01K\x03s.",
        b"\x80\x04\x8f(K\x01K\x01\x90.",  # a value twice in a set
        b"\x80\x04\x8f(K\x01\x90(K\x01\x90.",
        b"\x80\x04\x8f(K\x01\x85\x90.",  # a tuple in a set
        b"\x80\x04](K\x01\x90.",  # items of a set for a list
        b"\x80\x04(K\x01\x85\x91.",  # a tuple in a frozenset
        b"\x80\x02c__builtin__\nset\n]K\x01\x85a\x85R.",
        b"\x80\x02c__builtin__\nset\nJ\xff\xff\xff\x7f\x85R.",
    ],
)
def test_refuses_everything_but_data(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.match("a (damaged )?pickle ", refused(data))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'touch created'\ntR.",  # protocol 0
        b"(S'touch created'\nios\nsystem\n.",
        pickle.dumps({"a": 1}, protocol=1),
        gzip.compress(pickle.dumps({"a": 1}), mtime=0),
        zlib.compress(pickle.dumps({"a": 1})),
        b"annotations: none\n",
    ],
)
def test_names_older_compressed_and_other_files(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadFile, match=r"begins with b.*pickle of protocol 2 to 5\. Decompress it"):
        pickles.load(data, "x.pkl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x" * 100, repr("x" * 40)),
        (-1234, "-1234"),
        (True, "True"),
        (1.5, "1.5"),
        ((3, 4), "(3, 4)"),
        pytest.param(10**6000, "a int", id="huge"),  # Python refuses to print it
        ((1, (2, 3)), "a tuple"),
        (tuple(range(100)), "a tuple"),
        ({}, "a dict"),
    ],
)
def test_shown_values_are_short(value, expected):
    assert pickles.shown(value) == expected


@protocols
@pytest.mark.parametrize(
    "array",
    [
        np.array([1, "a", None], object),
        np.array([{}], object),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, [("x", "f4")]),
        np.zeros(2, complex),
    ],
)
def test_arrays_of_anything_but_numbers_are_refused(protocol, array):
    assert "an array" in refused(pickle.dumps(array, protocol=protocol))


LARGE = """
import resource, sys
from amr_jax.errors import BadFile
from amr_jax.data.readers import pickles
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29,) * 2)
try:
    pickles.load(sys.stdin.buffer.read(), "bomb.pkl")
except BadFile as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (  # an array that claims 10⁹ elements and holds one
            pickle.dumps(np.zeros(1), protocol=2).replace(
                b"K\x01\x85", b"J\x00\xca\x9a\x3b\x85", 1
            ),
            "a damaged pickle|claims",
        ),
        (
            pickle.dumps(np.zeros(7), protocol=4).replace(b"K\x07\x85", b"J\x00\xca\x9a\x3b\x85"),
            r"claims \(1000000000,\) elements of float64, 8000000000 bytes, and has 56",
        ),
        (  # missing bytes
            b"\x80\x04\x8e" + (10**12).to_bytes(8, "little") + b"abc.",
            "a damaged pickle",
        ),
        (b"\x80\x05\x96" + (10**12).to_bytes(8, "little") + b"abc.", "a damaged pickle"),
        # An empty array with an axis that overflows.
        (
            pickle.dumps(np.zeros((0, 9)), protocol=4).replace(
                b"K\x09", b"\x8a\x0a" + b"\xff" * 9 + b"\x00"
            ),
            "a damaged pickle",
        ),
        # An index of the memo for which the standard reader allocates gigabytes.
        (b"\x80\x02K\x01r\xff\xff\xff\x7f.", ""),
    ],
)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_claims_are_refused_in_bounded_memory(data, message):
    done = subprocess.run(
        [sys.executable, "-c", LARGE], input=data, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert re.search(message, done.stdout.decode())


def test_too_many_instructions(monkeypatch):
    monkeypatch.setattr(pickles, "MAX_INSTRUCTIONS", 100)
    assert pickles.load(pickle.dumps([1] * 10), "x") == [1] * 10
    assert "more than 100 instructions" in refused(pickle.dumps(list(range(100))))
    # A larger file may have more, in proportion to its size.
    large = [*range(100), bytes(16 * 120)]
    assert pickles.load(pickle.dumps(large), "x") == large


def test_many_copies_of_one_text():
    """Without a limit, fifty calls would take fifty times the memory of the file."""
    text = b"\x80\x02X\x10'\x00\x00" + b"x" * 10_000 + b"q\x01"
    call = b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86R"
    assert pickles.load(text + call + b"\x86.", "x")[1] == b"x" * 10_000
    assert "arrays larger than the file" in refused(text + 50 * call + b".")


def test_deep_nesting():
    depth = 200_000
    nested = b"\x80\x02)" + b"\x85" * depth
    pickles.load(nested + b".", "x")
    assert "key" in refused(b"\x80\x02}" + nested[2:] + b"K\x01s.")


@protocols
def test_truncated_anywhere(protocol):
    data = pickle.dumps({"a": [ARRAYS["float16"], (1, 2.5)], "b": "text"}, protocol=protocol)
    for length in range(0, len(data), 7):
        assert "a damaged pickle" in refused(data[:length])


def test_damaged_bytes_are_refused_or_harmless():
    data = bytearray(pickle.dumps({"a": [np.arange(5.0), (1, 2.5)], "b": "text"}, protocol=4))
    for place in range(len(data)):
        for value in (0, 0x29, 0x52, 0x62, 0xFF):
            damaged = bytes(data[:place]) + bytes([value]) + bytes(data[place + 1 :])
            try:
                pickles.load(damaged, "x")
            except BadFile:
                continue


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02X\x03\x00\x00\x00\xed\xa0\x80.",
        pickle.dumps(np.str_("ab"), protocol=4).replace(b"b\x00\x00\x00", b"\x00\xd8\x00\x00"),
    ],
)
def test_half_a_surrogate_pair(data):
    with pytest.raises(BadFile, match="a damaged pickle"):
        pickles.load(data, "x")


def test_python_2():
    """Written by Python 2.7 and NumPy 1: one type for texts and bytes."""
    array = np.array([1.5, -2, 0], "<f4")
    data = (
        b"\x80\x02}q\x01(U\x05splitq\x02}q\x03T\x05\x00\x00\x00trainq\x04]q\x05(U\x01aq\x06"
        b"U\x03\xe5\x8a\xa8q\x07esU\x01xq\x16cnumpy.core.multiarray\n_reconstruct\nq\x08cnumpy\n"
        b"ndarray\nq\x09K\x00\x85q\x0aU\x01bq\x0b\x87q\x0cRq\x0d(K\x01K\x03\x85q\x0ecnumpy\ndtype\n"
        b"q\x0fU\x02f4q\x10K\x00K\x01\x87q\x11Rq\x12(K\x03U\x01<q\x13NNNJ\xff\xff\xff\xffJ\xff\xff\xff"
        b"\xffK\x00tq\x14b\x89U\x0c" + array.tobytes() + b"q\x15tq\x16bu."
    )
    assert pickle.loads(data, encoding="latin1")["x"].tolist() == array.tolist()
    content = pickles.load(data, "x")
    assert content["split"] == {"train": ["a", "动"]}
    np.testing.assert_array_equal(content["x"], array)


@protocols
def test_nested_arrays_of_objects_are_refused(protocol):
    """The end of deeply nested ones would crash the process."""
    nested = np.array([["a"]], object)
    nested[0, 0] = np.array(["a"], object)
    assert "objects that are no texts" in refused(pickle.dumps(nested, protocol=protocol))
