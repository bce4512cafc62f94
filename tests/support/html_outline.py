"""What a page consists of, read by the standard library alone."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})


class Element:
    """One element: name, attributes, children, and the text in it and below."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name, self.attributes = name, attributes
        self.children: list[Element | str] = []

    def walk(self) -> Iterator[Element]:
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def all(self, *names: str) -> list[Element]:
        return [element for element in self.walk() if element.name in names]

    def one(self, ident: str) -> Element:
        (found,) = (element for element in self.walk() if element.attributes.get("id") == ident)
        return found

    @property
    def text(self) -> str:
        return " ".join(self._raw.split())

    @property
    def _raw(self) -> str:
        return "".join(child if isinstance(child, str) else child._raw for child in self.children)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> repeats an attribute: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].name == tag, f"</{tag}> closes <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def read_page(text: str) -> Element:
    """The page as a tree; every element is closed where it must be."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader._open == [reader.root], f"never closed: {[element.name for element in reader._open[1:]]}"
    return reader.root
