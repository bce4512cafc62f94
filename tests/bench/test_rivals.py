"""The networks HarDNet is compared with."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from hardnet_deploy.bench.network_size import network_size
from hardnet_deploy.bench.rival_table import RIVALS, is_rival
from hardnet_deploy.bench.rivals import OWN_SOURCE, draw_weights, load_network, own_network
from hardnet_deploy.errors import UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.models.count import count

PUBLISHED_SIZE = 224


def on_meta(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return own_network(name).eval()


@pytest.mark.parametrize("name", RIVALS)
def test_parameters_and_macs_are_the_published_ones(name: str) -> None:
    rival = RIVALS[name]
    parameters, macs = network_size(on_meta(name), PUBLISHED_SIZE)
    assert parameters == rival.parameters
    # published with one decimal: half a unit of it, and 1e-9 for the comparison itself
    assert abs(macs / 1e9 - rival.gmacs) <= 0.05 + 1e-9


@pytest.mark.parametrize("name", RIVALS)
def test_logits_come_out_at_a_size_that_is_no_multiple_of_32(name: str) -> None:
    with torch.device("meta"):
        images = torch.empty(2, 3, 250, 250)
    assert on_meta(name)(images).shape == (2, 1000)


def test_counting_a_module_in_hand_is_counting_its_description() -> None:
    spec = registry.get("hardnet39ds")
    counted = count(spec, [64])
    assert network_size(registry.build(spec, device="meta"), 64) == (counted.parameters, counted.macs[64])


def test_counting_leaves_the_network_as_it_was() -> None:
    network = own_network("mobilenet_v2").eval()
    network_size(network, 64)
    assert all(parameter.device.type == "cpu" for parameter in network.parameters())
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


def test_weights_are_the_same_every_time_and_leave_the_callers_random_state() -> None:
    state = torch.get_rng_state()
    one, source = load_network("mobilenet_v2")
    other, _ = load_network("mobilenet_v2")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert not one.training
    assert source == OWN_SOURCE or source.startswith("torchvision ")


def test_a_deep_rival_stays_within_float16() -> None:
    """With every residual branch at full scale 33 blocks would leave it: 65504."""
    network = own_network("resnet101").eval()
    draw_weights(network)
    largest = 0.0

    def see(_module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal largest
        largest = max(largest, float(output.abs().max()))

    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(see)
    with torch.inference_mode():
        network(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert 1 < largest < 6000


def test_an_unknown_rival_is_refused_with_the_known_ones() -> None:
    assert not is_rival("resnet18")
    with pytest.raises(UsageError, match="resnet18") as caught:
        load_network("resnet18")
    assert "resnet50" in (caught.value.wanted or "")


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="needs torchvision; it is not installed")
@pytest.mark.parametrize("name", RIVALS)
def test_keys_and_shapes_are_torchvisions(name: str) -> None:
    from torchvision import models

    options = {"width_mult": 1.4} if name.endswith("_1.4") else {}
    with torch.device("meta"):
        theirs = getattr(models, name.partition("_1.4")[0])(weights=None, **options).state_dict()
    ours = on_meta(name).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}
