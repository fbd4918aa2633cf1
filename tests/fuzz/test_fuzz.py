"""Some hundred mutants of every format (`campaign` reads ten thousand), and tests of the judge."""

import dataclasses
import json
import time

import numpy as np
import pytest

from amr_jax.errors import BadFile
from tests.fuzz import campaign, formats, judge, mutations, structured
from tests.fuzz.campaign import FORMATS

MUTANTS = {"model": 25, "weights": 60}  # slow formats; the others: 150


@pytest.mark.parametrize("name", FORMATS)
def test_every_mutant_is_refused_by_name_or_read_but_for_its_damage(name, tmp_path):
    judging = judge.Judge(FORMATS[name], 2, tmp_path)
    for number in range(MUTANTS.get(name, 150)):
        judging.try_one(number)
    assert judging.tally.refused > 0
    assert judging.tally.read > 0


@pytest.mark.parametrize("name", [name for name, of in FORMATS.items() if of.spans])
def test_every_value_has_a_place(name, tmp_path):
    judging = judge.Judge(FORMATS[name], 0, tmp_path)
    for data, spans, values in zip(judging.originals, judging.spans, judging.expected, strict=True):
        assert not spans or len(spans) == len(values)
        assert all(-1 <= start < end <= len(data) + 1 for start, end in spans)


def test_a_mutant_is_made_of_seed_and_number_alone(tmp_path):
    one, same, other = (judge.Judge(FORMATS["ntu"], seed, tmp_path) for seed in (0, 0, 1))
    mutants = [one.mutant(number) for number in range(50)]
    assert [same.mutant(number) for number in reversed(range(50))] == mutants[::-1]
    assert all(other.mutant(number) != mutants[number] for number in range(50))
    assert all(m.data not in (one.originals[m.first], one.originals[m.last]) for m in mutants)


def test_what_is_kept_of_an_original():
    original = [b"abcdef"]

    def kept(data):
        return mutations.kept(mutations.Mutant(data, 0, 0, "rest", ""), original)

    assert kept(b"abXef") == (2, 2)
    assert kept(b"abcabcdef") == (3, 3)  # not 6: a byte of the original counts once
    assert kept(b"abc") == (3, 0)
    assert kept(b"X") == (0, 0)


NUMBERS = [json.dumps({"numbers": list(range(10, 40))}).encode(), b'{"numbers": [70, 80, 90]}']


def read_numbers(path) -> list:
    """A faultless reader of a simple format."""
    try:
        content = structured.json_pairs(path.read_bytes())
        (values,) = [value for key, value in content if key == "numbers"]
        assert all(type(value) is int for value in values)
    except Exception as error:
        raise BadFile(path, "no numbers", "numbers") from error
    return values


def judged(read, folder, mutants=400):
    fuzzed = formats.Format(
        "n.json",
        lambda: NUMBERS,
        read,
        lambda data: [(a - 1, b + 1) for a, b in formats.places(rb"\d+", data)],
        structured.JSON,
        is_text=True,
    )
    judging = judge.Judge(fuzzed, 0, folder)
    for number in range(mutants):
        judging.try_one(number)
    return judging.tally


def test_a_reader_without_fault_passes(tmp_path):
    tally = judged(read_numbers, tmp_path)
    assert tally.read > 50
    assert tally.refused > 50


def faulty(name, path):
    """The same reader with a fault; it reads valid files correctly."""
    try:
        values = read_numbers(path)
    except BadFile as error:
        if name == "another exception":
            raise KeyError("numbers") from error
        if name == "no name":
            raise BadFile("a file", "no numbers", "numbers") from error
        if name == "long error":
            raise BadFile(path, "no numbers", "numbers", hint="x" * 5000) from error
        if name == "memory":
            raise BadFile(path, "no numbers", "numbers") from MemoryError()
        if name == "endless":
            while True:
                time.process_time()
        raise
    if json.dumps({"numbers": values}).encode() in NUMBERS:
        return values
    return {
        "loses the last": values[:-1],
        "reads one twice": values[:1] + values,
        "sorts": sorted(values, reverse=True),
        "doubles": [2 * value for value in values],
        "gives nothing": [],
    }.get(name, values)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("another exception", "KeyError: 'numbers'"),
        ("no name", "without the file's name"),
        ("long error", "an error of 5,"),
        ("memory", "out of memory on the way"),
        ("endless", "s of processor time"),
        ("loses the last", "have changed|stand outside|the same"),
        ("reads one twice", "have changed|the same"),
        ("sorts", "have changed|the same"),
        ("doubles", "have changed|the same"),
        ("gives nothing", "stand outside|the same"),
    ],
)
def test_faults_are_found(name, message, tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "SECONDS", 0.05)
    with pytest.raises(judge.Fault, match=message):
        judged(lambda path: faulty(name, path), tmp_path)


def test_unsound_data_are_found(tmp_path):
    def unsound(path):
        raise AssertionError("not finite")

    judging = judge.Judge(FORMATS["npy"], 0, tmp_path)
    original = judging.originals[0]
    assert np.array_equal(judging.expected[0], np.frombuffer(original[128:], np.uint8))
    judging.format = dataclasses.replace(judging.format, read=unsound)
    with pytest.raises(judge.Fault, match="unsound data: not finite"):
        judging.try_one(0)


def test_a_fault_is_printed_with_the_options_that_reproduce_it(monkeypatch, capsys, tmp_path):
    def fault(path):
        if path.read_bytes() not in originals:
            raise KeyError("x")
        return read(path)

    read, originals = FORMATS["npy"].read, FORMATS["npy"].originals()
    faulty = dataclasses.replace(FORMATS["npy"], read=fault)
    monkeypatch.setitem(campaign.FORMATS, "npy", faulty)
    monkeypatch.setattr(campaign, "_bound_memory", lambda: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["campaign.py", "--format", "npy", "--seed=3", "--only=17"])
    assert campaign.main() == 1
    again = f"  --format=npy --seed=3 --only=17, left in {tmp_path}/"
    assert f"FAULT npy: KeyError: 'x'\n{again}" in capsys.readouterr().out
    (left,) = tmp_path.glob("mutant_npy_3_17_*.npy")
    assert left.read_bytes() == judge.Judge(faulty, 3, tmp_path).mutant(17).data
