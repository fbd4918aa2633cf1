"""Key points of people, as pose estimators write them: people found frame by frame.

The readers of single formats turn a file into `Clip`s; `joints` brings one into the form of a data
set. Where a format gives people an id, they are told apart by it. Where it lists them in no order,
each person of a frame goes on as the one that was nearest before (`_nearest`).
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from amr_jax.data.readers import arrays, findings
from amr_jax.errors import BadFile, letters
from amr_jax.ops import normalise
from amr_jax.skeleton.layouts import LAYOUTS, num_coordinates

MAX_BYTES = 2**27  # limit for a file of text; its content takes several times as much in memory
_MAX_FRAMES, _MAX_PEOPLE = 2**18, 64
_MAX_NUMBERS = arrays.MAX_BYTES // 8  # of all people in all frames


@dataclasses.dataclass(frozen=True)
class Person:
    """One person in one frame.

    Attributes:
      places: (V, 2) or (V, 3) float64.
      scores: (V,) float64; None if the format has none.
      key: who it is; None if the format does not say.
    """

    places: np.ndarray
    scores: np.ndarray | None = None
    key: object = None


@dataclasses.dataclass(frozen=True)
class Clip:
    """One sequence of a file, before it is checked against a data set's form.

    Attributes:
      values: (T, M, V, D) float64, D coordinates; zeros where a person is absent.
      scores: (T, M, V); None if the format has none.
      layout: the format's layout; '' if joints have names only, or the file does not say.
      joints: names of the joints, as in the file; () if they come in the layout's order.
      name: of the sequence in the file; '' if the file has only one.
      texts: what the file says of label, split and subject.
      counts: see `findings`.
    """

    values: np.ndarray
    scores: np.ndarray | None
    layout: str = ""
    joints: tuple[str, ...] = ()
    name: str = ""
    texts: dict[str, str] = dataclasses.field(default_factory=dict)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def channels(self) -> str:
        """All that the file has of one of `layouts.CHANNELS`."""
        if self.values.shape[-1] == 3:
            return "xyz"
        return "xy" if self.scores is None else "xyc"


def clip(frames: Sequence[Sequence[Person]], path: object, **facts: object) -> Clip:
    """Puts the people of all frames into slots.

    Args:
      frames: the people in each frame.
      path: how errors call the file.
      **facts: fields of `Clip` other than values and scores; `counts` is added to.

    Raises:
      BadFile: nobody in any frame, people whose joints differ in number, or too many of something.
    """
    everybody = [person for people in frames for person in people]
    most = max(map(len, frames), default=0)
    if len(frames) > _MAX_FRAMES or most > _MAX_PEOPLE:
        found = f"{len(frames):,} frames with up to {most} people"
        raise BadFile(path, found, f"at most {_MAX_FRAMES:,} and {_MAX_PEOPLE}")
    if not everybody:
        found = f"{len(frames):,} frames with nobody in any"
        raise arrays.NoBody(path, found, "the key points of somebody")
    shape = everybody[0].places.shape
    for number, people in enumerate(frames):
        for i, person in enumerate(people):
            if person.places.shape != shape:
                found = "{} joints with {} coordinates in ".format(*person.places.shape)
                expected = "{} with {}, as in the first".format(*shape)
                raise BadFile(path, f"{found}frame {number}, person {i}", expected)
    counts: dict[str, int] = facts.pop("counts", {})
    slots = _slots(frames, path, counts)
    size = (len(frames), max(map(max, filter(None, slots))) + 1)
    if size[0] * size[1] * shape[0] * (shape[1] + 1) > _MAX_NUMBERS:
        found = f"{size[0]:,} frames, {size[1]} people and {shape[0]} joints"
        raise BadFile(path, found, "a shorter sequence", hint="Cut it into parts.")
    values = np.zeros((*size, *shape))
    scored = everybody[0].scores is not None
    scores = np.zeros((*size, shape[0])) if scored else None
    for frame, people in enumerate(frames):
        for slot, person in zip(slots[frame], people, strict=True):
            values[frame, slot] = person.places
            if scored:
                scores[frame, slot] = 1 if person.scores is None else person.scores
    return Clip(values, scores, counts=counts, **facts)


def in_time(of_number: Mapping[int, Sequence[Person]]) -> list[Sequence[Person]]:
    """The people of all frames from the first number to the last; nobody where there is no entry.

    Numbers of which nine in ten are absent are times: their entries follow each other.
    """
    numbers = range(min(of_number), max(of_number) + 1)
    if len(numbers) > 10 * len(of_number):
        numbers = sorted(of_number)
    return [of_number.get(number, []) for number in numbers]


def _slots(
    frames: Sequence[Sequence[Person]], path: object, counts: dict[str, int]
) -> list[list[int]]:
    """The slot of each person in each frame."""
    if all(person.key is not None for people in frames for person in people):
        return _by_key(frames, path)
    if all(len(people) < 2 for people in frames):
        return [[0] * len(people) for people in frames]
    findings.add(counts, findings.UNORDERED, sum(len(people) > 1 for people in frames))
    return _nearest(frames)


def _by_key(frames: Sequence[Sequence[Person]], path: object) -> list[list[int]]:
    """A person keeps the lowest slot that is free from their first to their last frame."""
    last = {person.key: i for i, people in enumerate(frames) for person in people}
    taken: dict[int, object] = {}
    slots = []
    for frame, people in enumerate(frames):
        keys = [person.key for person in people]
        if len(set(keys)) < len(keys):
            raise BadFile(path, f"one id for two people in frame {frame}", "different ids")
        of_key = {key: slot for slot, key in taken.items()}
        for key in keys:
            if key not in of_key:
                of_key[key] = next(slot for slot in range(len(taken) + 1) if slot not in taken)
                taken[of_key[key]] = key
        slots.append([of_key[key] for key in keys])
        taken = {slot: key for slot, key in taken.items() if last[key] > frame}
    return slots


def _nearest(frames: Sequence[Sequence[Person]]) -> list[list[int]]:
    """Greedy by distance of centres: the nearest pair of a slot and a person first.

    A slot keeps the centre of the last person in it; who is left over opens a new slot only where
    all others are taken, so that there are no more slots than people in the fullest frame.
    """
    centres: list[np.ndarray] = []
    slots = []
    for people in frames:
        here = [_centre(person) for person in people]
        pairs = [
            (float(np.sum((a - b) ** 2)), slot, i)
            for slot, a in enumerate(centres)
            for i, b in enumerate(here)
        ]
        of_person: dict[int, int] = {}
        for _, slot, i in sorted(pairs):
            if i not in of_person and slot not in of_person.values():
                of_person[i] = slot
        for i, centre in enumerate(here):
            slot = of_person.setdefault(i, len(centres))
            centres[slot : slot + 1] = [centre]
        slots.append([of_person[i] for i in range(len(people))])
    return slots


def _centre(person: Person) -> np.ndarray:
    """Mean of the joints that were found; zeros if there is none."""
    found = np.isfinite(person.places).all(axis=-1)
    if person.scores is not None:
        found &= person.scores > 0
    with np.errstate(over="ignore"):
        return (
            person.places[found].mean(axis=0) if found.any() else np.zeros(person.places.shape[1])
        )


def matrix(rows: object, columns: str, place: str, path: object, layout: str = "") -> np.ndarray:
    """The numbers of all joints of a person, (V, len(columns)) float64; null is NaN.

    Args:
      rows: a list of V lists of numbers.
      columns: what the numbers are, such as 'xyz', for errors.
      place: of the person in the file, such as 'frame 3, person 0'.
      path: how errors call the file.
      layout: names the joints and says how many there are; '': any number.

    Raises:
      BadFile: names the first joint that is not as expected.
    """
    expected = f"{len(columns)} numbers ({', '.join(columns)}) for each joint"
    names = LAYOUTS[layout].joints if layout else ()
    if not isinstance(rows, list) or not rows or (names and len(rows) != len(names)):
        found = f"{len(rows)} joints" if isinstance(rows, list) else "no list of joints"
        wanted = f"{len(names)} joints ({layout})" if layout else expected
        raise BadFile(path, f"{found} in {place}", wanted)
    for joint, row in enumerate(rows):
        if type(row) is not list or len(row) != len(columns) or not all(map(_is_number, row)):
            name = f"joint {joint}" + (f" ({names[joint]})" if names else "")
            raise BadFile(path, f"{str(row)[:60]} in {place}, {name}", expected)
    return np.array(rows, np.float64)


def _is_number(value: object) -> bool:
    if type(value) is int:
        return abs(value) < 2**1000
    return value is None or type(value) is float


def joints(
    found: Clip,
    form: arrays.Form,
    path: object,
    counts: dict[str, int],
    people: int | None = None,
) -> np.ndarray:
    """A clip in the form of a data set's records, (T, M, V, C) float32; see `arrays.joints`.

    Joints with names are sorted into the form's order; others of the file are left out. `people`
    keeps that many, those who are seen in most frames.

    Raises:
      BadFile: another layout, no depth where the form has it, or as in `arrays.joints`.
    """
    for kind, count in found.counts.items():
        findings.add(counts, kind, count)
    if found.layout and form.layout in LAYOUTS and found.layout != form.layout:
        raise BadFile(path, f"key points of {found.layout}", f"{form.layout} ({form.told_by})")
    values, scores = found.values, found.scores
    if found.joints and form.joints:
        order = _order(found.joints, form, path)
        values, scores = values[:, :, order], None if scores is None else scores[:, :, order]
    width = num_coordinates(form.channels)
    if values.shape[-1] < width:
        hint = f"{form.told_by} define what is expected; xyc or xy fit this file."
        raise BadFile(path, "x and y of each joint", "x, y and z (xyz)", hint=hint)
    result = arrays.joints(values[..., :width], scores, form, path, counts)
    if people is None or people >= result.shape[1]:
        return result
    seen = normalise.found(result, form.channels).any(axis=2).sum(axis=0)
    kept = np.sort(np.argsort(-seen, kind="stable")[:people])
    findings.add(counts, findings.PEOPLE, np.count_nonzero(seen) - len(kept))
    result = result[:, kept]
    return (
        result if form.keep_empty else findings.without_empty_frames(result, form.channels, counts)
    )


def _order(names: tuple[str, ...], form: arrays.Form, path: object) -> list[int]:
    place = {letters(name): i for i, name in enumerate(names)}
    if missing := [name for name in form.joints if letters(name) not in place]:
        some = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        raise BadFile(path, f"no joint {missing[0]!r} among {some}", f"the joints of {form.layout}")
    return [place[letters(name)] for name in form.joints]
