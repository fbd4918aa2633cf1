r"""Command: draws clips, what pre-training sees, attention, neighbours, features and curves.

    amr-jax show clip FILE… --out=clip.png
    amr-jax show seen --run=RUN --out=seen.pdf
    amr-jax show curves RUN1 RUN2 --out=curves.pdf

docs/show.md has every kind of picture, and its flags.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("show")


import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

from amr_jax.errors import UserError, did_you_mean
from amr_jax.run import paths, workdir

_MOST = 12  # strips in one picture
_MASKS = 32  # that attention is averaged over


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.show`."""
    if flags.what not in WHAT:
        hint = did_you_mean(flags.what or "", WHAT)
        found = "WHAT is missing" if flags.what is None else f"unknown picture {flags.what!r}"
        raise UserError(f"{found}: expected one of {', '.join(WHAT)}.{hint or ''}")
    draw, kinds = WHAT[flags.what]
    if Path(flags.out).suffix.lower() not in kinds:
        raise UserError(f"--out={flags.out}: expected a name that ends in {', '.join(kinds)}.")
    workdir.refuse_own_file(flags.out, "--out")
    content, said = draw(flags)
    workdir.write(paths.absolute(flags.out), content)
    print(f"{flags.out}: {said}")


def _clip(flags: argparse.Namespace) -> tuple[bytes, str]:
    from amr_jax.pictures import moving, skeleton, style

    found = _clips(flags)
    kind, how = Path(flags.out).suffix.lower(), {"up": flags.up}
    how["angles"] = flags.azimuth, flags.elevation
    titles = [flags.title or one.name.rpartition("/")[2] for one in found]
    if kind in moving.FORMATS:
        one, title = found[0], titles[0]
        how |= {"channels": one.channels, "fps": flags.fps, "title": title}
        content = moving.animation(one.joints, one.layout, kind, **how)
        return content, f"{len(one.joints)} frames of {one.name}"
    rows = [
        (title, one.joints, one.layout, one.channels)
        for title, one in zip(titles, found, strict=True)
    ]
    width = style.WIDTHS[flags.width]
    figure = skeleton.film_strips(rows, columns=flags.columns, width=width, **how)
    return style.content(figure, kind), ", ".join(one.name for one in found)


def _clips(flags: argparse.Namespace) -> list:
    """The clips that the flags name: one for an animation, `_MOST` at most for a strip."""
    from amr_jax.inference import read_inputs
    from amr_jax.pictures import clips

    if not flags.files:
        if not flags.dataset:
            raise UserError("expected files to draw, or --dataset=NAME --data_dir=DIR --index=N.")
        index = flags.index or 0
        return [clips.of_record(flags.data_dir, flags.dataset, flags.split, index)]
    options = read_inputs.Options()
    paths.refuse_input(flags.out, "--out", read_inputs.on_disk(flags.files, options))
    found = clips.of_files(flags.files, flags.layout, flags.channels)
    if flags.index is None:
        chosen = list(itertools.islice(found, _MOST + 1))
        if len(chosen) > _MOST:
            raise UserError(f"{flags.files[0]}: more than {_MOST} sequences; expected --index=N.")
        return chosen
    every = 0
    for every, one in enumerate(found, start=1):
        if every > flags.index:
            return [one]
    raise UserError(f"--index={flags.index}: found {every} sequences; expected --index= below.")


def _look(flags: argparse.Namespace, masks: int):
    """What pre-training sees of the clip that the flags name."""
    from amr_jax.pictures import look

    if not flags.run:
        raise UserError("--run is missing: the workdir of a pre-training run.")
    if len(flags.files) > 1:
        raise UserError(f"found {len(flags.files)} files; expected one, or --index= of a record.")
    file = flags.files[0] if flags.files else None
    keys = "dataset", "data_dir", "split"
    where = {key: getattr(flags, key) for key in keys}
    clip = look.given(flags.run, file, index=flags.index or 0, **where)
    return look.of_run(flags.run, clip, flags.step, flags.seed, masks)


def _seen(flags: argparse.Namespace) -> tuple[bytes, str]:
    from amr_jax.pictures import seen, style

    found, width = _look(flags, masks=1), style.WIDTHS[flags.width]
    figure = seen.seen(found, columns=flags.columns, title=flags.title or "", width=width)
    return style.content(figure, Path(flags.out).suffix.lower()), f"{found.name}"


def _attention(flags: argparse.Namespace) -> tuple[bytes, str]:
    from amr_jax.pictures import attention, style

    found, width = _look(flags, masks=_MASKS), style.WIDTHS[flags.width]
    figure = attention.attention(found, title=flags.title or "", width=width)
    return style.content(figure, Path(flags.out).suffix.lower()), f"{found.name}"


def _features(flags: argparse.Namespace) -> tuple:
    """The training split and the split of the flags, with features."""
    from amr_jax.pictures import features

    if not flags.run:
        raise UserError("--run is missing: the workdir of a pre-training run.")
    keys = "dataset", "data_dir", "split", "step", "readout"
    return features.of_run(flags.run, **{key: getattr(flags, key) for key in keys})


def _neighbours(flags: argparse.Namespace) -> tuple[bytes, str]:
    import numpy as np

    from amr_jax.pictures import features, style

    bank, queries = _features(flags)
    rows = features.chosen(queries.labels, flags.rows, flags.seed)
    if flags.index is not None:
        if flags.index >= len(queries.labels):
            raise UserError(f"--index={flags.index}: found {len(queries.labels)} clips, from 0.")
        rows = np.array([flags.index])
    figure = features.neighbours_of(bank, queries, rows, width=style.WIDTHS[flags.width])
    said = f"neighbours of {len(rows)} among {len(bank.labels):,} training clips"
    return style.content(figure, Path(flags.out).suffix.lower()), said


def _map(flags: argparse.Namespace) -> tuple[bytes, str]:
    from amr_jax.pictures import features, style

    _, clips = _features(flags)
    places = features.embedded(clips.features, flags.method, flags.seed)
    width = style.WIDTHS[flags.width]
    figure = features.class_map(clips, places, title=flags.title or "", width=width)
    return style.content(figure, Path(flags.out).suffix.lower()), f"{len(places):,} clips"


def _curves(flags: argparse.Namespace) -> tuple[bytes, str]:
    from amr_jax.pictures import curves, style

    if not flags.files:
        raise UserError("expected workdirs of runs: amr-jax show curves RUN1 RUN2 --out=FILE.")
    runs, metrics = curves.read(flags.files), flags.metrics.split(",")
    width, title = style.WIDTHS[flags.width], flags.title or ""
    figure = curves.curves(runs, metrics, over=flags.over, title=title, width=width)
    return style.content(figure, Path(flags.out).suffix.lower()), ", ".join(runs)


# What can be drawn: the function, and the ends of names of its files.
_PICTURES = (".png", ".pdf", ".svg")
WHAT: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "clip": (_clip, (*_PICTURES, ".gif", ".mp4", ".html")),
    "seen": (_seen, _PICTURES),
    "attention": (_attention, _PICTURES),
    "neighbours": (_neighbours, _PICTURES),
    "map": (_map, _PICTURES),
    "curves": (_curves, _PICTURES),
}
