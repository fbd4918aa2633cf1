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
from pathlib import Path

from amr_jax.errors import UserError, did_you_mean
from amr_jax.run import paths

_MOST = 12  # strips in one picture
_MASKS = 32  # that attention is averaged over


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.show`."""
    if flags.what not in WHAT:
        hint = did_you_mean(flags.what or "", WHAT)
        found = "WHAT is missing" if flags.what is None else f"unknown picture {flags.what!r}"
        raise UserError(f"{found}: expected one of {', '.join(WHAT)}.{hint or ''}")
    kind, moves = Path(flags.out).suffix.lower(), (".gif", ".mp4", ".html")
    kinds = (".png", ".pdf", ".svg", *(moves if flags.what == "clip" else ()))
    if kind not in kinds:
        raise UserError(f"--out={flags.out}: expected a name that ends in {', '.join(kinds)}.")
    if flags.what not in ("clip", "curves") and not flags.run:
        raise UserError("--run is missing: the workdir of a pre-training run.")
    # Imported late: slips of the command line are told before JAX is there.
    from amr_jax.pictures import style
    from amr_jax.run import workdir

    workdir.refuse_own_file(flags.out, "--out")
    flags.inches = style.WIDTHS[flags.width]
    if kind in moves:
        content, said = _animation(flags, kind)
    else:
        figure, said = WHAT[flags.what](flags)
        content = style.content(figure, kind, flags.dpi)
    workdir.write(paths.absolute(flags.out), content)
    print(f"{flags.out}: {said}")


def _clips(flags: argparse.Namespace) -> list:
    """The clips that the flags name, with titles: (title, `clips.Clip`), `_MOST` at most."""
    from amr_jax.inference import read_file
    from amr_jax.pictures import clips

    if flags.files:
        options = read_file.Options()
        paths.refuse_input(flags.out, "--out", read_file.on_disk(flags.files, options))
        found = clips.of_files(flags.files, flags.layout, flags.channels)
        start, count = (0, _MOST + 1) if flags.index is None else (flags.index, 1)
        chosen = list(itertools.islice(found, start, start + count))
        if not 0 < len(chosen) <= _MOST:
            count = f"more than {_MOST}" if chosen else f"no more than {flags.index}"
            raise UserError(f"{flags.files[0]}: found {count} sequences; expected --index= of one.")
    elif flags.dataset:
        where = flags.data_dir, flags.dataset, flags.split, flags.index or 0
        chosen = [clips.of_record(*where)]
    else:
        raise UserError("expected files to draw, or --dataset=NAME --data_dir=DIR --index=N.")
    return [(flags.title or one.name.rpartition("/")[2], one) for one in chosen]


def _animation(flags: argparse.Namespace, kind: str) -> tuple[bytes, str]:
    from amr_jax.pictures import moving

    (title, one), *others = _clips(flags)
    if others:
        raise UserError(
            f"--out={flags.out}: found {1 + len(others)} sequences; expected one file, and "
            "--index= if it has several. A .png, .pdf or .svg draws several."
        )
    how = {"up": flags.up, "angles": (flags.azimuth, flags.elevation), "channels": one.channels}
    content = moving.animation(one.joints, one.layout, kind, fps=flags.fps, title=title, **how)
    return content, f"{len(one.joints)} frames of {one.name}"


def _clip(flags: argparse.Namespace) -> tuple:
    from amr_jax.pictures import skeleton

    found = _clips(flags)
    rows = [(title, one.joints, one.layout, one.channels) for title, one in found]
    view = flags.up, (flags.azimuth, flags.elevation)
    figure = skeleton.film_strips(rows, flags.columns, flags.inches, *view)
    return figure, ", ".join(one.name for _, one in found)


def _look(flags: argparse.Namespace, masks: int):
    """What pre-training sees of the clip that the flags name."""
    from amr_jax.pictures import look

    if len(flags.files) > 1:
        raise UserError(f"found {len(flags.files)} files; expected one, or --index= of a record.")
    where = {key: getattr(flags, key) for key in ("dataset", "data_dir", "split")}
    clip = look.given(flags.run, *flags.files, index=flags.index or 0, **where)
    return look.of_run(flags.run, clip, flags.step, flags.seed, masks)


def _seen(flags: argparse.Namespace) -> tuple:
    from amr_jax.pictures import seen

    found, how = _look(flags, 1), {"title": flags.title or "", "width": flags.inches}
    return seen.seen(found, columns=flags.columns, **how), found.name


def _attention(flags: argparse.Namespace) -> tuple:
    from amr_jax.pictures import attention

    found, how = _look(flags, _MASKS), {"title": flags.title or "", "width": flags.inches}
    return attention.attention(found, **how), found.name


def _features(flags: argparse.Namespace) -> tuple:
    """The training split and the split of the flags, with features."""
    from amr_jax.pictures import features

    keys = "dataset", "data_dir", "split", "step", "readout"
    return features.of_run(flags.run, **{key: getattr(flags, key) for key in keys})


def _neighbours(flags: argparse.Namespace) -> tuple:
    from amr_jax.pictures import features

    bank, queries = _features(flags)
    rows = features.chosen(queries.labels, flags.rows, flags.seed)
    if flags.index is not None:
        if flags.index >= len(queries.labels):
            raise UserError(f"--index={flags.index}: found {len(queries.labels)} clips, from 0.")
        rows = [flags.index]
    figure = features.neighbours_of(bank, queries, rows, width=flags.inches)
    return figure, f"neighbours of {len(rows)} among {len(bank.labels):,} training clips"


def _map(flags: argparse.Namespace) -> tuple:
    from amr_jax.pictures import features

    _, clips = _features(flags)
    places = features.embedded(clips.features, flags.method, flags.seed)
    how = {"title": flags.title or "", "width": flags.inches}
    return features.class_map(clips, places, **how), f"{len(places):,} clips"


def _curves(flags: argparse.Namespace) -> tuple:
    from amr_jax.pictures import curves

    if not flags.files:
        raise UserError("expected workdirs of runs: amr-jax show curves RUN1 RUN2 --out=FILE.")
    runs, how = curves.read(flags.files), {"title": flags.title or "", "width": flags.inches}
    return curves.curves(runs, flags.metrics.split(","), over=flags.over, **how), ", ".join(runs)


WHAT = {
    "clip": _clip,
    "seen": _seen,
    "attention": _attention,
    "neighbours": _neighbours,
    "map": _map,
    "curves": _curves,
}
