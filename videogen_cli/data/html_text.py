"""The text of HTML, as BeautifulSoup's ``.text`` with Python's parser gives it, which captions were cleaned with."""

from __future__ import annotations

from html.entities import html5
from html.parser import HTMLParser

_NOT_SHOWN = {"script", "style", "template", "rt", "rp"}


def html_text(markup: str) -> str:
    """Return the text between tags; comments, declarations and the contents of scripts and styles are left out."""
    parser = _Text()
    parser.feed(markup)
    parser.close()
    return "".join(parser.parts)


class _Text(HTMLParser):
    """Collects text outside elements that are not shown, an end tag closing all that was opened within."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Go into an element."""
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Leave the innermost element of that name, if there is one."""
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        """Keep text."""
        if not _NOT_SHOWN.intersection(self._open):
            self.parts.append(data)

    def handle_entityref(self, name: str) -> None:
        """Keep a named character; an unknown name stays, without its semicolon."""
        self.handle_data(html5.get(f"{name};") or html5.get(name) or f"&{name}")

    def handle_charref(self, name: str) -> None:
        """Keep a numbered character; numbers below 256 are those of Windows' Latin letters."""
        number = int(name[1:], 16) if name[0] in "xX" else int(name)
        try:
            self.handle_data(bytes([number]).decode("windows-1252") if number < 256 else chr(number))
        except (ValueError, OverflowError):
            self.handle_data(chr(number) if 0 < number < 256 else "\N{REPLACEMENT CHARACTER}")

    def unknown_decl(self, data: str) -> None:
        """Keep what a CDATA section holds."""
        if data.upper().startswith("CDATA["):
            self.handle_data(data[len("CDATA[") :])
