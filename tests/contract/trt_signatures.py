"""pybind11's docstring signatures, and whether a call with given arguments agrees with one."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

_OPENING: Final = "([{<"
_CLOSING: Final = ")]}>"
_UNTYPED: Final = ("object", "handle", "capsule", "typing_extensions.CapsuleType", "types.CapsuleType", "function")
_BUILTIN: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "bool": (bool, np.bool_),
    "Iterable": (Iterable,),
    "Callable": (Callable,),  # type: ignore[dict-item]  # an abstract class that isinstance takes
}
# What pybind11 converts to a class of TensorRT's on the way.
_CONVERTED: Final[Mapping[str, tuple[type, ...]]] = {
    "Dims": (tuple, list),
    "Weights": (np.ndarray,),
    "Permutation": (tuple, list),
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a signature; ``arg0`` of the docstrings has no name that a call may use."""

    name: str
    type_text: str
    optional: bool

    @property
    def by_name(self) -> bool:
        return re.fullmatch(r"arg\d+", self.name) is None


@dataclass(frozen=True)
class Signature:
    """One overload: its parameters without ``self``, and the text of what it returns."""

    parameters: tuple[Parameter, ...]
    returns: str

    def refusal(self, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> str | None:
        """Why the bindings would not take this call, or None."""
        if len(arguments) > len(self.parameters):
            return f"takes {len(self.parameters)} arguments, got {len(arguments)}"
        given = dict(zip((parameter.name for parameter in self.parameters), arguments, strict=False))
        for name, value in keywords.items():
            if name in given or name not in {p.name for p in self.parameters if p.by_name}:
                return f"has no keyword {name!r} to take here"
            given[name] = value
        for parameter in self.parameters:
            if parameter.name not in given:
                if not parameter.optional:
                    return f"wants {parameter.name!r}"
            elif not accepts(parameter.type_text, given[parameter.name]):
                return f"wants {parameter.type_text} as {parameter.name!r}, got {type(given[parameter.name]).__name__}"
        return None


def split_top(text: str, separator: str = ",") -> list[str]:
    """Split at the separators that no bracket or quote encloses."""
    parts, depth, quote, start = [], 0, "", 0
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING and text[position - 1 : position + 1] != "->":
            depth -= 1
        elif character == separator and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def parse_signature(line: str) -> Signature | None:
    """Read ``name(self: C, a: T = default) -> R``, with or without an overload's number; None for anything else."""
    found = re.match(r"(?:\d+\. )?\w*\((.*)\) -> (.+)$", line.strip())
    if found is None:
        return None
    parameters = []
    for position, part in enumerate(split_top(found[1])):
        if part in ("*", "/"):
            continue
        name, _, rest = part.partition(":")
        type_text, _, default = rest.partition(" = ")
        is_self = position == 0 and (name == "self" or "(arg0" in line.split(",", maxsplit=1)[0])
        if not is_self:
            parameters.append(Parameter(name.strip(), type_text.strip(), optional=bool(default)))
    return Signature(tuple(parameters), found[2].strip())


def parse_function(line: str) -> Signature | None:
    """As ``parse_signature``, for a function of the module, whose first parameter is not the object."""
    return parse_signature(line.replace("(", "(self: module, ", 1))


def class_name(type_text: str) -> str:
    """The bare name of a class in a type's text: ``tensorrt.ILogger.Severity`` and C++'s form end in ``Severity``."""
    return re.split(r"\.|::", type_text.strip())[-1]


def accepts(type_text: str, value: Any) -> bool:
    """Whether pybind11 would convert the value to a parameter of this type; types that are not known take anything."""
    text = type_text.strip()
    alternatives = split_top(text, "|")
    if len(alternatives) > 1:
        return any(accepts(alternative, value) for alternative in alternatives)
    generic = re.fullmatch(r"(?:typing\.|collections\.abc\.)?(\w+)\[(.*)\]", text)
    if generic is not None:
        return _accepts_generic(generic[1], generic[2], value)
    if text in _UNTYPED:
        return True
    if text == "None":
        return value is None
    return _accepts_plain(class_name(text), value)


def _accepts_generic(name: str, inner: str, value: Any) -> bool:
    if name == "Optional":
        return value is None or accepts(inner, value)
    if name in ("List", "list", "Sequence", "Tuple", "tuple"):
        of = split_top(inner)[0]
        return isinstance(value, (list, tuple)) and all(accepts(of, item) for item in value)
    if name in ("Callable", "Union"):
        return callable(value) if name == "Callable" else any(accepts(part, value) for part in split_top(inner))
    return True


def _accepts_plain(name: str, value: Any) -> bool:
    if name in ("int", "SupportsInt", "SupportsIndex"):
        return not isinstance(value, float) and _is_index(value)
    if name in ("float", "SupportsFloat"):
        return isinstance(value, (int, float, np.integer, np.floating))
    if name in ("buffer", "Buffer"):
        return _is_buffer(value)
    if name in _BUILTIN:
        return isinstance(value, _BUILTIN[name])
    if isinstance(value, _CONVERTED.get(name, ())):
        return True
    return name in {base.__name__ for base in type(value).__mro__}


def _is_index(value: Any) -> bool:
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def _is_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return False
    return True
