"""A page as its parts: what tests of reports look at."""

import html.parser
import urllib.parse
from pathlib import Path


class Page(html.parser.HTMLParser):
    """Attributes: `tags`, (name, attributes) in order; `tables`, rows of texts; `text`, all of it.

    Fails on tags that are not closed in order.
    """

    _VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, path: Path):
        super().__init__()
        self.tags, self.tables, self.text, self._open = [], [], "", []
        self.folder = path.parent
        self.feed(path.read_text(encoding="utf-8"))
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self._VOID and not self.get_starttag_text().endswith("/>"):
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        if tag in self._open or tag not in ("path", "rect", "polyline"):
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] in ("style", "script"):
            return
        self.text += data
        if {"td", "th"} & {*self._open}:
            self.tables[-1][-1][-1] = (self.tables[-1][-1][-1] + data).strip()

    def table(self, head: str) -> list[dict[str, str]]:
        """The rows of the table whose first head is `head`, by head."""
        (found,) = (rows for rows in self.tables if rows and rows[0][0] == head)
        return [dict(zip(found[0], row, strict=True)) for row in found[1:]]

    def check(self) -> None:
        """Needs no network; every link leads to a file, every id is there once."""
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        assert len(ids) == len({*ids})
        for tag, attributes in self.tags:
            assert tag not in ("iframe", "object", "embed"), tag
            for link in (attributes.get(key) for key in ("href", "src")):
                if link and link.startswith("#"):
                    assert link[1:] in ids, link
                elif link and not link.startswith("data:"):
                    assert (self.folder / urllib.parse.unquote(link)).exists(), link
