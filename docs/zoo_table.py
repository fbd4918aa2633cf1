"""Writes the table of shipped models into zoo.md; a test checks that it is up to date.

python docs/zoo_table.py
"""

from pathlib import Path

from amr_jax.inference import zoo

PAGE = Path(__file__).with_name("zoo.md")
START, END = "<!-- table -->\n", "<!-- end -->"
HEAD = ("model", "classes", "joints", "parameters", "file", "linear, read-out joint", "sha256")


def table() -> str:
    """One row per model of the registry, and the commands that made it."""
    rows = [HEAD, ["---"] * len(HEAD)]
    commands = []
    for name, row in zoo.registry().items():
        size, digest = f"{row['bytes'] / 1e6:.1f} MB", f"`{row['sha256'][:16]}…`"
        shown = (row["classes"], row["joints"], f"{row['parameters']:,}", size)
        rows.append((f"`{name}`", *shown, row["accuracy"], digest))
        lines = "\n".join(row["commands"])
        commands.append(f"`{name}`, {row['method']}, {row['date']}:\n\n```bash\n{lines}\n```")
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n\n" + "\n\n".join(commands)


def filled(text: str) -> str:
    """The page with the table between its markers written anew."""
    before, rest = text.split(START)
    return f"{before}{START}\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
