"""What all pages share: the template, atomic writing, settings, links to files."""

import base64
import contextlib
import json
import os
import posixpath
import re
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_collections
from etils import epath

from amr_jax.config import arguments, base, evaluation, files, settings
from amr_jax.run import console, paths, workdir

FILE = "report.html"

# What a reader may look for in a workdir, in the order of the page.
_FILES = {
    "results.json": "all results, in numbers",
    "results.csv": "the table of encoders",
    "results.tex": "the same for LaTeX",
    "per_class.csv": "sequences and accuracy of each class",
    "per_class.tex": "the same for LaTeX",
    "confusion_*.csv": "confusion matrix, counts",
    "confusion_*.png": "confusion matrix, picture",
    "scores.npz": "logits of the test sequences (`ensemble`)",
    "model.safetensors": "trained classifier (`predict`, `export`)",
    "metrics.jsonl": "metrics over time",
    "config.json": "resolved settings",
    "versions.json": "versions and devices",
}
_FOLDERS = {"checkpoints": "parameters (`evaluate`, `predict`)", "tensorboard": "metrics over time"}

# Values that the command fills in from data or other settings.
_FILLED_IN = {"data_dir", "input.found", "optim.min_lr", "average", "num_frames"}


def write(folder: os.PathLike | str, content: Callable[[], str], replace: bool = True) -> None:
    """Writes `report.html` atomically, on process 0.

    A report that cannot be made is a warning that names the cause, and leaves no page: the results
    are written by then, and must not be lost to a picture. The command ends with status 0.

    Args:
      folder: the workdir.
      content: makes the page.
      replace: whether to write it if there is one.
    """
    if jax.process_index() != 0:
        return
    path = epath.Path(folder) / FILE
    if path.exists() and not replace:
        return
    try:
        with console.progress_bar("writing the report"):
            workdir.write(path, content())
    except Exception as error:  # whatever it is, the results are complete without the page
        with contextlib.suppress(OSError):  # a full or read-only disk
            path.unlink(missing_ok=True)
        console.say(
            f"warning: {path}: not written ({type(error).__name__}: {error}). "
            "All other files of the workdir are complete."
        )
    else:
        console.say(f"report: {path}")


def render(template: str, **values: Any) -> str:
    """The page of a template in this folder; all texts are escaped."""
    import jinja2  # late: the page is the last thing that a command makes

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["coded"] = _coded
    return environment.get_template(template).render(**values)


def _coded(text: str) -> str:
    """A text with its `code` as such; all else is escaped."""
    import markupsafe

    return markupsafe.Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(markupsafe.escape(text))))


def png(content: bytes) -> str:
    """A picture as the source of an `img`."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def links(folder: epath.Path) -> list[tuple[str, str]]:
    """The files of a workdir that are there: (relative link, what it holds)."""
    found = [
        (path.name, about)
        for pattern, about in _FILES.items()
        for path in sorted(folder.glob(pattern))
    ]
    return found + [(f"{name}/", x) for name, x in _FOLDERS.items() if (folder / name).exists()]


def relative(target: os.PathLike | str, folder: epath.Path) -> str | None:
    """The link from a page of `folder` to the report of another workdir; None if it has none."""
    path = epath.Path(target) / FILE
    if paths.is_remote(path) != paths.is_remote(folder) or not path.exists():
        return None
    return urllib.parse.quote(posixpath.relpath(path, folder))


def options(config: ml_collections.ConfigDict) -> tuple[list[tuple], list[tuple]]:
    """The settings of a run or an evaluation: (key, value, default, help) of those changed, others.

    Changed are those that differ from the config of the method or protocol for the data set; those
    that the command fills in itself are not.
    """
    kind = "method" if "method" in config else "protocol"
    name = config[kind]
    tree = base.of_method(name) if kind == "method" else evaluation.of_protocol(name)
    usual = settings.completed(files.get_config(f"{name}:{arguments.spell(config.dataset)}"), tree)
    known, defaults = settings.flat(tree), settings.flat(usual.to_dict())
    changed, others = [], []
    for key, value in settings.flat(config.to_dict()).items():
        default, setting = defaults.get(key), known.get(key)
        about = setting.help if isinstance(setting, settings.Setting) else ""
        same = _text(value) == _text(default) or key in _FILLED_IN or default == "auto"
        row = (key, _text(value), "" if same else _text(default), about)
        (others if same else changed).append(row)
    return changed, others


def _text(value: Any) -> str:
    """A value as --config.KEY=VALUE takes it: JSON stores a tuple as a list."""
    return str(tuple(value) if isinstance(value, list) else value)


def versions(folder: epath.Path) -> dict[str, str]:
    """The content of versions.json."""
    return json.loads((folder / workdir.VERSIONS_FILE).read_text())


def plain(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as texts."""
    return [(key, _text(value)) for key, value in values.items()]
