"""HTML as trees: what is text stays text, whatever is in it, because the standard library's serializer escapes it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

Element = ElementTree.Element
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")  # not allowed in HTML, or seen as nothing


def element(name: str, *children: Element | str | None, **attributes: str) -> Element:
    """Return ``<name attributes>children</name>``.

    Args:
        name: of the element; ``a.b`` is an element a of class b.
        children: elements and texts; None is left out.
        attributes: a trailing underscore is dropped and others become hyphens: ``for_``, ``data_scores``.
    """
    name, _, kind = name.partition(".")
    node = Element(name, {"class": kind.replace(".", " ")} if kind else {})
    for key, value in attributes.items():
        node.set(key.rstrip("_").replace("_", "-"), clean(value))
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            _append_text(node, clean(child))
        else:
            node.append(child)
    return node


def clean(text: str) -> str:
    """Return ``text`` with characters that HTML cannot hold replaced by the sign for such."""
    return _CONTROLS.sub("\ufffd", text)


def document(root: Element) -> str:
    """Return a whole page as text; the texts of its scripts and styles are as they are."""
    return "<!DOCTYPE html>\n" + ElementTree.tostring(root, encoding="unicode", method="html") + "\n"


def _append_text(node: Element, text: str) -> None:
    if len(node):
        node[-1].tail = (node[-1].tail or "") + text
    else:
        node.text = (node.text or "") + text
