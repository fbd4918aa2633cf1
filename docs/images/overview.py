"""Draws overview.svg: one clip of the built-in data on its way through AMR.

    python docs/images/overview.py

The figures, the mask and the weight map are computed by the package; boxes are placed by hand.
"""

import itertools
from pathlib import Path

import jax
import numpy as np

from amr_jax.ops import masking, motion_energy
from amr_jax.skeleton import layouts
from amr_jax.synthetic import performance

FRAMES, JOINTS, PATCH_LEN, R = 120, 25, 4, 6
TIMES = FRAMES // PATCH_LEN
INK, GREY, BLUE, ORANGE = "#24292f", "#d8dee4", "#2f6fd0", (217, 95, 2)


def clip() -> np.ndarray:
    """(T, V, 3): the action "wave hand", cut or stretched to 120 frames."""
    take = performance.Take(setup=1, performer=3, replication=1, action=23)
    joints = performance.perform(seed=0, take=take)[0]
    return joints[np.linspace(0, len(joints) - 1, FRAMES).astype(int)]


def rect(x, y, width, height, fill, extra="") -> str:
    """A rectangle."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}"{extra}/>'


def text(x, y, words, size=12, weight="normal", fill=INK) -> str:
    """Centred text."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="{fill}" '
        f'text-anchor="middle">{words}</text>'
    )


def box(x, y, width, height, title, *lines) -> str:
    """A rounded box with a title and lines below it."""
    middle, top = x + width / 2, y + height / 2 - 8 * len(lines) + 4
    edge = f' stroke="{BLUE}" stroke-width="1.5" rx="8"'
    return rect(x, y, width, height, "#eef4fd", edge) + "".join(
        text(middle, top + 17 * i, line, 14 if i == 0 else 11, "bold" if i == 0 else "normal")
        for i, line in enumerate((title, *lines))
    )


def arrow(*points) -> str:
    """A line through points, with a head at its end."""
    path = " L ".join(f"{x:g} {y:g}" for x, y in points)
    return (
        f'<path d="M {path}" fill="none" stroke="{INK}" stroke-width="1.5" marker-end="url(#a)"/>'
    )


def figures(joints, x, y, width, height) -> str:
    """Five moments of a clip as stick figures."""
    moments = joints[np.linspace(8, FRAMES - 12, 5).astype(int)]
    scale = height / 2.3
    lines, heads = [], []
    for i, moment in enumerate(moments):
        middle = x + (i + 0.5) * width / len(moments)
        px = middle + scale * (moment[:, 0] - moment[0, 0])
        py = y + height - scale * moment[:, 1]
        heads.append(f'<circle cx="{px[3]:.1f}" cy="{py[3]:.1f}" r="6" fill="{INK}"/>')
        lines += [
            f"M {px[child]:.1f} {py[child]:.1f} L {px[parent]:.1f} {py[parent]:.1f}"
            for child, parent in layouts.NTU_25.bones
            if child != parent
        ]
    return (
        f'<path d="{" ".join(lines)}" fill="none" stroke="{INK}" stroke-width="2" '
        'stroke-linecap="round"/>' + "".join(heads)
    )


def grid(x, y, colours, cell_width, cell_height) -> str:
    """Cells in rows of joints and columns of time; equal neighbours in a row are one rectangle."""
    cells = []
    for row, line in enumerate(colours):
        starts = [0] + [i for i in range(1, len(line)) if line[i] != line[i - 1]] + [len(line)]
        cells += [
            rect(
                x + a * cell_width,
                y + row * cell_height,
                (b - a) * cell_width,
                cell_height,
                line[a],
            )
            for a, b in itertools.pairwise(starts)
        ]
    width, height = len(colours[0]) * cell_width, len(colours) * cell_height
    frame = rect(x, y, width, height, "none", f' stroke="{INK}" stroke-width="1"')
    return '<g shape-rendering="crispEdges">' + "".join(cells) + "</g>" + frame


def shade(weight: float) -> str:
    """White at 0, orange at 1, in 16 steps."""
    weight = round(float(weight) * 15) / 15
    return "#" + "".join(f"{round(255 + (c - 255) * weight):02x}" for c in ORANGE)


def draw() -> str:
    """The picture, as the text of an SVG file."""
    joints = clip()
    weights = motion_energy.motion_weights(
        joints,
        np.ones(joints.shape[:2], bool),
        windows=(4, 8, 12),
        kind="ratio",
        k=0.01,
        epsilon=1e-8,
        energy_threshold="body",
    )
    ids = masking.random_mask(jax.random.key(1), TIMES * JOINTS, 75)
    visible = np.zeros(TIMES * JOINTS, bool)
    visible[np.asarray(ids)] = True
    patches = [[BLUE if v else GREY for v in row] for row in visible.reshape(TIMES, JOINTS).T]
    map_ = [[shade(w) for w in row] for row in np.asarray(weights)[::PATCH_LEN].T]
    queries = [
        [("#a9c7f2", "#c9dcf7")[(i + j) % 2] for i in range(TIMES // R)] for j in range(JOINTS)
    ]

    parts = [
        text(110, 30, "clip X", 14, "bold"),
        figures(joints, 15, 45, 190, 125),
        text(110, 190, "120 frames × 25 joints", 11),
        arrow((212, 108), (238, 108)),
        text(305, 30, "patches, 90 % hidden", 14, "bold"),
        grid(245, 45, patches, 4, 5),
        text(305, 190, "30 times × 25 joints = 750; 75 visible", 11),
        arrow((372, 108), (405, 108)),
        box(410, 68, 130, 80, "encoder", "8 blocks", "visible patches only"),
        arrow((540, 108), (583, 108)),
        text(562, 98, "Hᵥ", 12),
        box(588, 68, 150, 80, "query decoder", "125 learned queries", "cross-attention, 5 blocks"),
        arrow((738, 108), (771, 108)),
        text(805, 30, "prediction Xₚ", 14, "bold"),
        grid(778, 45, queries, 11, 5),
        text(805, 190, "125 large patches", 11),
        arrow((840, 108), (868, 108)),
        box(
            873,
            62,
            152,
            92,
            "focal loss",
            "mean ‖√W ⊙ (Xₚ − Xₜ)‖²",
            "Xₜ: motion,",
            "normalised per patch",
        ),
        arrow((110, 200), (110, 318), (228, 318)),
        text(170, 308, "motion energy", 12),
        text(170, 334, "windows of 4, 8, 12", 11),
        grid(236, 256, map_, 4.6, 5),
        text(305, 398, "weight map W: orange where joints move", 11),
        arrow((381, 318), (949, 318), (949, 160)),
        arrow((475, 148), (475, 205)),
        text(475, 222, "kept: linear probe, 1-NN, fine-tuning, other data sets", 12, "bold"),
        text(475, 240, "the decoder is used in pre-training only", 11),
    ]
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1040 410" '
        'font-family="Helvetica, Arial, DejaVu Sans, sans-serif">\n'
        "<title>Adaptive Masked Reconstruction</title>\n"
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" fill="{INK}"/></marker></defs>\n'
        + rect(0, 0, 1040, 410, "#ffffff")
    )
    return head + "\n" + "\n".join(parts) + "\n</svg>\n"


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(draw(), encoding="utf-8")
