"""The public interface of one TensorRT release: its classes, their attributes with signatures, enum members, functions.

Read either from the release's own bindings (``trt_wheels``) or from the lists in ``tests/golden/tensorrt_api``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from trt_signatures import Signature, parse_function, parse_signature

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "tensorrt_api"
# Names of the module that stand for members of DataType, as pyFoundationalTypes.cpp exports them.
TYPE_NAMES: Final[Mapping[str, str]] = {
    "float32": "FLOAT",
    "float16": "HALF",
    "bfloat16": "BF16",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "int4": "INT4",
    "bool": "BOOL",
    "uint8": "UINT8",
    "fp8": "FP8",
    "fp4": "FP4",
}


@dataclass(frozen=True)
class Attribute:
    """A property or a method; ``signatures`` is empty and ``setter`` None where the source does not tell.

    ``setter`` is empty for a property that cannot be written, ``target`` names a nested class.
    """

    kind: str
    signatures: tuple[Signature, ...] = ()
    setter: tuple[Signature, ...] | None = None
    target: str = ""


@dataclass(frozen=True)
class ApiClass:
    """A class, or an enum where ``members`` is not None."""

    name: str
    bases: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    members: tuple[str, ...] | None


@dataclass(frozen=True)
class Api:
    """What one release offers, and where that is known from."""

    version: str
    source: str
    classes: Mapping[str, ApiClass]
    functions: Mapping[str, tuple[Signature, ...]]
    constants: Mapping[str, str] = field(default_factory=dict)

    def lineage(self, name: str) -> Iterator[ApiClass]:
        """The class and its bases, nearest first."""
        found = self.classes.get(name)
        if found is not None:
            yield found
            for base in found.bases:
                yield from self.lineage(base)

    def attribute(self, cls: str, name: str) -> Attribute | None:
        """What ``cls`` or a base of it has under this name."""
        return next((known.attributes[name] for known in self.lineage(cls) if name in known.attributes), None)

    def names(self) -> set[str]:
        """Every name that can stand after a dot: of classes, attributes, members, functions and constants."""
        found = set(self.functions) | set(self.constants)
        for cls in self.classes.values():
            found |= {cls.name.rsplit(".", maxsplit=1)[-1], *cls.attributes, *(cls.members or ())}
        return {name for name in found if not name.startswith("_")}

    def with_signatures_of(self, other: Api) -> Api:
        """The same names, with signatures, bases and functions where this source has none and another release does."""
        classes = {name: _with_signatures(cls, other) for name, cls in self.classes.items()}
        nested = {
            name: cls for name, cls in other.classes.items() if "." in name and name.split(".")[0] in self.classes
        }
        functions = self.functions or other.functions
        return replace(self, classes={**nested, **classes}, functions=functions)


def _with_signatures(cls: ApiClass, other: Api) -> ApiClass:
    attributes = dict(cls.attributes)
    for name, attribute in cls.attributes.items():
        known = other.attribute(cls.name, name)
        if known is not None and not attribute.signatures:
            attributes[name] = replace(known, kind=known.kind if known.kind != "class" else attribute.kind)
    twin = other.classes.get(cls.name)
    if twin is None:
        return replace(cls, attributes=attributes)
    hidden = {name: value for name, value in twin.attributes.items() if name.startswith("__") or value.kind == "class"}
    constants = {
        name: value for name, value in twin.attributes.items() if value.kind not in ("property", "method", "class")
    }
    return replace(cls, attributes={**hidden, **constants, **attributes}, bases=cls.bases or twin.bases)


def _parsed(lines: Iterable[str]) -> tuple[Signature, ...]:
    return tuple(parsed for line in lines if (parsed := parse_signature(line)) is not None)


def _attribute(described: Mapping[str, Any]) -> Attribute:
    setter = _parsed(described["setter"] or ()) if "setter" in described else None
    return Attribute(described["kind"], _parsed(described.get("sig", ())), setter, described.get("target", ""))


def _functions(document: Mapping[str, Any]) -> dict[str, tuple[Signature, ...]]:
    found = {}
    for name, lines in document.get("functions", {}).items():
        parsed = [parse_function(line) for line in ([lines] if isinstance(lines, str) else lines)]
        found[name] = tuple(signature for signature in parsed if signature is not None)
    return found


def api_from(document: Mapping[str, Any], source: str) -> Api:
    """Read the document of either source.

    The lists name no nested classes: the one of the logger's levels is made from the logger's attributes.

    Args:
        document: ``version``, ``classes`` and, where they are known, ``functions`` and ``constants``.
        source: Where it is from, for the table that users see.
    """
    classes = {}
    for name, described in document["classes"].items():
        members = described.get("members")
        attributes = {key: _attribute(value) for key, value in described["attributes"].items()}
        is_enum = bool(members)
        bases = tuple(described.get("bases") or ())
        classes[name] = ApiClass(name, bases, attributes, tuple(members) if is_enum else None)
    classes.update({alias: classes[target] for alias, target in document.get("aliases", {}).items()})
    levels = tuple(name for name, value in classes["ILogger"].attributes.items() if value.kind == "Severity")
    classes.setdefault("ILogger.Severity", ApiClass("ILogger.Severity", (), {}, levels))
    types = classes["DataType"].members or () if "DataType" in classes else ()
    constants = {name: f"DataType.{member}" for name, member in TYPE_NAMES.items() if member in types}
    constants = document.get("constants", constants)
    return Api(str(document["version"]), source, classes, _functions(document), constants)


def golden_api(version: str) -> Api:
    """The list that the project ships for a release."""
    (path,) = GOLDEN.glob(f"*{version}*.json")
    return api_from(json.loads(path.read_text(encoding="utf-8")), f"list of names in {path.name}")
