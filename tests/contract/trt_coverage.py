"""Does the recording say all that the source touches? The source's text is asked, beside its runs."""

from __future__ import annotations

import ast
import ctypes
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from trt_api_model import Api
from trt_scenarios import Outcome
from trt_sources import ANY_NAME, Site, foreign_names, sites

# Attributes of Python's, ctypes' and NumPy's everyday objects: a TensorRT name among them tells nothing by itself.
_EVERYDAY: Final = (
    list,
    dict,
    set,
    str,
    bytes,
    int,
    float,
    tuple,
    memoryview,
    Path,
    io.BytesIO,
    ctypes.c_int,
    np.ndarray,
    np.dtype,
)
EVERYDAY_NAMES: Final = frozenset(name for cls in _EVERYDAY for name in dir(cls)) | {"data"}


def own_names(sources: Iterable[str]) -> set[str]:
    """Names of attributes that the sources' own classes define: methods, fields, and what is set on ``self``."""
    found = set()
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.ClassDef):
            for entry in node.body:
                if isinstance(entry, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    found.add(entry.name)
                elif isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
                    found.add(entry.target.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            found.add(node.attr)
    return found


def functions(source: str) -> dict[int, tuple[int, int]]:
    """For each line, the first and last line of the innermost function around it; module level is no function."""
    spans: dict[int, tuple[int, int]] = {}
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for node in sorted(nodes, key=lambda node: node.lineno):  # inner functions start later and take their lines over
        span = (node.lineno, node.end_lineno or node.lineno)
        spans.update(dict.fromkeys(range(span[0], span[1] + 1), span))
    return spans


def unproven(source: str, file: str, outcomes: Iterable[Outcome], own: Iterable[str]) -> list[str]:
    """Names of TensorRT's in the source that no run has shown to be there.

    A name that only TensorRT's objects have must have been touched on its line in the run of at least one release. A
    name that other objects have too counts only inside functions that touch TensorRT: its line must have run.

    Args:
        source: The text.
        file: Its name in the outcomes.
        outcomes: Of every release.
        own: Names of :func:`own_names`.
    """
    outcomes = list(outcomes)
    vocabulary = set().union(*(outcome.api.names() for outcome in outcomes))
    touched = touched_lines(outcomes, file)
    ran = {line for outcome in outcomes for where, line in outcome.lines if where == file}
    spans, everyday = functions(source), EVERYDAY_NAMES | set(own)
    touching = {spans[line] for line in touched if line in spans}
    missing = []
    for site in _named_in(source, vocabulary):
        if any(site.name in touched.get(line, ()) for line in site.lines):
            continue
        if site.name not in everyday:
            missing.append(f"{file}:{site.lines[0]}: {site.receiver}.{site.name} is touched in no run")
        elif spans.get(site.lines[0]) in touching and not ran & set(site.lines):
            missing.append(f"{file}:{site.lines[0]}: {site.receiver}.{site.name} stands in a line that no run reaches")
    return missing


def known_to_none(outcomes: Iterable[Outcome]) -> list[str]:
    """Questions (``hasattr``) whose answer is no in every release that has the class: a name that is spelt wrongly."""
    outcomes = list(outcomes)
    touches = {touch for outcome in outcomes for touch in outcome.record.touches if touch.how == "ask"}
    unknown = [each for each in touches if not any(_has(outcome.api, each.owner, each.name) for outcome in outcomes)]
    return sorted(f"{touch.owner}.{touch.name}" for touch in unknown)


def _has(api: Api, owner: str, name: str) -> bool:
    if owner == "tensorrt":
        return name in api.classes or name in api.functions or name in api.constants
    return api.attribute(owner, name) is not None or any(name in (each.members or ()) for each in api.lineage(owner))


def touched_lines(outcomes: Iterable[Outcome], file: str) -> Mapping[int, set[str]]:
    """For each line of the file, the names of TensorRT's that were touched there."""
    found: dict[int, set[str]] = {}
    for outcome in outcomes:
        for touch, places in outcome.record.touches.items():
            for where, line in places:
                if where == file:
                    found.setdefault(line, set()).add(touch.name)
    return found


def _named_in(source: str, vocabulary: set[str]) -> list[Site]:
    foreign = foreign_names(source)
    return [
        site
        for site in sites(source)
        if site.name in vocabulary and site.name != ANY_NAME and site.receiver not in foreign
    ]
