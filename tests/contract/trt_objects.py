"""Python objects that behave as pybind11's of one TensorRT release: what is listed is there, all else is not."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from typing import Any, Protocol

from trt_api_model import Api, Attribute
from trt_record import Record
from trt_signatures import Signature


class Maker(Protocol):
    """What the objects of a release need of the module that they come from (``trt_recording.Module``)."""

    api: Api
    record: Record

    def missing(self, owner: str, name: str) -> AttributeError: ...
    def class_of(self, name: str) -> type: ...
    def member(self, cls: str, name: str) -> Any: ...
    def make(self, cls: str, content: bytes | tuple[Any, ...] = b"") -> Any: ...
    def property(self, holder: Any, owner: str, name: str) -> Any: ...
    def call(
        self,
        holder: Any,
        owner: str,
        name: str,
        signatures: tuple[Signature, ...],
        given: tuple[Any, ...],
        keywords: Mapping[str, Any],
    ) -> Any: ...


class Class(type):
    """The class of every class: reading an attribute of ``trt.BuilderFlag`` is noted like any other."""

    def __getattribute__(cls, name: str) -> Any:
        if name.startswith("_") and name != "__members__":
            return type.__getattribute__(cls, name)
        maker: Maker = type.__getattribute__(cls, "_maker")
        owner: str = type.__getattribute__(cls, "_api_name")
        for described in maker.api.lineage(owner):
            members = described.members or ()
            if name == "__members__" and described.members is not None:
                return {each: maker.member(described.name, each) for each in members}
            if name in members:
                maker.record.note(described.name, name, "get")
                return maker.member(described.name, name)
            attribute = described.attributes.get(name)
            if attribute is not None:
                maker.record.note(described.name, name, "get")
                return _of_class(maker, cls, attribute, name)
        if any(name in vars(each) for each in _ours(cls)):
            return type.__getattribute__(cls, name)
        raise maker.missing(owner, name)

    def __call__(cls, *given: Any, **keywords: Any) -> Any:
        maker: Maker = cls._maker
        if _ours(cls):
            _check_callbacks(maker, cls)
            made = type.__call__(cls, *given, **keywords)
            if "_constructed" not in vars(made):
                raise TypeError(
                    maker.record.refuse(f"{cls._api_name}.__init__() must be called when overriding __init__")
                )
            return made
        _construct(maker, cls._api_name, given, keywords)
        made = maker.make(cls._api_name, tuple(given[0]) if given and isinstance(given[0], (tuple, list)) else ())
        vars(made)["_given"] = given
        return made


def _construct(maker: Maker, owner: str, given: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
    constructor = maker.api.attribute(owner, "__init__")
    signatures = () if constructor is None else constructor.signatures
    if constructor is not None and not signatures and not given:
        raise TypeError(maker.record.refuse(f"TensorRT {maker.api.version}: {owner} has no constructor"))
    maker.call(None, owner, "__init__", signatures, given, keywords)


def _of_class(maker: Maker, cls: type, attribute: Attribute, name: str) -> Any:
    if attribute.kind == "class":
        return maker.class_of(attribute.target)
    if attribute.kind == "Severity":
        return maker.member("ILogger.Severity", name)
    return lambda holder, *given, **keywords: getattr(holder, name)(*given, **keywords)


def _check_callbacks(maker: Maker, cls: type) -> None:
    """What the library calls on an object of ours takes the arguments that the library passes."""
    for name, function in [item for each in _ours(cls) for item in vars(each).items()]:
        attribute = maker.api.attribute(cls._api_name, name) if inspect.isfunction(function) else None  # type: ignore[attr-defined] # set by Class
        if attribute is None or name.startswith("_"):
            continue
        maker.record.note(cls._api_name, name, "implement")  # type: ignore[attr-defined] # set by Class
        for signature in attribute.signatures:
            try:
                inspect.signature(function).bind(None, *signature.parameters)
            except TypeError as error:
                maker.record.refuse(f"TensorRT {maker.api.version}: {cls.__name__}.{name} as a callback: {error}")


class Thing(metaclass=Class):
    """An object of a release; its attributes are looked up in the release's lists."""

    _api_name: str
    _maker: Maker

    def __init__(self, *given: Any, **keywords: Any) -> None:
        _construct(type(self)._maker, type(self)._api_name, given, keywords)
        object.__setattr__(self, "_constructed", True)

    def __getattribute__(self, name: str) -> Any:
        own: dict[str, Any] = object.__getattribute__(self, "__dict__")
        if name.startswith("_") or any(name in vars(each) for each in _ours(type(self))):
            return object.__getattribute__(self, name)
        maker, owner = type(self)._maker, type(self)._api_name
        attribute = maker.api.attribute(owner, name)
        if "_member" in own and name in ("name", "value"):
            maker.record.note(owner, name, "get")
            return own["_member"][("name", "value").index(name)]
        if attribute is None and name not in own:
            raise maker.missing(owner, name)
        if attribute is not None and attribute.kind == "method":
            return lambda *given, **keywords: maker.call(self, owner, name, attribute.signatures, given, keywords)
        if attribute is not None:
            maker.record.note(owner, name, "get")
        return own[name] if name in own else maker.property(self, owner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        maker, owner = type(self)._maker, type(self)._api_name
        attribute = maker.api.attribute(owner, name)
        if attribute is not None and attribute.kind == "property":
            maker.record.note(owner, name, "set")
            refusals = [setter.refusal((value,), {}) for setter in attribute.setter or ()]
            if attribute.setter is not None and None not in refusals and value is not None:
                why = refusals[0] if refusals else "cannot be set"
                raise AttributeError(maker.record.refuse(f"TensorRT {maker.api.version}: {owner}.{name} {why}"))
        elif not _ours(type(self)) and not name.startswith("_"):
            raise maker.missing(owner, name)
        object.__setattr__(self, name, value)


class Enum:
    """A member of an enum: an integer where one is asked for, equal to itself only."""

    _member: tuple[str, int]

    def __int__(self) -> int:
        return self._member[1]

    __index__ = __int__


class Sequence:
    """What has a length and is reached by number, and nothing more of a tuple."""

    _items: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, position: Any) -> Any:
        return self._items[position]


class Buffer(bytes):
    """Memory of TensorRT's: its bytes can be read through the buffer protocol; it has neither a length nor items."""

    def __len__(self) -> int:
        raise TypeError(type(self)._maker.record.refuse("IHostMemory has no len()"))  # type: ignore[attr-defined] # set by Maker.class_of

    def __getitem__(self, position: Any) -> Any:
        raise TypeError(type(self)._maker.record.refuse("IHostMemory has no items"))  # type: ignore[attr-defined] # set by Maker.class_of


def _ours(cls: type) -> list[type]:
    """The classes of the code under test that stand before TensorRT's own."""
    return list(itertools.takewhile(lambda each: "_api_name" not in vars(each), cls.__mro__))
