"""The page as a browser's parser sees it, reduced to what the tests ask for."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "img", "br", "link", "input", "base", "hr", "area", "col", "embed", "source", "track", "wbr"}


class Parsed(HTMLParser):
    """Elements in order, their attributes, ``<data>`` values with their texts, and the text outside of those.

    Text inside ``svg``, ``style``, ``code``, ``bdi`` and ``data`` is not in ``prose``.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.numbers: list[tuple[str, str]] = []
        self.prose: list[str] = []
        self.texts: list[str] = []
        self._open: list[tuple[str, dict[str, Any]]] = []
        self.feed(page)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "data":
            self.numbers.append((dict(attrs)["value"] or "", ""))
        if tag not in VOID:
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self._open.pop()
        assert opened == tag, f"{opened} closed by {tag}"

    def handle_data(self, text: str) -> None:
        inside = {tag for tag, _ in self._open}
        if self._open and self._open[-1][0] == "data":
            value, before = self.numbers[-1]
            self.numbers[-1] = (value, before + text)
        if not inside & {"svg", "style", "code", "bdi", "data", "title"}:
            self.prose.append(text)
        if "style" not in inside:
            self.texts.append(text)
