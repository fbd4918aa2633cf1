"""One sample in several places, and samples in a list of missing skeletons: never in silence."""

import gzip
import json
import zipfile

import pytest
import tensorflow_datasets as tfds

import tfds_builders  # noqa: F401 - registers the builders
from amr_jax import prepare
from amr_jax.data.build import custom
from amr_jax.data.readers import files, ntu_missing
from amr_jax.errors import BadFile
from tests import custom_sets, raw_sets

A, B = "S001C001P001R001A001", "S001C002P003R001A002"
TEXT = {A: raw_sets.skeleton_text(raw_sets.body(0)), B: raw_sets.skeleton_text(raw_sets.body(1))}
OTHER = raw_sets.skeleton_text(raw_sets.body(2))


def put(root, contents: dict[str, str | bytes]):
    """Writes files; `x.zip!y` is a member of an archive, `x.gz` is compressed."""
    members: dict[str, dict] = {}
    for name, content in contents.items():
        data = content if isinstance(content, bytes) else content.encode()
        if "!" in name:
            archive, member = name.split("!", 1)
            members.setdefault(archive, {})[member] = data
            continue
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data) if name.lower().endswith(".gz") else data)
    for archive, of_archive in members.items():
        (root / archive).parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(root / archive, "w") as file:
            for member, data in of_archive.items():
                file.writestr(member, data)
    return root


def find(dataset, root):
    return tfds.builder_cls(dataset).find(root)


def ucla(number: int) -> str:
    joints = raw_sets.body(number)[:, :20].tolist()
    return json.dumps({"file_name": "a01_s01_e00_v01", "skeletons": joints, "label": 1})


def pku(root, **extra):
    raw_sets.write_pku(root)
    return put(root, extra)


# Two places of one sample: data set -> places (the first is read), and two contents.
PLACES = [
    ("ntu_rgbd60", f"a/{A}.skeleton", f"b/{A}.skeleton"),
    ("ntu_rgbd60", f"{A}.skeleton", f"s.zip!nturgb+d_skeletons/{A}.skeleton"),
    ("ntu_rgbd60", f"s.zip!{A}.skeleton", f"t.zip!deep/{A}.skeleton"),
    ("ntu_rgbd60", f"s.zip!1/{A}.skeleton", f"s.zip!2/{A}.skeleton"),
    ("ntu_rgbd60", f"{A}.SKELETON", f"{A}.skeleton"),
    ("ntu_rgbd60", f"a/{A}.skeleton", f"b/{A.lower()}.skeleton"),
    ("ntu_rgbd120", f"60/{A}.skeleton", f"120/{A}.skeleton"),
    ("ntu_rgbd60", f"{A}.skeleton", f"{A}.skeleton.gz"),
    ("ntu_rgbd60", f"deep/{A}.skeleton.GZ", f"set.zip!{A}.skeleton"),
    ("nw_ucla", "a/a01_s01_e00_v01.json", "b/a01_s01_e00_v01.json"),
    ("nw_ucla", "a01_s01_e00_v01.json", "nw_ucla_all_sqe.zip!all_sqe/a01_s01_e00_v01.json"),
    ("nw_ucla", "a/a01_s01_e00_v01.json", "b/A01_S01_E00_V01.json"),
]


@pytest.mark.parametrize(("dataset", "one", "other"), PLACES)
def test_one_sample_in_two_places(dataset, one, other, tmp_path):
    content, different = (ucla(0), ucla(1)) if dataset == "nw_ucla" else (TEXT[A], OTHER)
    found = find(dataset, put(tmp_path / "same", {one: content, other: content}))
    assert (len(found.tasks), list(found.left_out)) == (1, [])
    (note,) = [note for note in found.notes if "more than once" in note]
    assert one.split("!")[-1] in note
    assert other.split("!")[-1] in note

    found = find(dataset, put(tmp_path / "differ", {one: content, other: different}))
    assert not found.tasks
    (sample,) = found.left_out
    for place in (one, other):
        assert f"{tmp_path}/differ/{place}" in sample.why
    with pytest.raises(BadFile, match="with another content than in") as error:
        found.parse(tmp_path)
    assert str(error.value) in sample.why
    assert len(found.parse(tmp_path, on_bad_file="skip")) == 0


@pytest.mark.parametrize(
    ("places", "name"),
    [
        (["copy/skeleton/0002-L.txt", "skeleton/0002-L.txt"], "0002-L"),
        (["more_labels/0003-L.txt", "label/0003-L.txt"], "0003-L"),
        (["x.zip!Skeleton/0002-M.txt", "skeleton/0002-M.txt"], "0002-M"),
        (["label/0002-l.TXT", "label/0002-L.txt"], "0002-L"),
    ],
)
def test_one_video_in_two_places(places, name, tmp_path):
    raw_sets.write_pku(tmp_path)
    new, old = places
    content = (tmp_path / old).read_text()
    found = find("pku_mmd", put(tmp_path, {new: content}))
    assert (len(found.tasks), list(found.left_out)) == (3, [])
    assert any("1 samples are there more than once" in note for note in found.notes)
    first, *rest = content.splitlines(keepends=True)
    found = find("pku_mmd", put(tmp_path, {new: "".join([*rest, first])}))
    assert (len(found.tasks), found.left_out[0].name) == (2, name)
    with pytest.raises(BadFile, match="with another content than in"):
        found.parse(tmp_path)


@pytest.mark.parametrize(
    "new", ["copy/cross-subject.txt", "cross_subject.txt", "v1.zip!cross-subject.txt"]
)
def test_two_split_files_of_one_protocol(new, tmp_path):
    raw_sets.write_pku(tmp_path)
    content = (tmp_path / "cross-subject.txt").read_text()
    found = find("pku_mmd", put(tmp_path, {new: content}))
    assert found.split("v1_xsub", {"phase": 1, "video": "0002-M"}) == "train"
    put(tmp_path, {new: content.replace("0002-M", "0003-L")})
    with pytest.raises(BadFile, match="xsub with another content than in"):
        find("pku_mmd", tmp_path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("clip.npz", "set.zip!clip.npz"),
        ("deep/clip.npz", "set.zip!deep/clip.npz"),
        ("one.zip!clip.npz", "two.zip!clip.npz"),
        ("clip.npz", "clip.npz.gz"),
    ],
)
def test_one_sequence_of_ones_own_in_two_places(one, other, tmp_path):
    config = custom.config_of({"name": "own", "layout": "coco_17", "channels": "xyz"})
    contents = [custom_sets.write_npz(tmp_path, "x" * n).read_bytes() for n in (1, 2)]
    found = custom.find(put(tmp_path / "same", {one: contents[0], other: contents[0]}), config)
    assert (len(found.tasks), list(found.left_out), len(found.notes)) == (1, [], 1)
    found = custom.find(put(tmp_path / "differ", {one: contents[0], other: contents[1]}), config)
    with pytest.raises(BadFile, match=r"clip with another content than in .*clip\.npz"):
        found.parse(tmp_path)
    assert len(found.parse(tmp_path, on_bad_file="skip")) == 0


def test_an_id_twice_leaves_one_file_out(tmp_path):
    text = raw_sets.skeleton_text(raw_sets.body(0)).replace("\n1\n", "\n2\n")
    lines = text.splitlines()
    twice = [lines[0]]
    for start in range(1, len(lines), 28):
        twice += [lines[start], *lines[start + 1 : start + 28] * 2]
    raw = put(tmp_path / "raw", {f"{A}.skeleton": "\n".join(twice), f"{B}.skeleton": TEXT[B]})
    with pytest.raises(
        BadFile, match=rf"{A}\.skeleton, line 30: found bodyID \d+ twice in frame 1"
    ):
        prepare.prepare("ntu_rgbd60", raw, tmp_path / "out", num_workers=1)
    rows = prepare.prepare("ntu_rgbd60", raw, tmp_path / "out", num_workers=1, on_bad_file="skip")
    assert sum(row.sequences for row in rows if row.protocol == "xsub") == 1
    assert "twice in frame 1" in (tmp_path / "out/ntu_rgbd60/left_out.json").read_text()


# Spellings of a list that names A, and its file.
LIST = "NTU_RGBD_samples_with_missing_skeletons.txt"
PROSE = '1 of the captured samples in the "NTU RGB+D 120" dataset have missing skeleton data.\n\n'
APPLIED = {
    "as published": (LIST, PROSE + A + "\n"),
    "byte order mark": (LIST, f"{A}\n".encode("utf-8-sig")),
    "joined, a mark within": (LIST, b"S017C001P001R001A001\n" + f"{A}\n".encode("utf-8-sig")),
    "extension": (LIST, f"{A}.skeleton\n"),
    "another modality": (LIST, f"{A}_rgb.avi\n"),
    "lower case": (LIST, f"{A.lower()}\n"),
    "CRLF": (LIST, f"S017C001P001R001A001\r\n{A}\r\n"),
    "old Mac": (LIST, f"S017C001P001R001A001\r{A}\r"),
    "no line end": (LIST, A),
    "path": (LIST, f"./nturgb+d_skeletons/{A}.skeleton\n"),
    "path of Windows": (LIST, f"C:\\NTU data\\nturgb+d_skeletons\\{A}.skeleton\r\n"),
    "in an archive": (LIST, f"set.zip!nturgb+d/{A}.skeleton"),
    "several on a line": (LIST, f"S017C001P001R001A001 {A}\tS017C001P001R001A002\n"),
    "commas": (LIST, f"S017C001P001R001A001,{A},S017C001P001R001A002"),
    "table": (LIST.replace("txt", "csv"), f'name;action\n"{A}";1\n'),
    "Python": (LIST, f"missing = ['S017C001P001R001A001', '{A}']\n"),
    "comment": (LIST, f"# no skeleton:\n{A}  # sensor off\n"),
    "sentence": (LIST, f"{PROSE}The sample {A}.\n"),
    "Chinese commas": (LIST, f"S017C001P001R001A001、{A}，S017C001P001R001A002。"),
    "other prose": (LIST, "缺失\n".encode("gbk") + A.encode()),
    "in an archive itself": (f"nturgbd.zip!resource/{LIST}", A),
    "folder": (f"resource/NTU-RGB-D/{LIST}", A),
    "name of NTU 120": ("NTU_RGBD120_samples_with_missing_skeletons.txt", A),
    "short name": ("ntu60_missing.txt", A),
    "upper case": ("MISSING_SKELETONS.TXT", A),
    "second download": ("samples_with_missing_skeletons (1).txt", A),
    "no ending": ("missing_skeletons", A),
    "ignored": ("ignored_samples.txt", A),
    "ignored, no ending": ("ignored_samples", A),
    **{
        f"ignored, {end}": (f"ignored_samples.{end}", content)
        for end, content in {
            "yaml": f"ignored:\n  - {A}\n",
            "YML": f"- {A}\n",
            "dat": A,
            "tab": f"name\taction\n{A}\t1\n",
            "xml": f'<ignored><sample name="{A}"/></ignored>',
            "cfg": f"[ignored]\nsample={A}\n",
            "rst": f"* ``{A}``\n",
        }.items()
    },
}


@pytest.mark.parametrize("case", APPLIED)
def test_a_list_of_missing_skeletons_is_applied(case, tmp_path):
    file, content = APPLIED[case]
    put(tmp_path, {f"{A}.skeleton": TEXT[A], f"{B}.skeleton": TEXT[B], file: content})
    found = find("ntu_rgbd60", tmp_path)
    assert [raw.name for raw in found.tasks] == [f"{B}.skeleton"]
    (left_out,) = found.left_out
    assert left_out.name == A
    assert left_out.why.endswith(file.rsplit("/", 1)[-1])


def test_files_in_lower_case_have_the_names_of_their_samples(tmp_path):
    one, other = f"{A.lower()}.SKELETON", f"{B.lower()}.skeleton"
    found = find("ntu_rgbd60", put(tmp_path, {one: TEXT[A], other: TEXT[B], LIST: B}))
    (task,) = found.tasks
    example = found.read(task)
    assert (example["name"], example["label"], example["subject"]) == (A, 0, 1)
    assert [sample.name for sample in found.left_out] == [B]


def test_two_pickles_of_equal_content_are_one(tmp_path):
    config = custom.config_of({"name": "own", "layout": "coco_17", "channels": "xyc"})
    sets = [custom_sets.exchange(n) for n in (3, 4)]
    contents = [custom_sets.write_pickle(tmp_path / "x.pkl", s).read_bytes() for s in sets]
    same = put(tmp_path / "same", dict.fromkeys(("set.pkl", "set.pkl.gz"), contents[0]))
    found = custom.find(same, config)
    assert (len(found.tasks), list(found.left_out)) == (3, [])
    (note,) = found.notes
    assert "set.pkl is read" in note
    assert "set.pkl.gz is not" in note
    differ = put(tmp_path / "differ", {"set.pkl": contents[0], "set.pkl.gz": contents[1]})
    with pytest.raises(BadFile, match=r"set\.pkl with another content than in .*set\.pkl\.gz"):
        custom.find(differ, config).parse(tmp_path)


def test_large_pickles_are_compared(tmp_path, monkeypatch):
    """They may be larger than other raw files."""
    config = custom.config_of({"name": "own", "layout": "coco_17", "channels": "xyc"})
    path = custom_sets.write_pickle(tmp_path / "x.pkl", custom_sets.exchange(3))
    put(tmp_path, dict.fromkeys(("raw/set.pkl", "raw/set.pkl.gz"), path.read_bytes()))
    monkeypatch.setattr(files.RawFile.read, "__defaults__", (100,))
    assert len(custom.find(tmp_path / "raw", config).tasks) == 3


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_a_list_behind_a_link(linked, tmp_path):
    put(tmp_path, {f"raw/{A}.skeleton": TEXT[A], f"elsewhere/{LIST}": A})
    if linked == "file":
        (tmp_path / "raw" / LIST).symlink_to(tmp_path / "elsewhere" / LIST)
    else:
        (tmp_path / "raw/lists").symlink_to(tmp_path / "elsewhere")
    found = find("ntu_rgbd60", tmp_path / "raw")
    assert (list(found.tasks), [sample.name for sample in found.left_out]) == ([], [A])


REFUSED = {
    "digit missing": "S001C001P001R001A01",
    "digit too many": f"{A}1",
    "short numbers": "S1C1P1R1A1",
    "blanks inside": "S001 C001 P001 R001 A001",
    "hyphens inside": "S001-C001-P001-R001-A001",
    "range": f"{A}-S001C001P001R001A005",
    "range with points": f"{A}...S001C001P001R001A005",
    "pattern": "S001C001P001R001A*",
    "whole setup": "S001",
    "letter O": "S001C001P001R001AOO1",
    "glued": f"{A}{B}",
    "glued with a point": f"{A}.{B}",
    "folder": f"raw/{A}.skeleton/",
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_word_that_resembles_a_name_is_refused_with_its_line(case, tmp_path):
    put(tmp_path, {LIST: f"{PROSE}{B}\n{REFUSED[case]}\n{B}\n"})
    with pytest.raises(BadFile, match="expected the name of a sample") as error:
        ntu_missing.read(files.RawFile(str(tmp_path / LIST)))
    assert error.value.line == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{A}\n".encode("utf-16"), "UTF-16"),
        (b"", "no name of a sample"),
        (PROSE.encode(), "no name of a sample"),
        (gzip.compress(A.encode()), "no name of a sample"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(content, message, tmp_path):
    put(tmp_path, {f"{A}.skeleton": TEXT[A], LIST: content})
    with pytest.raises(BadFile, match=message):
        find("ntu_rgbd60", tmp_path)


def test_what_a_list_names_in_vain_is_told(tmp_path):
    put(
        tmp_path,
        {
            f"{A}.skeleton": TEXT[A],
            f"{B}.skeleton": TEXT[B],
            LIST: f"{A}\nS009C001P001R001A001\n# {B} is good\n",
            "statistics/skes_available_name.txt": B,
        },
    )
    found = find("ntu_rgbd60", tmp_path)
    said = "\n".join(found.notes)
    assert "1 of 2 samples that it lists are not here: S009C001P001R001A001" in said
    assert f"samples in comments are not left out: {B}" in said
    assert "skes_available_name.txt names samples. It is not used" in said
    assert [raw.name for raw in found.tasks] == [f"{B}.skeleton"]
