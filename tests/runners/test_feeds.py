"""What every runner refuses before anything is copied or run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nms_plugin_graph import candidates, plugin_graph
from tiny_detector import TOY, toy_graph

from hardnet_deploy.errors import UsageError
from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.models import registry
from hardnet_deploy.runners.base import check_feeds
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.runners.torch import TorchRunner
from hardnet_deploy.specs import TensorInfo

RAW = GraphOptions(outputs="raw", nms="onnx", thresholds=None, opset=13, batch=None)
IMAGES = TensorInfo(name="images", dtype="float32", shape=(-1, 3, 32, 32))


def zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


REFUSED = {
    "no input": ({}, "other names"),
    "another name": ({"input": zeros(1, 3, 32, 32)}, "other names"),
    "one too many": ({"images": zeros(1, 3, 32, 32), "scale": zeros(1)}, "other names"),
    "float64": ({"images": zeros(1, 3, 32, 32, dtype=np.float64)}, "element type"),
    "float16": ({"images": zeros(1, 3, 32, 32, dtype=np.float16)}, "element type"),
    "uint8": ({"images": zeros(1, 3, 32, 32, dtype=np.uint8)}, "element type"),
    "the other byte order": (
        {"images": zeros(1, 3, 32, 32, dtype=np.dtype(np.float32).newbyteorder())},
        "element type",
    ),
    "objects": ({"images": zeros(1, 3, 32, 32, dtype=object)}, "element type"),
    "no batch axis": ({"images": zeros(3, 32, 32)}, "shape"),
    "an axis too many": ({"images": zeros(1, 1, 3, 32, 32)}, "shape"),
    "channels last": ({"images": zeros(1, 32, 32, 3)}, "shape"),
    "another size": ({"images": zeros(1, 3, 32, 33)}, "shape"),
    "an empty batch": ({"images": zeros(0, 3, 32, 32)}, "shape"),
    "a scalar": ({"images": zeros()}, "shape"),
}


@pytest.mark.parametrize(("feeds", "said"), REFUSED.values(), ids=REFUSED)
def test_wrong_feeds_are_refused_with_what_was_got(feeds: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        check_feeds((IMAGES,), feeds)
    assert caught.value.exit_code == 2
    assert caught.value.got
    assert caught.value.wanted


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_dynamic_axis_takes_any_number(batch: int) -> None:
    check_feeds((IMAGES,), {"images": zeros(batch, 3, 32, 32)})


def test_a_fixed_axis_takes_only_its_own() -> None:
    fixed = TensorInfo(name="images", dtype="float32", shape=(2, 3, 32, 32))
    check_feeds((fixed,), {"images": zeros(2, 3, 32, 32)})
    for batch in (1, 3):
        with pytest.raises(UsageError, match="shape"):
            check_feeds((fixed,), {"images": zeros(batch, 3, 32, 32)})


@pytest.mark.parametrize(("feeds", "said"), REFUSED.values(), ids=REFUSED)
def test_onnx_runtime_runs_nothing_on_wrong_feeds(
    feeds: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = OrtRunner(toy_graph(RAW, TOY))
    monkeypatch.setattr(runner._session, "run", lambda *_: pytest.fail("it ran"))
    with pytest.raises(UsageError, match=said):
        runner.infer(feeds)


def test_the_plugin_is_not_run_on_wrong_feeds_either(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = OrtRunner(plugin_graph())
    monkeypatch.setattr(runner._session, "run", lambda *_: pytest.fail("it ran"))
    feeds = candidates()
    with pytest.raises(UsageError, match="other names"):
        runner.infer({"boxes": feeds["boxes"]})
    with pytest.raises(UsageError, match="'scores' has another shape"):
        runner.infer({**feeds, "scores": feeds["scores"][:, :, :2]})


def test_pytorch_runs_nothing_on_wrong_feeds() -> None:
    import torch

    class Untouchable(torch.nn.Module):
        def forward(self, _images: torch.Tensor) -> torch.Tensor:
            pytest.fail("it ran")

    runner = TorchRunner(Untouchable(), registry.with_size(registry.get("hardnet39ds"), 32))
    for feeds, said in REFUSED.values():
        with pytest.raises(UsageError, match=said):
            runner.infer(feeds)
