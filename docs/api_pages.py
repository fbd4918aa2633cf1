"""MkDocs hook: one API page per sub-package, made from its docstrings."""

from pathlib import Path

from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).resolve().parents[1] / "amr_jax"


def pages(package: Path = PACKAGE) -> dict[str, str]:
    """Markdown of each page by its path in docs/: one per sub-package, and one for the commands."""
    folders = [path.parent for path in sorted(package.glob("*/__init__.py"))]
    made = {f"api/{path.name}.md": _page(f"amr_jax.{path.name}", path) for path in folders}
    made["api/top_level.md"] = _page("The commands and errors", package, recursive=False)
    return made


def _page(title: str, folder: Path, recursive: bool = True) -> str:
    files = sorted(folder.rglob("*.py") if recursive else folder.glob("*.py"))
    modules = [_module(file) for file in files if file.name != "__main__.py"]
    return f"# {title}\n\n" + "\n".join(f"::: {m}\n" for m in modules if m != "amr_jax")


def _module(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def on_files(files: Files, config) -> Files:
    """Adds the pages to those found in docs/."""
    for path, content in pages().items():
        files.append(File.generated(config, path, content=content))
    return files
