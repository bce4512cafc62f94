"""Where source code reads names that TensorRT has, found in its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

ASKING: Final = ("hasattr", "getattr", "setattr")
# A question whose name is computed: every name may be asked for there.
ANY_NAME: Final = "*"


@dataclass(frozen=True)
class Site:
    """A name that is read or set, where it stands, and whether the code asks first (``hasattr``, a default)."""

    name: str
    lines: tuple[int, ...]
    asks: bool
    receiver: str


def sites(source: str) -> list[Site]:
    """Every attribute that the source names, literally or as the text in ``hasattr``, ``getattr`` and ``setattr``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            first = node.value.end_lineno or node.lineno
            lines = tuple(range(first, (node.end_lineno or first) + 1))
            found.append(
                Site(node.attr, tuple(sorted({node.lineno, *lines})), asks=False, receiver=ast.unparse(node.value))
            )
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ASKING:
            found += _asked(node)
    return found


def _asked(node: ast.Call) -> Iterator[Site]:
    function, named = node.func, node.args[1]
    name = str(named.value) if isinstance(named, ast.Constant) else ANY_NAME
    assert isinstance(function, ast.Name)
    asks = function.id == "hasattr" or (function.id == "getattr" and len(node.args) == 3)
    lines = tuple(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    yield Site(name, lines, asks=asks, receiver=ast.unparse(node.args[0]))


def questions(source: str, file: str) -> dict[tuple[str, int], set[str]]:
    """For each line, the names that it asks for in a way that takes no for an answer."""
    found: dict[tuple[str, int], set[str]] = {}
    for site in sites(source):
        for line in site.lines if site.asks else ():
            found.setdefault((file, line), set()).add(site.name)
    return found


def foreign_names(source: str) -> set[str]:
    """Names that modules are bound to, and ``options`` of a command line: what is read from them is not TensorRT's."""
    found = {"options"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return found - {"trt", "tensorrt"}
