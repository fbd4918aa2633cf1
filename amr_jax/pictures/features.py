"""Features of a frozen encoder, drawn: nearest neighbours, and a map of all clips by class."""

import dataclasses
import os
from collections.abc import Callable

import jax
import matplotlib.patheffects
import numpy as np
from matplotlib.figure import Figure

from amr_jax.config import files
from amr_jax.data import datasets
from amr_jax.data.split import place, read
from amr_jax.errors import UserError
from amr_jax.evaluation import encoder_under_test, neighbours
from amr_jax.evaluation.task import Task
from amr_jax.evaluation.twins import Twins
from amr_jax.models.settings import matmul_precision
from amr_jax.pictures import project, skeleton
from amr_jax.pictures.style import BAD, COLUMN, CYCLE, GOOD, MARGIN, PAGE, Sheet, styled
from amr_jax.run import paths, sharding, workdir
from amr_jax.skeleton.layouts import Layout

_MARKERS = "os^DvPX*<>hpd8"
_FRAMES = 3  # of a neighbour's strip


@dataclasses.dataclass(frozen=True, eq=False)
class Clips:
    """The clips of a split, with features.

    Attributes:
      features: (S, F), as protocols of evaluation see them.
      labels: (S,) numbers of `class_names`.
      shown: (S,) numbers of performances, equal for what several cameras recorded.
      clip: number -> its joints (T, M, V, C).
      layout, channels: of the joints.
    """

    features: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    shown: np.ndarray
    clip: Callable[[int], np.ndarray]
    layout: Layout
    channels: str


def of_run(
    run: os.PathLike | str,
    *,
    dataset: str | None = None,
    data_dir: str | None = None,
    split: str = "test",
    step: int | None = None,
    readout: str = "mean",
) -> tuple[Clips, Clips]:
    """The training split and `split` by the encoder of a pre-training run, as in the protocol knn.

    Args:
      run: its workdir.
      dataset, data_dir: records; None: those of the run. Other joints are matched by name.
      split: queries. step: of the checkpoint; None: the newest. readout: one of `heads.READOUTS`.
    """
    trained = workdir.read_config(paths.absolute(run))
    config = files.get_config(f"knn:{dataset or trained.dataset}")
    config.update({"pretrained": os.fspath(run), "step": step, "readout": readout})
    config.update({"test_split": split, "random_encoder": False, "data_dir": data_dir})
    config.adapt = dataset not in (None, trained.dataset)  # joints are matched by name
    subject = encoder_under_test.Subject.of(config)
    config, row, mesh = subject.config, datasets.get(subject.config.dataset), sharding.make_mesh()
    sources = subject.open_records()
    splits = [place(read(source, mesh), mesh) for source in sources]
    task = Task(
        encoder=subject.encoder,
        params=sharding.put(subject.params["pretrained"], sharding.replicated(mesh)),
        pretrained=True,
        train=splits[0],
        test=splits[1],
        num_classes=len(splits[0].host.class_names),
        readout=readout,
        **encoder_under_test.views(config, subject.seen),
    )
    with matmul_precision(subject.encoder.dtype, config.matmul_precision):
        found = jax.device_get(neighbours.frozen(task, config))
    hosts = [one.host for one in splits]
    twins = Twins.of(row, *hosts)
    shown = [np.full(len(hosts[0].label), -1), np.full(len(hosts[1].label), -2)]
    shown = shown if twins is None else [twins.train, twins.test]
    return tuple(
        Clips(values, host.label, host.class_names, who, of.joints, row.layout, row.channels)
        for values, host, who, of in zip(found, hosts, shown, sources, strict=True)
    )


def nearest(bank: Clips, queries: Clips, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the nearest clips of the bank, (Q, count), and their cosine similarities.

    Clips of the query's own performance, by another camera, are left out.
    """
    x, y = (
        one.features / np.maximum(np.linalg.norm(one.features, axis=1, keepdims=True), 1e-12)
        for one in (queries, bank)
    )
    similarity = np.where(queries.shown[:, None] == bank.shown, -np.inf, x @ y.T)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(similarity, order, axis=1)


def chosen(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Numbers of clips, at random, of as many classes as possible."""
    drawn = np.random.default_rng(seed).permutation(len(labels))
    _, first = np.unique(labels[drawn], return_index=True)
    rest = np.setdiff1d(np.arange(len(drawn)), first)
    return drawn[np.concatenate([np.sort(first), rest])[:count]]


@styled
def neighbours_of(
    bank: Clips, queries: Clips, rows: np.ndarray, *, count: int | None = None, width: float = PAGE
) -> Figure:
    """Clips, and at their right their nearest neighbours, with marks of right and wrong classes.

    Args:
      bank, queries: see `of_run`.
      rows: numbers of queries.
      count: neighbours of each; None: 4 on a page, 2 in a column.
      width: inches.
    """
    count = min(count or (4 if width > COLUMN else 2), len(bank.labels))
    one = dataclasses.replace(queries, features=queries.features[rows], shown=queries.shown[rows])
    order, similarity = nearest(bank, one, count)
    sheet = Sheet(width)
    cell = (width - 2 * MARGIN) / (count + 1)
    letters = int(cell * 72 / (0.6 * 7)) - 1
    for i, query in enumerate(rows):
        cells = [(queries, int(query), "", "black")]
        for j, cosine in zip(order[i], similarity[i], strict=True):
            right = bank.labels[j] == queries.labels[query]
            text, colour = ("✓", GOOD) if right else ("✗", BAD)
            cells.append((bank, int(j), f"{text} {cosine:.2f} ", colour))
        top, deepest = sheet.depth, sheet.depth
        for k, (clips, number, text, colour) in enumerate(cells):
            sheet.depth, left = top, MARGIN + k * cell
            text += clips.class_names[clips.labels[number]]
            room = letters if k else int(0.85 * letters)  # bold type is wider
            text = text if len(text) <= room else text[: room - 1] + "…"
            sheet.text(text, left, size=7, color=colour, weight="normal" if k else "bold")
            _small(sheet, clips, number, left, cell - 0.08)
            deepest = max(deepest, sheet.depth)
        sheet.depth = deepest + 0.06
    sheet.text(
        "Left: clips. Right of each: its nearest neighbours among the training clips by cosine "
        "similarity of features, ✓ of its class, ✗ of another.",
        size=7,
    )
    return sheet.done()


def _small(sheet: Sheet, clips: Clips, number: int, left: float, width: float) -> None:
    clip = clips.clip(number)
    frames = np.linspace(0, len(clip) - 1, _FRAMES + 2).round().astype(int)[1:-1]
    points = project.points(clip, clips.layout, clips.channels)[frames]
    if np.isfinite(points).any():
        row = skeleton.Row("", points)
        skeleton.strip(sheet, [row], clips.layout, [""] * _FRAMES, left, width, tallest=0.75)


def embedded(features: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Features (S, F) of unit length in two dimensions, (S, 2), by t-SNE or UMAP.

    Raises:
      UserError: the library is not installed; fewer than five clips.
    """
    if len(features) < 5:
        raise UserError(f"found {len(features)} clips; expected five or more for a map.")
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    try:
        if method == "umap":
            from umap import UMAP

            near = min(15, len(unit) - 1)
            return UMAP(n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(unit)
        from sklearn.manifold import TSNE

        near = min(30, (len(unit) - 1) // 3)
        return TSNE(perplexity=near, init="pca", random_state=seed).fit_transform(unit)
    except ImportError as error:
        raise UserError(
            f"--method={method}: {error.name} is not installed; pip install 'amr_jax[show]'."
        ) from error


@styled
def class_map(clips: Clips, places: np.ndarray, *, title: str = "", width: float = PAGE) -> Figure:
    """All clips as points, with a colour and a marker for each class, a number where it is densest.

    Args:
      clips: see `of_run`. places: see `embedded`.
      title: above; '' for none.
      width: inches.
    """
    sheet = Sheet(width)
    if title:
        sheet.text(title)
    across = width - 2 * MARGIN
    axes = sheet.axes(MARGIN, across, 0.72 * across)
    axes.set(xticks=[], yticks=[])
    classes, handles = np.unique(clips.labels), []
    size = 14 if len(places) < 1000 else 5
    for i, label in enumerate(classes):
        own = places[clips.labels == label]
        look = {"color": CYCLE[i % len(CYCLE)], "marker": _MARKERS[i // len(CYCLE) % len(_MARKERS)]}
        axes.scatter(*own.T, s=size, linewidths=0, alpha=0.8, **look)
        name = f"{label} {clips.class_names[label]}"
        name = name if len(name) <= 27 else name[:26] + "…"
        handles += axes.plot([], [], linestyle="", markersize=3.5, label=name, mew=0, **look)
        edge = [matplotlib.patheffects.withStroke(linewidth=1.6, foreground="white")]
        apart = np.sort(np.linalg.norm(own[:, None] - own, axis=-1), axis=1)
        dense = own[apart[:, min(5, len(own) - 1)].argmin()]
        axes.text(*dense, f"{label}", fontsize=7, ha="center", va="center", path_effects=edge)
    columns = max(1, int(across / 1.6))
    rows = -(-len(classes) // columns)
    below = sheet.axes(MARGIN, across, 0.107 * rows + 0.08)
    below.set_axis_off()
    below.legend(
        handles=handles, ncols=columns, fontsize=6, loc="upper left", frameon=False,
        bbox_to_anchor=(0, 1), borderpad=0, handletextpad=0.1, columnspacing=0.8,
        labelspacing=0.25, borderaxespad=0.4,
    )  # fmt: skip
    return sheet.done()
