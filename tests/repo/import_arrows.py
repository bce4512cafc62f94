"""Which module may import which, and a reader of imports that says where it is not so.

::

    cli -> workflows -> {export, engines, evaluate, bench, train, kit, report} -> runners -> {models, data, nms}
        -> {specs, targets, tensor_names, files, artifacts, cache} -> errors

An import points to a lower layer, or stays in its layer without making a circle. ``fusion`` and ``calibration`` are
leaves: they import nothing of ours, and only ``workflows`` imports them. ``device`` is an island: one file that must
run alone on the device, so it imports nobody; ``engines``, ``runners``, ``workflows`` and ``kit`` import it. Nothing
imports ``benchmarks``. Only ``cli`` knows typer and rich.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

LAYERS = (
    {"errors"},
    {"specs", "target_spec", "targets_table", "targets", "tensor_names", "files", "artifacts", "cache"},
    {"models", "data", "nms"},
    {"runners"},
    {"export", "engines", "evaluate", "bench", "train", "kit", "report"},
    {"workflows"},
    {"cli", "__main__"},
)
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
LEAVES = ("fusion", "calibration")
ISLAND = "device"
ISLAND_VISITORS = ("engines", "runners", "workflows", "kit")
OURS = ("hardnet_deploy", *LEAVES, "benchmarks", "tests")
TERMINAL_LIBRARIES = ("typer", "rich", "click")


@dataclass(frozen=True, kw_only=True, order=True)
class Import:
    """One import statement: where it stands and what it names, both as dotted names."""

    file: str
    line: int
    importer: str
    imported: str

    def told(self, why: str) -> str:
        """The broken rule, as a sentence that leads to the line."""
        return f"{self.file}:{self.line}: {self.importer} imports {self.imported}: {why}"


def read_imports(root: Path, folders: Iterable[str]) -> Iterator[Import]:
    """Every import in the Python files of ``folders``, inside functions and ``if TYPE_CHECKING`` too."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            relative = path.relative_to(root)
            importer = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                for imported in _names(node):
                    yield Import(file=str(relative), line=node.lineno, importer=importer, imported=imported)


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        return [f"{module}.{alias.name}" for alias in node.names]
    return []


def broken_arrows(imports: Iterable[Import]) -> list[str]:
    """One sentence for each import that points the wrong way."""
    imports = list(imports)
    told = [sentence for found in imports for sentence in _broken(found)]
    return told + _circles(imports)


def _broken(found: Import) -> Iterator[str]:
    if found.imported.startswith("."):
        yield found.told("relative imports are not used")
        return
    importer, imported = found.importer.split("."), found.imported.split(".")
    package, target = importer[0], imported[0]
    home = importer[1] if package == "hardnet_deploy" and len(importer) > 1 else ""
    if target in TERMINAL_LIBRARIES and home != "cli":
        yield found.told("only hardnet_deploy.cli knows the terminal")
    if target not in OURS or target == "tests":
        return
    if target == "benchmarks" and package != "benchmarks":
        yield found.told("nothing imports benchmarks")
    if package in LEAVES and target != package:
        yield found.told(f"{package} is a leaf and imports nothing of ours")
    elif home == ISLAND and not found.imported.startswith(f"hardnet_deploy.{ISLAND}"):
        yield found.told("the device file runs alone on the device")
    elif target in LEAVES and package == "hardnet_deploy" and home != "workflows":
        yield found.told("only workflows joins the leaves to the rest")
    elif package == target == "hardnet_deploy" and home:
        yield from _wrong_layer(found, home, imported[1])


def _wrong_layer(found: Import, home: str, part: str) -> Iterator[str]:
    if part in {"__version__", home}:
        return
    if part == ISLAND:
        if home not in ISLAND_VISITORS:
            yield found.told(f"only {', '.join(ISLAND_VISITORS)} import the device file")
        return
    for name in (home, part):
        if name not in RANKS:
            yield found.told(f"'{name}' has no place in LAYERS of {Path(__file__).name}; give it one")
            return
    if RANKS[part] > RANKS[home]:
        yield found.told(f"'{part}' lies above '{home}'")


def _circles(imports: Iterable[Import]) -> list[str]:
    """Parts of one layer that import each other in a circle."""
    graph: dict[str, set[str]] = {}
    for found in imports:
        importer, imported = found.importer.split("."), found.imported.split(".")
        if importer[0] == imported[0] == "hardnet_deploy" and len(importer) > 1:
            home, part = importer[1], imported[1]
            if home != part and part in RANKS:
                graph.setdefault(home, set()).add(part)
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return [f"a circle of imports: {' -> '.join(reversed(error.args[1]))}"]
    return []
