from __future__ import annotations

import pytest
import torch
from torch import nn

from fusion.torch_fold import fold_module
from hardnet_deploy.models import registry
from hardnet_deploy.models.initialise import initialise
from hardnet_deploy.models.layers import links, width
from hardnet_deploy.models.trace import trace


def made(name: str, code_line: str = "pingolh") -> nn.Module:
    spec = registry.get(name)
    model = registry.build(spec, code_line=code_line)
    initialise(model, preprocess=spec.preprocess)
    return model


def test_links_and_widths_follow_the_paper() -> None:
    assert [links(layer) for layer in range(1, 9)] == [(0,), (1, 0), (2,), (3, 2, 0), (4,), (5, 4), (6,), (7, 6, 4, 0)]
    # 14, 14*1.7=23.8, 14*1.7*1.7=40.46, 14*1.7^3=68.78: one more, halved down, doubled.
    assert [width(layer, 14, 1.7) for layer in (1, 2, 3, 4, 8)] == [14, 24, 14, 40, 68]


@pytest.mark.parametrize("name", ["hardnet39ds", "ssd300-hardnet68-voc"])
def test_a_traced_network_computes_the_same_and_names_every_tensor_once(name: str) -> None:
    model = made(name)
    size = registry.get(name).preprocess.size
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = model(images)
    found = {key: value.clone() for key, value in trace(model).tensors(images)}
    outputs = {"loc": wanted[0], "conf": wanted[1]} if isinstance(wanted, tuple) else {"logits": wanted}
    for key, value in outputs.items():
        assert torch.equal(found[key], value)
    names = [key for key, _ in trace(model).tensors(images)]
    assert len(names) == len(set(names))
    assert names[0] == "images"


def test_tensors_with_one_name_are_equal_before_and_after_folding() -> None:
    model = made("hardnet39ds")
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    folded = fold_module(model, images)
    before = {key: value.clone() for key, value in trace(model).tensors(images)}
    after = {key: value.clone() for key, value in trace(folded.model, renames=folded.conv_to_batchnorm).tensors(images)}
    assert set(after) == {key for key in before if not key.endswith("conv")}
    for key, value in after.items():
        torch.testing.assert_close(value, before[key], atol=1e-4, rtol=1e-4)


def test_shapes_are_known_without_computing() -> None:
    traced = trace(made("ssd300-hardnet68-voc"))
    shapes = {traced.names[node]: shape for node, shape in traced.shapes((2, 3, 300, 300)).items()}
    assert shapes["base.9.relu"] == (2, 320, 38, 38)
    assert shapes["loc"] == (2, 11620, 4)
    assert shapes["conf"] == (2, 11620, 21)


def test_the_in_place_code_line_feeds_the_unit_length_on() -> None:
    traced = trace(made("ssd300-hardnet68-voc", "lzx1413"))
    (pool,) = [node for node in traced.module.graph.nodes if node.target == "base.10"]
    assert traced.names[pool.args[0]] == "L2Norm.unit"
    traced = trace(made("ssd300-hardnet68-voc"))
    (pool,) = [node for node in traced.module.graph.nodes if node.target == "base.10"]
    assert traced.names[pool.args[0]] == "base.9.relu"


def test_weights_from_the_seed_are_the_same_bytes_and_fold_into_something_else() -> None:
    first, second = made("hardnet39ds").state_dict(), made("hardnet39ds").state_dict()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
        assert torch.isfinite(value).all()
    assert not torch.equal(first["base.0.norm.running_mean"], torch.zeros(24))
    assert not torch.equal(first["base.0.norm.running_var"], torch.ones(24))
