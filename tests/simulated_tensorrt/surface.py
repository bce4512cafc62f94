"""Classes that have the attributes of a manifest and no others.

Implementations are ordinary classes; of each, those public attributes are copied that the manifest lists. What is
listed and not implemented raises NotImplementedError where it is used, what is not listed does not exist. As in
pybind11 an instance takes no new attributes, unless a Python class derives from its own.
"""

CLOSED, OPEN = "closed", "open"


def lacking(owner, name, kind):
    """What stands for a listed attribute that nobody simulated."""
    text = f"the simulation lacks {owner}.{name}"

    def refuse(*_arguments, **_options):
        raise NotImplementedError(text)

    return refuse if kind == "method" else property(refuse, refuse)


class Stub(type):
    """A class of the module that is there by name only."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotImplementedError(f"the simulation lacks {cls.__name__}.{name}")

    def __call__(cls, *_arguments, **_options):
        raise NotImplementedError(f"the simulation lacks {cls.__name__}")


class Derivable(type):
    """As pybind11: whoever derives from such a class must call its constructor."""

    def __call__(cls, *arguments, **options):
        made = type.__call__(cls, *arguments, **options)
        if not made.__dict__.get("_constructed"):
            raise TypeError(f"{cls.__name__}.__init__() must be called when overriding __init__")
        return made


def _refuse_construction(self, *_arguments, **_options):
    raise TypeError(f"tensorrt.tensorrt.{type(self).__name__}: No constructor defined!")


def _guard(self, name, value):
    if not name.startswith("_") and not isinstance(getattr(type(self), name, None), property):
        raise AttributeError(f"'tensorrt.tensorrt.{type(self).__name__}' object has no attribute '{name}'")
    object.__setattr__(self, name, value)


def make_class(env, name, entry, implementation, bases):
    """One class of the module.

    Args:
        env: Put into the class as ``_env``.
        name: Its name.
        entry: Its part of the manifest.
        implementation: A class, or None: then everything listed is lacking.
        bases: Classes made before.
    """
    sources = [] if implementation is None else [c for c in implementation.__mro__ if c not in (object, bytes)]
    found = {}
    for source in reversed(sources):
        found.update(source.__dict__)
    namespace = {"_env": env, "__module__": "tensorrt.tensorrt", "__doc__": "Simulated."}
    namespace.update({key: value for key, value in found.items() if key.startswith("_") and key not in _NOT_COPIED})
    for attribute, about in entry["attributes"].items():
        if attribute.startswith("__"):
            continue
        if attribute in found:
            namespace[attribute] = found[attribute]
        elif not any(attribute in base.__dict__ for base in bases):
            namespace[attribute] = lacking(name, attribute, about["kind"])
    for special in ("__len__", "__getitem__"):
        if special not in entry["attributes"]:
            namespace.pop(special, None)
    openness = getattr(implementation, "_openness", CLOSED)
    if openness == CLOSED:
        namespace.setdefault("__init__", _refuse_construction)
        namespace["__setattr__"] = _guard
    metaclass = Derivable if openness == OPEN else type
    return metaclass(name, bases or getattr(implementation, "_bases", ()), namespace)


_NOT_COPIED = frozenset(("__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "__slots__"))


def make_enumeration(name, members, arithmetic=False):
    """An enumeration as pybind11 makes them: named values that are no integers, though ``int()`` takes them."""
    made = type(name, (_Enumerator,), {"__module__": "tensorrt.tensorrt", "_arithmetic": arithmetic, "__members__": {}})
    first = {}
    for member, value in sorted(members.items(), key=lambda pair: (pair[1], pair[0])):
        enumerator = made.__new__(made)
        enumerator.__dict__.update(_name=member, _value=value)
        made.__members__[member] = enumerator
        first.setdefault(value, enumerator)
        setattr(made, member, enumerator)
    made._by_value = first
    return made


class _Enumerator:
    _arithmetic = False

    def __init__(self, value):
        if value not in self._by_value:
            raise ValueError(f"{type(self).__name__} has no enumerator of the value {value}")
        self.__dict__.update(_name=self._by_value[value].name, _value=value)

    @property
    def name(self):
        return self._name

    @property
    def value(self):
        return self._value

    def __int__(self):
        return self._value

    __index__ = __int__

    def __hash__(self):
        return hash(self._value)

    def _other(self, other):
        if type(other) is type(self):
            return other._value
        return other if self._arithmetic and isinstance(other, int) else None

    def __eq__(self, other):
        return self._other(other) == self._value

    def __ne__(self, other):
        return not self == other

    def __lt__(self, other):
        return self._value < self._comparable(other)

    def __le__(self, other):
        return self._value <= self._comparable(other)

    def __gt__(self, other):
        return self._value > self._comparable(other)

    def __ge__(self, other):
        return self._value >= self._comparable(other)

    def _comparable(self, other):
        value = self._other(other) if self._arithmetic else None
        if value is None:
            raise TypeError(f"{type(self).__name__} cannot be ordered")
        return value

    def __repr__(self):
        return f"<{type(self).__name__}.{self._name}: {self._value}>"

    def __str__(self):
        return f"{type(self).__name__}.{self._name}"


class Dims:
    """A shape: a sequence of integers that is no tuple."""

    MAX_DIMS = 8
    _openness = CLOSED

    def __init__(self, shape=()):
        self._shape = tuple(int(size) for size in shape)

    def __len__(self):
        return len(self._shape)

    def __getitem__(self, index):
        return self._shape[index]

    def __eq__(self, other):
        return self._shape == tuple(other)

    def __hash__(self):
        return hash(self._shape)

    def __repr__(self):
        return repr(self._shape)
