"""Outputs of every structure are compared, or said not to be."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from fusion_nets import image, pair
from torch import Tensor, nn

from fusion.torch_fold import fold_module
from fusion.verify import verify_fold

IMAGE = (2, 6, 9, 8)


class Returns(nn.Module):
    """A folded pair, and an output of any shape made from it."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.pair = pair()
        self.make = make
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self.make(self.pair(x))


STRUCTURES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "tensor": (lambda y: y, ("output",)),
    "tuple": (lambda y: (y, y + 1), ("output[0]", "output[1]")),
    "list": (lambda y: [y], ("output[0]",)),
    "dict": (lambda y: {"boxes": y, "scores": y * 2}, ("output['boxes']", "output['scores']")),
    "nested": (lambda y: {"a": (y, {"b": [y]})}, ("output['a'][0]", "output['a'][1]['b'][0]")),
    "with numbers, text and none": (lambda y: (y, 3, None, "name", 2.5), ("output[0]",)),
    "integers": (lambda y: (y, (y > 0).long().sum(1)), ("output[0]", "output[1]")),
    "booleans": (lambda y: y > 0, ("output",)),
    "complex": (lambda y: torch.complex(y, y), ("output",)),
    "one empty": (lambda y: (y, y[:0]), ("output[0]",)),
}


@pytest.mark.parametrize(("make", "names"), STRUCTURES.values(), ids=STRUCTURES)
def test_outputs_of_any_structure_are_compared_by_name(make: Any, names: tuple[str, ...]) -> None:
    model, x = Returns(make), image(*IMAGE)
    verification = verify_fold(model, fold_module(model, x), x)
    assert verification.ok, verification.failures()
    assert tuple(output.name for output in verification.outputs) == names


UNCOMPARABLE: dict[str, tuple[Any, str]] = {
    "nothing": (lambda y: None, "no output was compared"),
    "an empty tuple": (lambda y: (), "no output was compared"),
    "numbers only": (lambda y: (1, "a"), "no output was compared"),
    "empty tensors only": (lambda y: y[:0], "no output was compared"),
    "another type": (lambda y: (y, object()), "output[1] is a object"),
    "NaN": (lambda y: y * float("nan"), "not finite"),
    "infinity": (lambda y: y / 0, "not finite"),
}


@pytest.mark.parametrize(("make", "sentence"), UNCOMPARABLE.values(), ids=UNCOMPARABLE)
def test_what_cannot_be_compared_is_a_failure(make: Any, sentence: str) -> None:
    model, x = Returns(make), image(*IMAGE)
    verification = verify_fold(model, fold_module(model, x), x)
    assert not verification.ok
    assert any(sentence in failure for failure in verification.failures())
    json.dumps(verification.as_dict(), allow_nan=False)


DIFFERENT: dict[str, tuple[Any, Any, str]] = {
    "a key": (lambda y: {"a": y}, lambda y: {"b": y}, "another structure"),
    "a length": (lambda y: (y,), lambda y: (y, y), "another structure"),
    "a type": (lambda y: (y,), lambda y: y, "another structure"),
    "a number": (lambda y: (y, 1), lambda y: (y, 2), "output[1] is 2 in the folded model and 1 in the original"),
    "a shape": (lambda y: y, lambda y: y[:1], "(1, 8, 7, 6)"),
    "a dtype": (lambda y: y, lambda y: y.double(), "torch.float64"),
    "an integer": (lambda y: (y > 0).int(), lambda y: (y > 1e9).int(), "integers or booleans"),
    "a tensor for a number": (lambda y: (y, 1), lambda y: (y, y), "in the folded model"),
}


@pytest.mark.parametrize(("make", "other", "sentence"), DIFFERENT.values(), ids=DIFFERENT)
def test_outputs_that_do_not_correspond_are_failures(make: Any, other: Any, sentence: str) -> None:
    model, x = Returns(make), image(*IMAGE)
    result = fold_module(model, x)
    result.model.make = other
    verification = verify_fold(model, result, x)
    assert not verification.ok
    assert any(sentence in failure for failure in verification.failures()), verification.failures()
