"""Writes the tables of settings into configs.md; a test checks that they are up to date.

python docs/settings_tables.py
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from amr_jax.config import base, comparison, evaluation, files
from amr_jax.config.settings import Setting

PAGE = Path(__file__).with_name("configs.md")
METHODS = ("amr", "skeleton_mae", "mamp", "nat", "sjepa", "gfp", "stars", "usdrl", "slim")
PROTOCOLS = ("linear", "ridge", "knn", "retrieval", "finetune", "semi")


def tables() -> dict[str, str]:
    """Markdown by the name of a marker in the page."""
    made = {
        "pretraining": _table(base.PRETRAINING),
        "evaluation": _table(evaluation.EVALUATION),
        "comparison": _table(comparison.COMPARISON),
    }
    for kind, names in (("method", METHODS), ("protocol", PROTOCOLS)):
        section = "model" if kind == "method" else ""
        for name in names:
            tree = files.settings_of(kind, name)
            made[name] = _table({section: tree} if section else tree)
    return made


def _table(tree: Mapping) -> str:
    rows = [f"| `{key}` | {_code(s.default)} | {_meaning(s)} |" for key, s in _settings(tree)]
    if not rows:
        return "No settings of its own."
    return "\n".join(("| `config.…` | default | meaning |", "|---|---|---|", *rows))


def _settings(tree: Mapping, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    for key, entry in tree.items():
        if isinstance(entry, Setting):
            yield prefix + key, entry
        elif isinstance(entry, Mapping):
            yield from _settings(entry, f"{prefix}{key}.")


def _code(value) -> str:
    return f"`{value!r}`"


def _meaning(setting: Setting) -> str:
    words = [setting.help]
    if setting.choices:
        words.append("one of " + ", ".join(map(_code, setting.choices)))
    for attribute, word in (
        ("low", "at least"),
        ("above", "above"),
        ("high", "at most"),
        ("below", "below"),
        ("divides", "divides"),
    ):
        bound = getattr(setting, attribute)
        if bound is not None:
            words.append(f"{word} {bound}")
    return "; ".join(words).replace("|", "\\|")


def filled(text: str) -> str:
    """The page with every table between its markers written anew."""
    for name, table in tables().items():
        start, end = f"<!-- settings: {name} -->\n", "<!-- end -->"
        pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{PAGE}: no marker {start.strip()}.")
        text = pattern.sub(lambda _, new=f"{start}\n{table}\n\n{end}": new, text)
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
