"""The report of a pre-training run."""

import os
from collections.abc import Mapping

import jax
import ml_collections
from etils import epath

from amr_jax.config.comparison import COLLAPSE
from amr_jax.errors import cause
from amr_jax.report import curves, page
from amr_jax.run import console, metrics, workdir

# Metrics in the order of the page, and their titles; others follow, folded.
_CURVES = {
    "loss": "loss",
    "learning_rate": "learning rate",
    "grad_norm": "norm of the gradient",
    "sequences_per_s": "sequences per second",
    **COLLAPSE,
}
# Compiling the picture of the prediction takes seconds; so short a run has nothing to show.
_FEWEST_STEPS = 100
_NOT_DRAWN = {"step", "epoch", "time", "timed_seconds", "timed_steps"}


def content(folder: os.PathLike | str, command: str | None, facts: Mapping[str, str]) -> str:
    """The page of a finished run.

    Args:
      folder: its workdir.
      command: the command line; None: the run was started from Python, or by a comparison.
      facts: what was trained, on which data and devices, by name.
    """
    folder = epath.Path(folder)
    config, lines = workdir.read_config(folder), metrics.read_metrics(folder)
    last = lines[-1]
    drawn = {
        key: curves.chart(_CURVES.get(key, key), {"": curves.of_metrics(lines, key)})
        for key in [*_CURVES, *(sorted(last.keys() - _CURVES.keys() - _NOT_DRAWN))]
    }
    changed, others = page.options(config)
    picture, about = _reconstruction(folder, config, last["step"])
    return page.render(
        "pretraining.html",
        title=f"{config.method} on {config.dataset}",
        kind="Pre-training",
        folder=folder,
        command=command,
        tiles=_tiles(last, config.epochs),
        facts=facts,
        main_charts=[drawn[key] for key in _CURVES if drawn[key]],
        more_charts=[x for key, x in drawn.items() if key not in _CURVES and x],
        picture=picture,
        about_picture=about,
        changed=changed,
        others=others,
        versions=page.versions(folder),
        links=page.links(folder),
    )


def _reconstruction(
    folder: epath.Path, config: ml_collections.ConfigDict, step: int
) -> tuple[str | None, str]:
    """What the run sees of its first training sequence, as the source of an image; and a text."""
    command = f"`amr-jax show seen --run={folder} --out=seen.png` draws others"
    if step < _FEWEST_STEPS:
        return None, f"Not drawn of a run of fewer than {_FEWEST_STEPS} steps; {command}."
    if jax.process_count() > 1:
        return None, f"Not drawn by a run of several processes; {command}."
    try:
        from amr_jax.pictures import look, seen, style  # late: they import a second's worth

        clip = look.given(folder, split=config.input.split)
        picture = style.png(seen.seen(look.of_run(folder, clip)))
    # A method, stream or data set of which there is none, or a bug: the page is worth more.
    except Exception as error:
        return None, f"Not drawn: {cause(error)}"
    return page.png(picture), f"The first training sequence, {clip.name}; {command}."


def _tiles(last: Mapping[str, float], epochs: float) -> list[tuple[str, str, str]]:
    """The numbers at the top: (name, value, what it is)."""
    tiles = [("loss", f"{last['loss']:.4f}", "mean over the last dispatch")]
    tiles.append(("epochs", f"{epochs:g}", f"{last['step']:,} steps"))
    if timed := last.get("timed_steps"):
        seconds = last["timed_seconds"] / timed * last["step"]
        tiles.append(("training time", console.duration(seconds), "without compilation"))
    if rate := last.get("sequences_per_s"):
        tiles.append(("speed", f"{rate:,.0f}", "sequences per second"))
    return tiles
