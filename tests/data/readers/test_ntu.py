"""Names, and the choice of the two actors: by hand, and against the rules as plain loops."""

import pickle
import zipfile

import numpy as np
import pytest

from amr_jax.data.readers import files, ntu, search
from amr_jax.data.readers.ntu_text import Body, Recording
from amr_jax.errors import BadFile, UserError
from tests.data.readers.ntu_files import FIRST_ID, film, person, skeleton_text

NAME = "S017C003P008R002A060"


def record(num_frames: int, *bodies: tuple[list[int], np.ndarray]) -> Recording:
    """A recording of bodies (frames, joints), in the order of their first frames."""
    return Recording(
        "test",
        num_frames,
        [
            Body(FIRST_ID + i, np.array(list(seen), np.int64), joints)
            for i, (seen, joints) in enumerate(bodies)
        ],
    )


def present(actors: np.ndarray, actor: int) -> list[int]:
    return np.flatnonzero(actors[:, actor].any(axis=(1, 2))).tolist()


def test_the_fields_of_a_name():
    name = ntu.parse_name(f"/data/a.zip!nturgb+d/{NAME}.skeleton")
    assert name == ntu.parse_name(NAME)
    assert (name.name, name.setup, name.camera, name.subject) == (NAME, 17, 3, 8)
    assert (name.replication, name.action) == (2, 60)


@pytest.mark.parametrize("ending", ["", ".skeleton", ".SKELETON", ".Skeleton.GZ"])
def test_a_name_in_lower_case(ending):
    assert ntu.parse_name(NAME.lower() + ending) == ntu.parse_name(NAME)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "readme.skeleton",
        "S001C001P001R001.skeleton",
        "S01C001P001R001A001.skeleton",
        "S001C001P001R001A0001",
        "S000C001P001R001A001",
        f"{NAME}.txt",
        f"x{NAME}.skeleton",
    ],
)
def test_a_name_that_does_not_parse_is_refused(name):
    with pytest.raises(BadFile, match="found a name that does not parse; expected Ssss"):
        ntu.parse_name(name)


def test_a_single_body_is_kept_without_empty_frames():
    joints = person(0, 3, width=5)  # noise, if there were several bodies
    actors = ntu.denoise(record(6, ([1, 4, 5], joints)))
    assert actors.dtype == np.float32
    np.testing.assert_array_equal(actors[:, 0], joints)
    assert actors.shape == (3, 2, 25, 3)
    assert not actors[:, 1].any()


def test_the_body_with_most_motion_is_the_first_actor():
    calm, lively = person(0, 20, motion=0.1), person(1, 20, motion=0.5)
    actors = ntu.denoise(record(20, (range(20), calm), (range(20), lively)))
    np.testing.assert_array_equal(actors, np.stack([lively, calm], axis=1))


@pytest.mark.parametrize(("length", "kept"), [(11, False), (12, True)])
def test_a_body_of_eleven_frames_is_noise(length, kept):
    short = person(1, length, motion=2)
    actors = ntu.denoise(record(30, (range(30), person(0, 30)), (range(length), short)))
    assert len(actors) == 30
    # It has more motion than the other, so it is the first actor if it is kept.
    assert np.array_equal(actors[:length, 0], short) == kept


def test_of_short_bodies_the_longest_is_kept():
    bodies = [person(i, n) for i, n in enumerate([5, 8, 8])]
    actors = ntu.denoise(record(20, *((range(i, i + len(b)), b) for i, b in enumerate(bodies))))
    np.testing.assert_array_equal(actors[:, 0], bodies[1])
    assert present(actors, 1) == []


def test_frames_without_an_actor_are_dropped():
    actors = ntu.denoise(record(40, (range(10), person(1, 10)), (range(8, 40), person(0, 32))))
    np.testing.assert_array_equal(actors[:, 0], person(0, 32))


@pytest.mark.parametrize(("num_wide", "kept"), [(27, True), (28, False)])  # of 40: 0.675, 0.7
def test_a_body_that_is_mostly_wide_is_noise(num_wide, kept):
    wide = person(1, 40)
    wide[:num_wide, :, 0] *= 5  # 1.5 m wide, more than 0.8 of its 1.6 m height
    actors = ntu.denoise(record(40, (range(40), person(0, 40)), (range(40), wide)))
    assert bool(present(actors, 1)) == kept


def test_the_last_body_is_kept_even_if_wide():
    wide = [person(i, 20, width=3) for i in range(2)]
    actors = ntu.denoise(record(20, (range(20), wide[0]), (range(20), wide[1])))
    np.testing.assert_array_equal(actors[:, 0], wide[1])
    assert present(actors, 1) == []


def test_wide_frames_do_not_count_as_motion():
    jumpy, lively = person(1, 40, motion=0.05), person(0, 40, motion=0.2)
    jumpy[5:9, :, 0] = 6 * jumpy[5:9, :, 0] + 50
    assert jumpy.reshape(-1, 3).var(axis=0).sum() > lively.reshape(-1, 3).var(axis=0).sum()
    actors = ntu.denoise(record(40, (range(40), jumpy), (range(40), lively)))
    np.testing.assert_array_equal(actors, np.stack([lively, jumpy], axis=1))


@pytest.mark.parametrize(("begin", "actor"), [(20, 0), (19, 0), (18, 1)])
def test_a_later_body_continues_the_first_actor_if_they_share_at_most_a_frame(begin, actor):
    first, later = person(0, 20, motion=0.5), person(1, 40 - begin)
    actors = ntu.denoise(record(40, (range(20), first), (range(begin, 40), later)))
    np.testing.assert_array_equal(actors[begin:, actor], later)  # also in a shared frame
    assert present(actors, 0) == list(range(20 if actor else 40))


def test_a_span_includes_its_gaps_and_a_third_body_is_dropped():
    bodies = [
        (range(12), person(0, 12, motion=4)),  # first actor, 0..11
        (range(30, 45), person(1, 15, motion=3)),  # first actor, now 0..44
        (range(14, 28), person(2, 14, motion=2)),  # in its gap: second actor, 0..27
        (range(5, 20), person(3, 15, motion=1)),  # neither
        (range(27, 45), person(4, 18, motion=0.5)),  # second actor from 27 on
    ]
    assert [float(b.var(axis=(0, 1)).sum()) for _, b in bodies] == sorted(
        (float(b.var(axis=(0, 1)).sum()) for _, b in bodies), reverse=True
    )
    actors = ntu.denoise(record(45, *bodies))
    assert len(actors) == 45 - 2  # frames 12 and 13 hold only the dropped body
    assert present(actors, 0) == [*range(12), *range(28, 43)]
    assert present(actors, 1) == list(range(12, 43))
    np.testing.assert_array_equal(actors[25:, 1], bodies[4][1])


def test_gaps():
    seen = [*range(2, 14), *range(20, 32)]
    recording = record(40, (range(40), person(0, 40, motion=1)), (seen, person(1, 24)))
    actors = ntu.denoise(recording)
    assert present(actors, 1) == list(range(2, 26))
    np.testing.assert_array_equal(actors[2:26, 1], person(1, 24))
    actors = ntu.denoise(recording, gaps="true_time")
    assert present(actors, 1) == seen
    np.testing.assert_array_equal(actors[seen, 1], person(1, 24))
    with pytest.raises(UserError, match="unknown gaps 'real'; expected one of: contiguous, true_t"):
        ntu.denoise(recording, gaps="real")


@pytest.mark.parametrize("bodies", [[], [([0, 1], np.zeros((2, 25, 3), np.float32))]])
def test_no_body(bodies):
    with pytest.raises(ntu.NoBody) as error:
        ntu.denoise(record(7, *bodies))
    assert isinstance(error.value, BadFile)
    again = pickle.loads(pickle.dumps(error.value))  # as from a worker process
    assert (type(again), str(again)) == (ntu.NoBody, str(error.value))


def by_the_rules(recording: Recording) -> np.ndarray:
    """The steps of docs/formats.md as loops over frames and joints, in float64."""
    seen = sorted({int(frame) for body in recording.bodies for frame in body.frames})
    length = {i: len(body.frames) for i, body in enumerate(recording.bodies)}
    first = {i: seen.index(int(body.frames[0])) for i, body in enumerate(recording.bodies)}
    pose = {i: body.joints.astype(np.float64) for i, body in enumerate(recording.bodies)}

    def motion(i, frames):
        values = [[pose[i][f, j, c] for f in frames for j in range(25)] for c in range(3)]
        return sum(np.mean(np.square(v)) - np.mean(v) ** 2 for v in values)

    order = list(pose)
    if len(pose) > 1:
        order = [i for i in pose if length[i] > 11] or [max(pose, key=length.get)]
        value = {i: motion(i, range(length[i])) for i in order}
        for i in list(order):
            if len(order) == 1:
                break
            x, y = np.ptp(pose[i][..., 0], axis=1), np.ptp(pose[i][..., 1], axis=1)
            clean = [f for f in range(length[i]) if x[f] <= 0.8 * y[f]]
            if length[i] - len(clean) >= 0.69754 * length[i]:
                order.remove(i)
            elif len(clean) < length[i]:
                value[i] = min(value[i], motion(i, clean))
        order.sort(key=lambda i: -value[i])
    out = np.zeros((len(seen), 2, 25, 3))
    taken = [None, (0, 0)]
    for i in order:
        a, b = first[i], first[i] + length[i] - 1
        for actor in (0, 1):
            span = taken[actor] or (a, a)
            if min(b, span[1]) <= max(a, span[0]):
                out[a : b + 1, actor] = pose[i]
                taken[actor] = (min(a, span[0]), max(b, span[1]))
                break
    if len(pose) > 1:
        out = out[[bool(np.any(frame)) for frame in out]]
    return out


@pytest.mark.parametrize("seed", range(60))
def test_denoising_follows_the_rules(seed):
    rng = np.random.default_rng(seed)
    num_frames = int(rng.integers(1, 60))
    bodies = []
    for i in range(rng.integers(1, 6)):
        here = rng.random(num_frames) < rng.choice([0.5, 0.95, 1])
        begin, end = sorted(rng.integers(0, num_frames + 1, 2))
        here[: begin if rng.random() < 0.6 else 0] = False
        here[end if rng.random() < 0.6 else num_frames :] = False
        joints = person(100 * seed + i, num_frames, motion=rng.random())
        joints[rng.random(num_frames) < rng.random(), :, 0] *= 6
        if here.any():
            bodies.append((np.flatnonzero(here).tolist(), joints[here]))
    bodies.sort(key=lambda body: body[0][0])
    if bodies:
        recording = record(num_frames, *bodies)
        np.testing.assert_array_equal(ntu.denoise(recording), by_the_rules(recording))


def test_read_from_a_zip(tmp_path):
    a, b = person(0, 20, motion=0.5), person(1, 20)
    text = skeleton_text(film(22, (FIRST_ID, range(1, 21), a), (FIRST_ID + 1, range(1, 21), b)))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(f"nturgb+d/{NAME}.skeleton", text)
    (raw,) = search.find(tmp_path, ".skeleton", "skeletons")
    sequence = ntu.read(raw)
    np.testing.assert_array_equal(sequence.pop("joints"), np.stack([a, b], axis=1))
    numbers = {"setup": 17, "camera": 3, "subject": 8, "replication": 2, "action": 60}
    assert sequence == {"name": NAME, "label": 59, **numbers}


def test_errors_name_the_file(tmp_path):
    path = tmp_path / f"{NAME}.skeleton"
    path.write_bytes(b"2\n0\n0\n")
    with pytest.raises(ntu.NoBody) as error:
        ntu.read(files.RawFile(str(path)))
    assert error.value.path == str(path)
    path.write_bytes(b"2\n0\n")
    with pytest.raises(BadFile) as error:
        ntu.read(files.RawFile(str(path)))
    assert (error.value.path, error.value.line) == (str(path), 3)
    with pytest.raises(BadFile, match=r"a.skeleton: found a name"):
        ntu.read(files.RawFile(str(tmp_path / "a.skeleton")))
