"""Published figures of the rows of configs/compare.py, ablation.py and streams.py.

Source: the tables of "Exploring Adaptive Masked Reconstruction for Self-Supervised Skeleton-Based
Action Recognition" (CVPR 2026): linear evaluation on the joint stream; costs of 400 epochs of
NTU-60 x-sub on one L20 GPU, GFLOPs of a forward pass of one sequence (two bodies). Its ablations
are on NTU-60 x-sub and NTU-120 x-sub. They are the authors' figures, and were not reproduced here.
Rows with other sources say so.
"""

import dataclasses
from collections.abc import Iterable

# The data set on which all rows have an accuracy.
COMMON = "ntu60_xsub"


@dataclasses.dataclass(frozen=True)
class Published:
    """Published figures of one method; None where there is none.

    Attributes:
      predicted_patches: per body.
      gflops: of a forward pass.
      hours: of pre-training.
      speed_up: of pre-training, relative to MAMP.
      linear: name in `amr_jax.data.datasets` -> top-1 of linear evaluation, a fraction.
    """

    predicted_patches: int | None = None
    gflops: float | None = None
    hours: float | None = None
    speed_up: float | None = None
    linear: dict[str, float] = dataclasses.field(default_factory=dict)

    def costs(self) -> dict[str, float | None]:
        """All figures but the accuracies."""
        return {key: value for key, value in vars(self).items() if key != "linear"}


def _percent(*values: float) -> dict[str, float]:
    sets = ("ntu60_xsub", "ntu60_xview", "ntu120_xsub", "ntu120_xset", "pku2_xsub")
    return {name: round(value / 100, 3) for name, value in zip(sets, values, strict=True)}


def _ablation(ntu60: float, ntu120: float) -> Published:
    accuracies = {"ntu60_xsub": ntu60, "ntu120_xsub": ntu120}
    return Published(125, linear={name: round(x / 100, 3) for name, x in accuracies.items()})


_AMR = Published(125, 3.8, 3.7, 8.1, _percent(87.4, 92.3, 81.1, 81.9, 60.3))

# On small sets of one Kinect, skeletons alone, top-1 %, as surveyed in November 2026. Supervised,
# cross-subject, with protocols that differ between papers; on NW-UCLA, cross-view, by the linear
# probe on self-supervised encoders: P&C 84.9, GL-Transformer 90.4, Colorization 91.1, SOfA 92.9.
SMALL_SETS = {
    "nwucla": "84.9–92.9",
    "utd": "90–97",
    "msr": "85–95",
    "kard": "95–100",
    "utkinect": "95–99",
    "florence": "90–96",
}

ROWS = {
    "skeleton_mae": Published(750, 13.7, 29.9, 1.0, _percent(74.8, 77.7, 72.5, 73.5, 36.1)),
    "mamp": Published(750, 13.7, 29.9, 1.0, _percent(84.9, 89.1, 78.6, 79.1, 53.8)),
    "sjepa": Published(750, 32.8, 139.8, 0.2, _percent(85.3, 89.8, 79.6, 79.9, 53.5)),
    "gfp": Published(251, 4.1, 4.9, 6.1, _percent(85.9, 92.0, 79.1, 80.3, 56.2)),
    "nat_con": Published(750, 32.8, 46.6, 0.6, _percent(86.9, 91.0, 80.0, 81.5, 55.3)),
    "amr": _AMR,
    # STARS, from its paper; not by AMR's authors, and costs are not comparable.
    "mamp_stars": Published(linear=_percent(87.1, 90.9, 79.9, 80.8, 52.7)),
    # USDRL+, a later version, by its authors; its encoder is another one.
    "usdrl": Published(linear=_percent(85.8, 91.8, 77.5, 78.8, 54.7)),
    # SLiM, by its authors, the best of 52 classifiers each; its encoder is another one.
    "slim": Published(
        linear={
            "ntu60_xsub": 0.879,
            "ntu60_xview": 0.932,
            "ntu120_xsub": 0.812,
            "ntu120_xset": 0.836,
        }
    ),
    "baseline1": _ablation(84.8, 76.3),
    "baseline2": _ablation(78.9, 70.2),
    "dd": _ablation(86.0, 80.1),
    "full": _AMR,
    "joint": _AMR,
    "mca_msa": _ablation(87.2, 81.2),
}


def of(row: str) -> Published:
    """The figures of a row; all None for a row without any."""
    return ROWS.get(row, Published())


def accuracies_on(rows: Iterable[str], dataset: str) -> str:
    """The data set of the accuracies to show: `dataset` if all published `rows` have one there."""
    known = [ROWS[row].linear for row in rows if row in ROWS]
    return dataset if known and all(dataset in linear for linear in known) else COMMON
