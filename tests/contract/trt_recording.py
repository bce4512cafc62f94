"""A module object that has what one TensorRT release has, takes the calls that release takes, and notes who asks.

Nothing is computed: a call returns an object of the class that the bindings' signature names, or what a ``World``
(``trt_world``) answers. What the release lacks raises AttributeError, as in the bindings, and is noted as a violation
unless the line that asks is a question (``hasattr``, ``getattr`` with a default). So are calls whose number, names or
types of arguments no signature takes, attributes set that cannot be, and callbacks with another number of parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from trt_api_model import Api
from trt_objects import Buffer, Class, Enum, Sequence, Thing
from trt_record import Record, place
from trt_signatures import Signature, class_name
from trt_sources import ANY_NAME


@dataclass
class Module:
    """Makes the objects of one release; ``answer(owner, name, arguments)`` may give a value, or NotImplemented."""

    api: Api
    record: Record
    answer: Callable[[Module, Any, str, str, tuple[Any, ...]], Any]
    questions: Mapping[tuple[str, int], set[str]]
    classes: dict[str, type] = field(default_factory=dict)

    def module(self) -> Any:
        """The object to give to the code under test as ``tensorrt``."""
        made = _RecordingModule("tensorrt")
        object.__setattr__(made, "_world", self)
        return made

    def missing(self, owner: str, name: str) -> AttributeError:
        if self.questions.get(place(), set()) & {name, ANY_NAME}:
            self.record.note(owner, name, "ask")
        else:
            self.record.refuse(f"TensorRT {self.api.version}: {owner} has no {name!r}")
        return AttributeError(f"{owner!r} has no attribute {name!r}")

    def class_of(self, name: str) -> type:
        """The Python class that stands for one of the release's."""
        if name not in self.classes:
            described = self.api.classes[name]
            bases = tuple(self.class_of(base) for base in described.bases if base in self.api.classes) or (Thing,)
            if described.members is not None:
                bases = (Enum, *bases)
            elif name == "IHostMemory":
                bases = (*bases, Buffer)
            elif "__getitem__" in described.attributes:
                bases = (*bases, Sequence)
            values = {"_api_name": name, "_maker": self, "__module__": "tensorrt"}
            self.classes[name] = Class(name.rsplit(".", maxsplit=1)[-1], bases, values)
        return self.classes[name]

    def member(self, cls: str, name: str) -> Any:
        members = self.api.classes[cls].members or ()
        made = self.class_of(cls)
        known: dict[str, Any] = made.__dict__.get("_members", {})
        if not known:
            for position, each in enumerate(members):
                known[each] = object.__new__(made)
                object.__setattr__(known[each], "_member", (each, position))
            type.__setattr__(made, "_members", known)
        return known[name]

    def make(self, cls: str, content: bytes | tuple[Any, ...] = b"") -> Any:
        """An instance, without a constructor's checks: of memory with its bytes, of a sequence with its items."""
        made = self.class_of(cls)
        if issubclass(made, bytes):
            return bytes.__new__(made, content)
        instance = object.__new__(made)
        for name, value in ({"_items": tuple(content)} if issubclass(made, Sequence) else {}).items():
            object.__setattr__(instance, name, value)
        return instance

    def property(self, holder: Any, owner: str, name: str) -> Any:
        """What reading a property gives."""
        answered = self.answer(self, holder, owner, name, ())
        if answered is not NotImplemented:
            return answered
        attribute = self.api.attribute(owner, name)
        return self.value(attribute.signatures[0].returns) if attribute is not None and attribute.signatures else None

    def resolve(self, type_text: str) -> str | None:
        """The release's class that a type's text means; C++'s ``nvinfer1::IEngineInspector`` is ``EngineInspector``."""
        bare = class_name(type_text)
        candidates = [type_text.removeprefix("tensorrt."), bare, bare.removeprefix("I")]
        return next((name for name in candidates if name in self.api.classes), None)

    def value(self, type_text: str) -> Any:
        """Something of a type: the first member of an enum, an instance of a class, a small number, a name."""
        plain = {"int": 1, "bool": True, "str": "name", "float": 1.0, "None": None, "list": [], "tuple": ()}
        if type_text in plain:
            return plain[type_text]
        name = self.resolve(type_text)
        if name is None:
            return [] if type_text.startswith(("List", "list")) else None
        members = self.api.classes[name].members
        return self.make(name) if members is None else self.member(name, members[0])

    def call(
        self,
        holder: Any,
        owner: str,
        name: str,
        signatures: tuple[Signature, ...],
        given: tuple[Any, ...],
        keywords: Mapping[str, Any],
    ) -> Any:
        """Check a call against the overloads and give its answer."""
        self.record.note(owner, name, "call")
        refusals = [signature.refusal(given, keywords) for signature in signatures]
        if signatures and None not in refusals:
            raise TypeError(self.record.refuse(f"TensorRT {self.api.version}: {owner}.{name} {refusals[0]}"))
        taken = next((each for each, refusal in zip(signatures, refusals, strict=True) if refusal is None), None)
        answered = self.answer(self, holder, owner, name, _in_order(taken, given, keywords))
        if answered is NotImplemented:
            return None if taken is None else self.value(taken.returns)
        return answered


def _in_order(taken: Signature | None, given: tuple[Any, ...], keywords: Mapping[str, Any]) -> tuple[Any, ...]:
    if taken is None:
        return (*given, *keywords.values())
    return (*given, *(keywords[each.name] for each in taken.parameters[len(given) :] if each.name in keywords))


class _RecordingModule(ModuleType):
    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") and name not in ("__version__",):
            return object.__getattribute__(self, name)
        world: Module = object.__getattribute__(self, "_world")
        if name == "__version__":
            world.record.note("tensorrt", name, "get")
            return world.api.version
        if name in world.api.classes:
            world.record.note("tensorrt", name, "get")
            return world.class_of(name)
        if name in world.api.functions:
            signatures = world.api.functions[name]
            return lambda *given, **keywords: world.call(None, "tensorrt", name, signatures, given, keywords)
        if name in world.api.constants:
            world.record.note("tensorrt", name, "get")
            return world.member(*world.api.constants[name].split("."))
        raise world.missing("tensorrt", name)
