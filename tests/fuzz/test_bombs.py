"""Small files that would fill the memory are refused in bounded memory.

The tests of the readers of pickles, NumPy files and models contain further ones.
"""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

MEMORY = 300 * 2**20  # bytes beyond what the process has before it reads
MEMBER = 30 * 2**20  # bytes that a member of an archive unpacks to; half of what would be read

# Reads every file named on its standard input and prints the error; address space is limited.
READ = f"""
import json, resource, sys
from pathlib import Path
from amr_jax.errors import BadFile
from amr_jax.data.readers import arrays, files, labels, layout_file, ntu, nw_ucla, pku, pyskl
from amr_jax.evaluation import score_file
from amr_jax.inference.pytorch import files as weights
from amr_jax.inference.pytorch import mamp
READERS = {{
    ".skeleton": ntu.read_joints, ".txt": pku.read_video, ".json": nw_ucla.read_joints,
    ".npy": arrays.read, ".npz": arrays.read, ".pkl": pyskl.load,
    ".csv": labels.read_labels,
}}
SPECIAL = {{
    "own.npz": lambda raw: arrays.read_example(raw, "own", arrays.Form(17, "xyz")),
    "weights.npz": lambda raw: weights.read(raw.container, mamp.ANCHOR),
    "scores.npz": lambda raw: score_file.read(Path(raw.container).parent),
    "layout.json": lambda raw: layout_file.read(raw.container),
}}
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + {MEMORY},) * 2)
for container, member in json.load(sys.stdin):
    raw = files.RawFile(container, member)
    read = SPECIAL.get(raw.name, READERS[Path(raw.name).suffix])
    try:
        print(json.dumps(str(read(raw))[:100]))
    except BadFile as error:
        print(json.dumps(str(error)))
"""


def repeated(text: bytes, head: bytes = b"") -> bytes:
    return head + text * ((MEMBER - len(head)) // len(text))


TEXTS = {
    "S1.skeleton": (b"1000000000\n", "the file's end; expected the number of bodies in frame 1"),
    "S2.skeleton": (repeated(b"0\n", b"1000000000\n"), "lines; expected at most 1,048,576"),
    "S3.skeleton": (repeated(b"0 " * 2000 + b"\n", b"1\n"), "2000 values in '0 0 "),
    "S4.skeleton": (repeated(b"00 ", b"1\n"), "a line of 31,457"),
    "S5.skeleton": (b"1\n1000000000\n", "the file's end; expected 10 values of body 1"),
    "S6.skeleton": (repeated(b"\n"), "the file's end; expected the number of frames"),
    "1.txt": (repeated(b"00 "), "a line of 31,457"),
    "2.txt": (repeated(b"0\n"), "lines; expected at most 1,048,576"),
    "1.json": (repeated(b"[],", b"["), "more than 16,777,216 bytes|at most 16,777,216"),
    "2.json": (b'{"skeletons": ' + 2_000_000 * b"[[[[" + b"}", "no JSON that can be read"),
    "3.json": (b"[],".join([b'{"skeletons": [', *300_000 * [b""]]) + b"1]}", "skeletons"),
    "labels.csv": (repeated(b"a,b\n"), "at most 16,777,216"),
}


@pytest.fixture(scope="module")
def bombs(tmp_path_factory) -> dict[tuple[str, str | None], str]:
    """(file, member or None) -> part of the error."""
    folder = tmp_path_factory.mktemp("bombs")
    made: dict[tuple[str, str | None], str] = {}
    archive = folder / "texts.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, (content, message) in TEXTS.items():
            file.writestr(name, content)
            made[str(archive), name] = message
    for name in ("own.npz", "weights.npz", "scores.npz", "clip.npz"):
        for kind, message in (("claims", "as its header claims"), ("packed", "bytes")):
            path = folder / kind / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(CLAIMING if kind == "claims" else PACKED)
            made[str(path), None] = message
    path = folder / "layout.json"
    path.write_bytes(b" " * 2**21)
    made[str(path), None] = "more than 1,048,576 bytes"
    return made


def _npz(length: int, numbers: int) -> bytes:
    """A compressed `.npz` of arrays that claim `length` frames and hold `numbers` bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        header = io.BytesIO()
        about = {"descr": "<f4", "fortran_order": False, "shape": (length, 1, 17, 3)}
        np.lib.format.write_array_header_1_0(header, about)
        for name in ("joints", "names", "labels", "class_names"):
            with archive.open(f"{name}.npy", "w") as member:
                member.write(header.getvalue())
                for _ in range(numbers // 2**20):
                    member.write(bytes(2**20))
    return buffer.getvalue()


CLAIMING = _npz(10**9, 2**20)
PACKED = _npz(1_600_000, 311 * 2**20)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_bombs_are_refused_in_bounded_memory(bombs):
    done = subprocess.run(
        [sys.executable, "-c", READ],
        input=json.dumps(list(bombs)),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [
        (place, text)
        for (place, message), text in zip(bombs.items(), said, strict=True)
        if "found" not in text or not any(part in text for part in message.split("|"))
    ]
    assert wrong == []
