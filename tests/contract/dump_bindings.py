"""Write the public interface of TensorRT's Python bindings as JSON: run in a process of its own, beside stub libraries.

``python dump_bindings.py FOLDER`` imports ``tensorrt_bindings`` from the folder and writes to the standard output what
``trt_api_model.Api`` reads. Nothing of TensorRT is called: only classes, docstrings and enum members are looked at.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from typing import Any

PUBLIC_SPECIAL = ("__init__", "__len__", "__getitem__", "__bool__")


def _signatures(function: Any) -> list[str]:
    """The lines that pybind11 writes for overloads, with the names of classes as TensorRT's users know them."""
    lines = (getattr(function, "__doc__", None) or "").splitlines()
    return [
        line.strip().replace("tensorrt_bindings.tensorrt.", "tensorrt.")
        for line in lines
        if "(" in line and ") ->" in line
    ]


def _members(cls: type) -> dict[str, int] | None:
    members = getattr(cls, "__members__", None)
    return None if members is None else {name: int(value) for name, value in members.items()}


def _attribute(name: str, value: Any) -> dict[str, Any] | None:
    if isinstance(value, property):
        setter = None if value.fset is None else _signatures(value.fset)
        return {"kind": "property", "sig": _signatures(value.fget), "setter": setter}
    if isinstance(value, staticmethod):
        return {"kind": "method", "sig": _signatures(value.__func__)}
    if isinstance(value, type):
        return {"kind": "class", "sig": [], "target": value.__qualname__}
    if callable(value):
        return {"kind": "method", "sig": _signatures(value)}
    if name.startswith("_"):
        return None
    return {"kind": type(value).__name__, "sig": []}


def _class(cls: type) -> dict[str, Any]:
    members = _members(cls)
    attributes: dict[str, Any] = {}
    for name, value in vars(cls).items():
        if (name.startswith("_") and name not in PUBLIC_SPECIAL) or (members is not None and name in members):
            continue
        described = _attribute(name, value)
        if described is not None:
            attributes[name] = described
    bases = [
        base.__qualname__ for base in cls.__bases__ if base.__module__ != "pybind11_builtins" and base is not object
    ]
    return {"attributes": attributes, "bases": bases, **({} if members is None else {"members": members})}


def dump(module: types.ModuleType) -> dict[str, Any]:
    """Classes (nested ones under their qualified name), functions and constants of an imported module."""
    classes: dict[str, Any] = {}
    functions: dict[str, Any] = {}
    constants: dict[str, str] = {}
    aliases = {name: value.__qualname__ for name, value in vars(module).items() if isinstance(value, type)}
    aliases = {name: target for name, target in aliases.items() if name != target and not name.startswith("_")}
    pending = [value for name, value in vars(module).items() if isinstance(value, type) and not name.startswith("_")]
    while pending:
        cls = pending.pop()
        if cls.__module__.split(".")[0] != module.__name__ or cls.__qualname__ in classes:
            continue
        classes[cls.__qualname__] = _class(cls)
        pending += [value for name, value in vars(cls).items() if isinstance(value, type) and not name.startswith("_")]
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, (type, types.ModuleType)):
            continue
        if callable(value):
            functions[name] = _signatures(value)
        elif hasattr(type(value), "__members__") and "." not in type(value).__qualname__:
            constants[name] = f"{type(value).__qualname__}.{value.name}"
    known = {name: target for name, target in aliases.items() if target in classes}
    found = {"classes": classes, "functions": functions, "constants": constants, "aliases": known}
    return {"version": module.__version__, **found}


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    sys.stdout.write(json.dumps(dump(importlib.import_module("tensorrt_bindings"))))
