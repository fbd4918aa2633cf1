"""The report of a comparison: its tables and pictures, and links to the report of every row."""

import os
from collections.abc import Mapping, Sequence

import ml_collections
from etils import epath

from amr_jax.report import page
from amr_jax.run import console, workdir


def content(
    folder: os.PathLike | str, command: str | None, finished: Mapping[str, Sequence[dict]]
) -> str:
    """The page of a comparison, as far as it is.

    Args:
      folder: its workdir, with NAME.md of the tables and NAME.png of their pictures.
      command: the command line; None: not known.
      finished: row -> row.json of its finished seeds.
    """
    folder = epath.Path(folder)
    config = workdir.read_config(folder)
    names = [name for name in config.tables if (folder / f"{name}.md").exists()]
    tables = [_table(folder, config, name) for name in names]
    settings = {key: x for key, x in config.items() if key not in ("rows", "tables", "variants")}
    return page.render(
        "comparison.html",
        title=tables[0]["title"] if len(tables) == 1 else f"{len(tables)} tables",
        kind="Comparison",
        folder=folder,
        command=command,
        tables=tables,
        rows=[_row(folder, cell, config.seed) for each in finished.values() for cell in each],
        settings=page.plain(settings),
        versions=page.versions(folder),
        links=page.links(folder),
    )


def _table(folder: epath.Path, config: ml_collections.ConfigDict, name: str) -> dict:
    """A table of the comparison and its notes as HTML; of its picture the source."""
    from markdown_it import MarkdownIt  # late, as all that only the page needs

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    table, dash, notes = (folder / f"{name}.md").read_text().partition("\n- ")
    picture = folder / f"{name}.png"
    return {
        "name": name,
        "title": config.tables[name].title,
        "files": [
            f"{name}.{kind}"
            for kind in ("md", "csv", "tex", "png")
            if (folder / f"{name}.{kind}").exists()
        ],
        "html": reader.render(table),
        "notes": reader.render(dash + notes),
        "picture": page.png(picture.read_bytes()) if picture.exists() else None,
    }


def _row(folder: epath.Path, cell: Mapping, first_seed: int) -> dict:
    """A finished cell: its name, cost, and links to the reports of its run and evaluations."""
    place = folder / cell["row"]
    place = place if cell["seed"] == first_seed else place / f"seed{cell['seed']}"
    seconds = cell["training_seconds"]
    return {
        "title": cell["title"],
        "name": cell["row"],
        "seed": cell["seed"],
        "epochs": cell.get("epochs"),
        "time": console.duration(seconds) if seconds else "–",
        "finished": cell["finished"][:16].replace("T", " "),
        "run": page.relative(place, folder),
        "evaluations": [
            (key, page.relative(place / key, folder), encoders["pretrained"]["top1"])
            for key, encoders in cell["protocols"].items()
        ],
    }
