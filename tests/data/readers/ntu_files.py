"""Writes `.skeleton` texts for the tests of the reader."""

import numpy as np

# Real ids are about this large: doubles there are 16 apart.
FIRST_ID = 72057594037931101


def skeleton_text(frames: list[list[tuple[int, np.ndarray]]], newline: str = "\n") -> bytes:
    """The text of a file; per frame the bodies in it: (bodyID, joints (25, 3))."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for body_id, joints in bodies:
            lines += [f"{body_id} 0 1 1 1 1 0 0.02764709 -0.05745083 2", "25"]
            for x, y, z in joints:
                lines.append(f"{x:.9g} {y:.9g} {z:.9g} 277.419 191.8218 1036.23 519.1 -0.2 0 1 0 2")
    return newline.join([*lines, ""]).encode()


def film(num_frames: int, *bodies: tuple[int, list[int], np.ndarray]):
    """Frames for `skeleton_text` out of bodies (bodyID, the frames it is in, joints (n, 25, 3))."""
    frames = [[] for _ in range(num_frames)]
    for body_id, seen, joints in bodies:
        for frame, pose in zip(seen, joints, strict=True):
            frames[frame].append((body_id, pose))
    return frames


def person(seed: int, num_frames: int, motion: float = 0.1, width: float = 0.3) -> np.ndarray:
    """(num_frames, 25, 3) float32: about 1.6 m high, `width` metres wide, walking about."""
    rng = np.random.default_rng(seed)
    pose = rng.uniform([-width / 2, -0.8, 2.9], [width / 2, 0.8, 3.1], (25, 3))
    pose[0], pose[1] = [-width / 2, -0.8, 3], [width / 2, 0.8, 3]  # its exact extent
    walk = motion * rng.standard_normal((num_frames, 1, 3))
    return (pose + walk).astype(np.float32)
