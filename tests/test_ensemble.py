"""Ensembles of scores: by hand, matched by name, and wrong arguments."""

import json

import numpy as np
import pytest

from amr_jax.__main__ import main as amr_jax_command
from amr_jax.errors import BadFile, UserError
from amr_jax.evaluation import ensembles, score_file
from tests.refusals import refused

NAMES = np.array(["a", "b", "c"])
LABELS = np.array([0, 1, 1], np.int32)
# Probabilities of two classes.
ONE = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1]])
TWO = np.array([[0.55, 0.45], [0.8, 0.2], [0.2, 0.8]])


def made(folder, probabilities, order=(0, 1, 2), labels=LABELS, names=NAMES, classes=("x", "y")):
    """A workdir with scores, rows in `order`; logits are log-probabilities, moved."""
    order = list(order)
    folder.mkdir()
    logits = np.log(probabilities[order]).astype(np.float32) + 3
    score_file.write(
        folder,
        score_file.Scores(names[order], labels[order], classes, {"pretrained": logits}),
    )
    return folder


def test_probabilities_are_summed_by_name_with_weights(tmp_path):
    one, two = made(tmp_path / "one", ONE), made(tmp_path / "two", TWO, order=(2, 0, 1))
    results = ensembles.run([one, two], [1.0, 1.0], tmp_path / "out")
    # The label's class against the other: a 1.15 > 0.85; b 0.9 < 1.1; c 0.9 < 1.1.
    assert results["encoders"]["pretrained"]["top1"] == pytest.approx(1 / 3)
    assert [m["encoders"]["pretrained"]["top1"] for m in results["members"]] == pytest.approx(
        [2 / 3, 2 / 3]
    )
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    # The second twice: a 1.7 > 1.3; b 1.1 < 1.9; c 1.7 > 1.3.
    results = ensembles.run([one, two], [1.0, 2.0], tmp_path / "out")
    assert results["encoders"]["pretrained"]["top1"] == pytest.approx(2 / 3)


def test_weighted_mean_of_softmax():
    found = ensembles.mean_softmax([np.log(ONE) + 5, np.log(TWO)], [1.0, 3.0])
    np.testing.assert_allclose(found, (ONE + 3 * TWO) / 4)
    np.testing.assert_allclose(
        ensembles.mean_softmax([np.array([[1000.0, 0]])] * 2, [1, 1]), [[1, 0]]
    )


def test_what_does_not_match_is_named(tmp_path):
    one = made(tmp_path / "one", ONE)
    others = {
        r"/fewer/scores\.npz: found 2 sequences, without c; expected the 3": made(
            tmp_path / "fewer", TWO, order=(0, 1)
        ),
        r"/labels/scores\.npz: b has label 0; expected 1.*\(1 labels differ\)": made(
            tmp_path / "labels", TWO, labels=np.array([0, 0, 1])
        ),
        r"/names/scores\.npz: found 3 sequences, without a": made(
            tmp_path / "names", TWO, names=np.array(["d", "b", "c"])
        ),
        r"/classes/scores\.npz: found the classes x, z; expected.*x, y": made(
            tmp_path / "classes", TWO, classes=("x", "z")
        ),
        r"/absent/scores\.npz: not found.*linear, finetune": tmp_path / "absent",
    }
    for message, other in others.items():
        with pytest.raises(UserError, match=message):
            ensembles.run([one, other], [1, 1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("count", "weights", "message"),
    [
        (1, [1.0], "expected at least two"),
        (2, [1.0], "found 1; expected 2"),
        (2, [1.0, -1.0], "expected 0 or more"),
        (2, [0.0, 0.0], "not all 0"),
        (2, [float("nan"), 1.0], "expected 0 or more"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, count, weights, message):
    members = [made(tmp_path / str(i), ONE) for i in range(count)]
    with pytest.raises(UserError, match=message):
        ensembles.run(members, weights, tmp_path / "out")


def test_a_members_folder_is_not_written_to(tmp_path):
    members = [made(tmp_path / str(i), ONE) for i in range(2)]
    with pytest.raises(UserError, match="is a member; expected another"):
        ensembles.run(members, [1, 1], members[1])


def test_a_file_of_another_kind(tmp_path):
    one = made(tmp_path / "one", ONE)
    for content in (b"PK not really", b"text"):
        (one / score_file.FILE).write_bytes(content)
        with pytest.raises(BadFile, match=r"one/scores\.npz: found a damaged file"):
            score_file.read(one)
    whole = {"names": NAMES, "labels": LABELS, "class_names": ["x", "y"], "p": ONE.astype("f4")}
    np.savez(one / score_file.FILE, **whole)
    content = (one / score_file.FILE).read_bytes()
    assert score_file.read(one).labels.tolist() == LABELS.tolist()
    for place, value, message in (
        (content.rindex(b"PK\x01\x02") + 6, 255, "damaged file .zip file version"),
        (content.rindex(b"PK\x01\x02") + 10, 99, "compression method"),
        (content.index(b"a\0\0\0b"), ord("c"), "CRC"),
    ):
        damaged = content[:place] + bytes([value]) + content[place + 1 :]
        (one / score_file.FILE).write_bytes(damaged)
        with pytest.raises(BadFile, match=message):
            score_file.read(one)
    for changes, message in (
        ({"names": ["a", "a", "b"]}, "names that occur twice"),
        ({"names": [1, 2, 3]}, r"names of shape \(3,\), dtype int64; expected one axis of strings"),
        ({"class_names": "x"}, r"class_names of shape \(\)"),
        ({"labels": LABELS[:2]}, r"labels of shape \(2,\).*expected 3 of dtype int32"),
        ({"labels": LABELS - 1}, "labels from -1 to 0; expected 0 to 1"),
        ({"p": ONE}, r"p of shape \(3, 2\), dtype float64 for 3 names"),
        ({"p": whole["p"] * np.nan}, "p with numbers that are not finite"),
    ):
        np.savez(one / score_file.FILE, **whole | changes)
        with pytest.raises(BadFile, match=message):
            score_file.read(one)
    np.savez(one / score_file.FILE, features=ONE)
    with pytest.raises(BadFile, match="found the arrays features; expected arrays names"):
        score_file.read(one)
    np.savez(
        one / score_file.FILE, names=NAMES, labels=LABELS, class_names=list("xyz"), pretrained=ONE
    )
    with pytest.raises(BadFile, match=r"pretrained of shape \(3, 2\).* for 3 names and 3 classes"):
        score_file.read(one)


def main(*arguments):
    amr_jax_command(["ensemble", *map(str, arguments)])


def test_command(tmp_path, capsys):
    members = [made(tmp_path / str(i), p) for i, p in enumerate((ONE, TWO))]
    main(*members, f"--workdir={tmp_path / 'out'}")
    assert "pretrained: ensemble" in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [member["weight"] for member in results["members"]] == [1.0, 1.0]
    main(*members, "--weights=1,2", f"--workdir={tmp_path / 'out'}")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [member["weight"] for member in results["members"]] == [1.0, 2.0]
    capsys.readouterr()
    for wrong, message in ((["--weights=1,x"], "--weights=1,x: expected numbers"), ([], "missing")):
        given = wrong and [f"--workdir={tmp_path / 'out'}"]
        assert message in refused(capsys, main, *members, *wrong, *given)
