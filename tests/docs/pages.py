"""Reads the documentation: pages, links, code blocks, command lines."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?:amr-jax|python -m amr_jax\.\w+)\s.*")


def name(page: Path) -> str:
    """A page's path from the root, as the id of a test."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of a language."""
    text = page.read_text(encoding="utf-8")
    return [content for kind, content in _FENCE.findall(text) if kind == language]


def links(page: Path) -> list[str]:
    """Targets of links and images that are neither on the web nor in a code block."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [link for link in _LINK.findall(text) if not link.startswith(("http:", "https:"))]


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as MkDocs and GitHub form them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in found}


def commands(page: Path) -> list[list[str]]:
    """Every command line of the package, in a block or inline, as its words."""
    text = page.read_text(encoding="utf-8")
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`((?:amr-jax|python -m amr_jax\.)[^`\n]*--[^`\n]*)`", text)
    found = (_COMMAND.search(line) for line in lines)
    words = [shlex.split(match[0], comments=True) for match in found if match]
    return [_without_python(line) for line in words]


def _without_python(words: list[str]) -> list[str]:
    if words[0] == "amr-jax":
        return words[1:]
    return [words[2].removeprefix("amr_jax."), *words[3:]]
