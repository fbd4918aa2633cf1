"""The command predict: raw files get the outputs that evaluation gives their records."""

import functools
import json
import zipfile

import jax
import numpy as np
import pytest

from amr_jax import predict, prepare
from amr_jax.__main__ import main as amr_jax_command
from amr_jax.data import datasets, records, split
from amr_jax.errors import BadFile, UserError
from amr_jax.evaluation import features
from amr_jax.inference import apply, model_file, read_inputs, windows
from amr_jax.inference.predict import outputs
from amr_jax.inference.read_file import Sequence
from amr_jax.ops import augment
from amr_jax.pictures import timeline
from amr_jax.run import sharding
from tests import raw_sets, tiny_models
from tests.refusals import refused


def call(*arguments):
    amr_jax_command(["predict", *map(str, arguments)])


@pytest.fixture(scope="module")
def model():
    return tiny_models.make()


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    """A workdir with a model in it."""
    folder = tmp_path_factory.mktemp("evaluation")
    model_file.write(folder / model_file.NAME, model)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Twenty files of different lengths, of one body or two."""
    folder = tmp_path_factory.mktemp("clips")
    paths = [folder / f"{i:02}.npy" for i in range(20)]
    for i, path in enumerate(paths):
        np.save(path, tiny_models.joints(i, 1 + i, bodies=1 + i % 2))
    return paths


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_table_and_json_lines(model, checkpoint, clips, tmp_path, capsys):
    call(f"--checkpoint={checkpoint}", f"--json={tmp_path}/out.jsonl", *clips)
    rows = lines(tmp_path / "out.jsonl")
    assert [row["file"] for row in rows] == [str(path) for path in clips]
    assert [row["frames"] for row in rows] == list(range(1, 21))
    assert [row["used_frames"] for row in rows] == [min(n, 12) for n in range(1, 21)]
    assert [row["bodies"] for row in rows] == [1, 2] * 10

    table = capsys.readouterr().out.splitlines()
    assert f"{clips[19]}  (the first 12 of 20 frames, 2 bodies)" in table
    joints, length = tiny_models.padded(model, [np.load(clips[0])])
    (logits,) = np.float64(apply.logits(model, model.variables, joints, length))
    shares = np.exp(logits) / np.exp(logits).sum()
    best = np.argsort(-shares)
    assert [one["label"] for one in rows[0]["top"]] == list(best)
    assert [one["class"] for one in rows[0]["top"]] == [model.class_names[i] for i in best]
    np.testing.assert_allclose([one["probability"] for one in rows[0]["top"]], shares[best], 1e-4)
    assert table[1] == f"  {100 * shares[best[0]]:5.1f} %  {model.class_names[best[0]]}"

    call(f"--checkpoint={checkpoint}/model.safetensors", "--json=-", *clips[:1])
    (line,) = capsys.readouterr().out.splitlines()  # nothing else there
    assert json.loads(line) == rows[0]


def test_a_result_has_the_same_bits_in_any_batch(model, clips):
    everything = [Sequence(str(path), np.load(path)) for path in clips]

    def by_name(chosen):
        return {result.name: result.output for result in outputs(model, apply.logits, chosen)}

    together = by_name(everything)
    rotated = everything[3:] + everything[:3]
    for chosen in (everything[:1], everything[7:8], everything[::-1], rotated):
        for name, output in by_name(chosen).items():
            np.testing.assert_array_equal(output, together[name])


def test_no_more_than_a_batch_is_read_ahead(model):
    read = []

    def endless():
        while True:
            read.append(str(len(read)))
            yield Sequence(read[-1], tiny_models.joints(0, 3))

    results = outputs(model, apply.features, endless())
    for i in range(40):
        assert next(results).name == str(i)
        assert len(read) == 16 * (i // 16 + 1)


def test_embeddings(model, checkpoint, clips, tmp_path, capsys):
    call(f"--checkpoint={checkpoint}", f"--embeddings={tmp_path}/out.npz", *clips)
    assert capsys.readouterr().out.endswith("out.npz: 20 sequences × 8 features\n")
    with np.load(tmp_path / "out.npz") as arrays:
        assert list(arrays["names"]) == [str(path) for path in clips]
        found = arrays["features"]
    joints, length = tiny_models.padded(model, [np.load(path)[:12] for path in clips])
    expected = apply.features(model, model.variables, joints, length)
    np.testing.assert_allclose(found, expected, atol=1e-5)

    there, out = f"--checkpoint={checkpoint}", f"--embeddings={tmp_path}/out.npz"
    call(there, out, "--readout=joint_deviation", *clips)
    assert "20 sequences × 320 features (joint_deviation)\n" in capsys.readouterr().out
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["readout"] == "joint_deviation"
        by_joint = arrays["features"].reshape(20, 2, 20, 8)  # mean and deviation, joint, width
    np.testing.assert_allclose(by_joint[:, 0].mean(axis=1), found, atol=1e-5)
    assert (by_joint[:, 1] >= 0).all()
    assert by_joint[:, 1].max() > 0.01


def test_bad_files_end_the_command_or_are_skipped(checkpoint, clips, tmp_path, capsys):
    (tmp_path / "bad.npy").write_bytes(b"bad")
    np.save(tmp_path / "far.npy", np.full((3, 1, 20, 3), 3e38) * [[[[1], [-1]] * 10]])
    files = [clips[0], tmp_path / "bad.npy", clips[1], tmp_path / "far.npy"]
    with pytest.raises(SystemExit) as ended:
        call(f"--checkpoint={checkpoint}", *files)
    captured = capsys.readouterr()
    assert ended.value.code == 2
    *notes, error = captured.err.splitlines()
    assert error.startswith(f"error: {tmp_path}/bad.npy: found no header")
    assert [note.partition(" lie ")[0] for note in notes] == [
        f"note: {tmp_path}/far.npy: joints"  # it was read when the batch was not yet full
    ]
    assert str(clips[0]) in captured.out  # what came before it is told

    call(f"--checkpoint={checkpoint}", "--on_bad_file=skip", f"--json={tmp_path}/out", *files)
    note, *said = capsys.readouterr().err.splitlines()
    assert note.startswith(f"note: {tmp_path}/far.npy: joints lie 5.2e+38 from a body's middle")
    assert said[0].startswith(f"skipped: {tmp_path}/bad.npy: found no header")
    assert (
        "far.npy: found coordinates up to 3e+38, for which the model's output is not finite"
        in said[1]
    )
    assert said[2:] == ["note: 2 skipped, see above."]
    rows = lines(tmp_path / "out")
    assert [row["file"] for row in rows] == [str(path) for path in files]
    assert ["error" in row for row in rows] == [False, True, False, True]

    skip = "--on_bad_file=skip"
    call(f"--checkpoint={checkpoint}", skip, f"--embeddings={tmp_path}/out.npz", *files)
    with np.load(tmp_path / "out.npz") as arrays:
        assert list(arrays["names"]) == [str(clips[0]), str(clips[1])]


def test_labels_over_time(model, checkpoint, tmp_path, capsys):
    """Each window has the label of its frames as a file of their own; nobody has none."""
    joints = tiny_models.joints(3, 25)
    joints[12:20] = 0
    np.save(tmp_path / "long.npy", joints)
    how = (
        "--window=8",
        "--stride=4",
        "--fps=4",
        f"--json={tmp_path}/out",
        f"--draw={tmp_path}/a.svg",
    )
    call(f"--checkpoint={checkpoint}", *how, tmp_path / "long.npy")
    rows = lines(tmp_path / "out")
    spans = [(0, 8), (4, 12), (8, 16), (16, 24), (17, 25)]  # without (12, 20)
    assert [(row["start"], row["end"]) for row in rows] == spans
    assert [(row["start_s"], row["end_s"]) for row in rows] == [(a / 4, b / 4) for a, b in spans]
    for start, end in spans:
        np.save(tmp_path / f"{start}.npy", joints[start:end])
    call(
        f"--checkpoint={checkpoint}",
        f"--json={tmp_path}/each",
        *(tmp_path / f"{a}.npy" for a, _ in spans),
    )
    assert [row["top"] for row in lines(tmp_path / "each")] == [row["top"] for row in rows]
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{tmp_path}/long.npy"
    assert told[1].split()[:4] == ["0-7", "0.00", "to", "2.00"]
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    call(
        f"--checkpoint={checkpoint}",
        "--window=8",
        f"--embeddings={tmp_path}/e.npz",
        tmp_path / "long.npy",
    )
    assert np.load(tmp_path / "e.npz")["names"][0] == f"{tmp_path}/long.npy[0-8]"


def test_files_of_one_name_are_drawn_each(tmp_path, capsys):
    row = {"start": 0, "end": 4, "class": "wave", "probability": 0.5}
    rows = {name: [row] for name in ("a/clip.npy", "b/clip.npy", "b/other.npy")}
    predict._draw(rows, windows.Windows(4, 2), str(tmp_path / "a.png"))
    assert "a.png: 3 windows of 4 frames" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"a/clip\.npy: found no window"):
        timeline.timeline({"a/clip.npy": []}, "s")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("d/t.csv[s1/x]", "t.csv[s1/x]"),
        ("/a[1]/t.csv[s]", "t.csv[s]"),
        ("/a[1]/t [2].json", "t [2].json"),
        ("a.zip!b/t.npy", "t.npy"),
    ],
)
def test_names_of_sequences_are_whole_without_folders(file, name):
    assert predict._short(file) == name


def test_the_command_refuses(checkpoint, clips, tmp_path, capsys):
    encoder = tmp_path / "encoder.safetensors"
    model_file.write(encoder, tiny_models.make(head=None))
    knn = tmp_path / "knn"
    knn.mkdir()
    (knn / "config.json").write_text('{"protocol": "knn"}')
    there, clip = f"--checkpoint={checkpoint}", clips[0]
    for arguments, message in (
        ((clip,), "--checkpoint is missing: workdir"),
        ((there,), "give at least one file"),
        ((there, "--json=a", "--embeddings=b", clip), "give only one"),
        ((there, "--readout=joint", clip), "--readout=joint: expected --embeddings=OUT.npz"),
        ((there, "--embeddings=b", "--readout=max", clip), "'joint_deviation'"),
        ((there, "--stride=4", clip), "--stride is for --window"),
        (
            (there, "--window=4", "--draw=a.gif", clip),
            "--draw=a.gif: expected predictions, and .png",
        ),
        ((there, "--window=13", clip), "--window=13 is 13 frames; expected at most 12"),
        ((there, "--step=3", clip), "only a pre-training run has steps"),
        ((there, f"--json={tmp_path}/no/out", clip), "no/out: cannot be written (No such file"),
        ((there, f"--embeddings={tmp_path}/no/out", clip), "no/out: could not be written"),
        ((f"--checkpoint={tmp_path}/absent", clip), "absent: found No such file"),
        ((f"--checkpoint={tmp_path}", clip), "config.json: not found"),
        ((f"--checkpoint={knn}", clip), "an evaluation by 'knn' without model.safetensors"),
        ((f"--checkpoint={encoder}", clip), "an encoder without a classifier: give --embeddings"),
    ):
        assert message in refused(capsys, call, *arguments), arguments
    call(f"--checkpoint={encoder}", f"--embeddings={tmp_path}/out.npz", clip)


@pytest.mark.parametrize("flag", ["--json", "--embeddings"])
def test_an_output_that_is_an_input_is_refused(flag, model, clips, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    clip, archive, model_path = tmp_path / "a.npy", tmp_path / "a.zip", tmp_path / "m.safetensors"
    clip.write_bytes(clips[0].read_bytes())
    (tmp_path / "link.npy").symlink_to(clip)
    (tmp_path / "hard.npy").hardlink_to(clip)
    with zipfile.ZipFile(archive, "w") as file:
        file.write(clip, "m.npy")
    model_file.write(model_path, model)
    raw_sets.write_pku(tmp_path, videos=("0002-L",))
    video, label = tmp_path / "skeleton/0002-L.txt", tmp_path / "label/0002-L.txt"
    for output, *given in (
        ("a.npy", clip),
        (f"../{tmp_path.name}/a.npy", clips[1], clip),
        ("a.npy", "link.npy"),
        ("link.npy", clip),
        ("hard.npy", clip),
        (archive, "a.zip!m.npy"),
        (video, video),
        (label, "--labels=label", video),
        (label, f"--labels={label}", video),
        (model_path, clip),
    ):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(SystemExit) as ended:
            call(f"--checkpoint={model_path}", f"{flag}={output}", *given)
        assert ended.value.code == 2, output
        error = f"error: {flag}={output}: is one of the input files; nothing was changed."
        assert capsys.readouterr().err.startswith(error)
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before
    call(f"--checkpoint={model_path}", f"{flag}=out.npz", clip)


def as_evaluated(model, data_dir, dataset):
    """Name -> logits, as an evaluation computes them of the records: packed, over eight devices."""
    row, mesh = datasets.get(dataset), sharding.make_mesh()
    splits = [
        records.Records(data_dir, row.records, name, model.input.centre, model.input.max_frames)
        for name in ("train", "test")
    ]
    view = functools.partial(
        augment.test_view,
        num_frames=tiny_models.FRAMES,
        fraction=model.input.test_fraction,
        stream="joint",
        parents=(),
    )
    variables = model.variables
    head = {kind: trees["head"] for kind, trees in variables.items()}
    logits = {}
    for source in splits:
        on_devices = split.place(split.read(source, mesh), mesh)
        pooled = features.extract(
            model.encoder,
            sharding.put(variables["params"]["encoder"], sharding.replicated(mesh)),
            on_devices,
            lambda key, clip, length: view(clip, length),
            jax.random.key(0),
            readout="mean",
            batch_size=8,
            bodies="packed",
        )
        rows = model.head.apply(head, np.asarray(pooled))
        logits |= dict(zip(on_devices.host.names, np.asarray(rows), strict=True))
    return logits


def check_raw_files_get_the_outputs_of_their_records(model, paths, data_dir, dataset):
    found = read_inputs.read([str(path) for path in paths], model, read_inputs.Options())
    results = list(outputs(model, apply.logits, found))
    expected = as_evaluated(model, data_dir, dataset)
    assert len(results) == len(expected) > 0
    for result in results:
        assert not isinstance(result, BadFile), result
        name = result.name.rsplit("/")[-1].split(".")[0]
        np.testing.assert_allclose(result.output, expected[name], atol=1e-4)
    assert np.ptp(list(expected.values()), axis=0).min() > 1e-2  # the sequences do differ


def test_synthetic_files_get_the_outputs_of_their_records(raw_ntu, tiny_ntu):
    model = tiny_models.make(layout=datasets.get("synthetic").layout, max_frames=90)
    paths = sorted(raw_ntu.glob("*.skeleton"))
    check_raw_files_get_the_outputs_of_their_records(model, paths, tiny_ntu, "synthetic")


def test_real_files_get_the_outputs_of_their_records(shared_data, tmp_path):
    archive = tmp_path / "some.zip"
    with (
        zipfile.ZipFile(shared_data / "nw_ucla_all_sqe.zip") as everything,
        zipfile.ZipFile(archive, "w") as some,
    ):
        names = [name for name in everything.namelist() if name.endswith(".json")][::70]
        for name in names:
            some.writestr(name, everything.read(name))
    prepare.prepare("nw_ucla", tmp_path, tmp_path / "data", num_workers=1)
    model = tiny_models.make(num_bodies=1, max_frames=201)
    paths = [f"{archive}!{name}" for name in names]
    check_raw_files_get_the_outputs_of_their_records(model, paths, tmp_path / "data", "nwucla")
