"""Pages of HTML, read as a browser does; and a text that tries to become code in them."""

from __future__ import annotations

from html.parser import HTMLParser

EVIL = "</script><script>alert(1)</script>\"'<img src=x onerror=alert(2)>&amp;\u202e\x00\n"


class Elements(HTMLParser):
    """The elements of a page, and the texts between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
