"""COCO key points: annotations of images or results of a detector, 17 × (x, y, v) per person.

Annotations: `{"images": [{"id", "file_name"}, …], "annotations": [{"image_id", "keypoints": [x0,
y0, v0, …]}, …], "categories": [{"keypoints": [names]}]}`; v is 0 (not labelled), 1 (hidden) or 2
(seen), which become the confidences 0, 0.5 and 1. Results: `[{"image_id", "keypoints", "score"},
…]`; the third number is the joint's score. AlphaPose writes such files with file names for ids.

Images of one folder are the frames of one sequence, in the order of their file names; results are
one sequence, in the order of their ids. `track_id` or `idx` tells people apart.
"""

import re
from pathlib import PurePosixPath

from amr_jax.data.readers import keypoints
from amr_jax.data.readers.keypoints import Clip, Person
from amr_jax.errors import BadFile

_IDS = ("track_id", "idx")


def fits(content: object) -> bool:
    """Whether it looks like annotations or results."""
    if isinstance(content, dict):
        return isinstance(content.get("annotations"), list)
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and {"image_id", "keypoints"} <= first.keys()


def clips(content: object, path: object, channels: str) -> list[Clip]:
    """The clips of a file, one for each folder of images; `channels` does not matter."""
    del channels
    is_truth = isinstance(content, dict)
    entries = content["annotations"] if is_truth else content
    sequences = _images(content, path) if is_truth else {}
    place_of = {
        image: (folder, i) for folder, ids in sequences.items() for i, image in enumerate(ids)
    }
    if not is_truth:
        ids = {_id(entry, number, path) for number, entry in enumerate(entries)}
        ordered = sorted(ids, key=_natural)
        sequences, place_of = {"": ordered}, {image: ("", i) for i, image in enumerate(ordered)}
    frames = {folder: [[] for _ in ids] for folder, ids in sequences.items()}
    names = _names(content)
    layout = "" if names else "coco_17"
    for number, entry in enumerate(entries):
        image = _id(entry, number, path)
        if image not in place_of:
            raise BadFile(path, f"image_id {image!r} in annotation {number}", "one of 'images'")
        folder, frame = place_of[image]
        people = frames[folder][frame]
        where = f"image {image!r}, person {len(people)}"
        if is_truth and not entry.get("num_keypoints", 1):
            continue  # a person whose joints nobody labelled
        people.append(_person(entry, is_truth, where, path, layout))
    filled = {folder: found for folder, found in frames.items() if any(found)} or frames
    facts = {"layout": layout, "joints": names}
    return [
        keypoints.clip(found, path, name=folder if len(filled) > 1 else "", **facts)
        for folder, found in filled.items()
    ]


def _images(content: dict, path: object) -> dict[str, list]:
    """folder -> the ids of its images in the order of their names."""
    images = content.get("images")
    if not isinstance(images, list):
        raise BadFile(path, "no list 'images' beside 'annotations'", "the images, with their names")
    found: dict[str, list] = {}
    known = set()
    for number, image in enumerate(images):
        key = image.get("id") if isinstance(image, dict) else None
        name = image.get("file_name") if isinstance(image, dict) else None
        if type(key) not in (int, str) or not isinstance(name, str):
            raise BadFile(path, f"no 'id' and 'file_name' in images[{number}]", "both")
        if key in known:
            raise BadFile(path, f"the image id {key!r} twice", "every image once")
        known.add(key)
        folder = str(PurePosixPath(name.replace("\\", "/")).parent)
        found.setdefault("" if folder == "." else folder, []).append((_natural(name), key))
    return {folder: [key for _, key in sorted(ids)] for folder, ids in found.items()}


def _id(entry: object, number: int, path: object) -> int | str:
    key = entry.get("image_id") if isinstance(entry, dict) else None
    if type(key) not in (int, str):
        raise BadFile(path, f"no 'image_id' in annotation {number}", "the id of an image")
    return key


def _person(entry: dict, is_truth: bool, place: str, path: object, layout: str) -> Person:
    flat = entry.get("keypoints")
    if not isinstance(flat, list) or len(flat) % 3:
        found = f"{len(flat)} numbers" if isinstance(flat, list) else "no list"
        raise BadFile(path, f"{found} under 'keypoints' of {place}", "x, y, v for each joint")
    rows = [flat[at : at + 3] for at in range(0, len(flat), 3)]
    numbers = keypoints.matrix(rows, "xyv", place, path, layout)
    scores = numbers[:, 2]
    if is_truth and set(scores) <= {0.0, 1.0, 2.0}:
        scores = scores / 2
    key = next((entry[k] for k in _IDS if type(entry.get(k)) is int), None)
    return Person(numbers[:, :2], scores, key)


def _names(content: object) -> tuple[str, ...]:
    """The names of the joints in the category of people; () if there are none."""
    categories = content.get("categories") if isinstance(content, dict) else None
    for category in categories if isinstance(categories, list) else ():
        names = category.get("keypoints") if isinstance(category, dict) else None
        if isinstance(names, list) and names:
            return tuple(map(str, names))
    return ()


def _natural(name: int | str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in a name by their size."""
    parts = re.findall(r"\d+|\D+", str(name))
    return [
        (0, int(part), "") if part.isdecimal() and len(part) < 1000 else (1, 0, part)
        for part in parts
    ]
