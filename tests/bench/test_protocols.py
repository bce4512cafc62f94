"""The protocols hold what was published, and nothing else."""

from __future__ import annotations

import pytest

from hardnet_deploy.bench.protocols import PROTOCOLS, get_protocol, title_of
from hardnet_deploy.bench.rival_table import RIVALS
from hardnet_deploy.errors import UsageError
from hardnet_deploy.models import registry

# https://github.com/PingoLH/Pytorch-HarDNet, README, the two tables.
PUBLISHED = {
    "1080ti-1024": {"hardnet68": 22.5, "resnet50": 31.0, "hardnet85": 38.0, "resnet101": 51.2, "vgg16": 49},
    "nano-320": {"hardnet39ds": 32.5, "mobilenet_v2": 37.9, "hardnet68ds": 52.6, "mobilenet_v2_1.4": 57.8},
    "ssd-512": {},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_milliseconds_are_the_authors(name: str) -> None:
    protocol = get_protocol(name)
    assert {network: time.ms for network, time in protocol.published.items()} == PUBLISHED[name]
    assert set(protocol.published) <= set(protocol.networks)
    assert all(time.source.startswith("https://github.com/PingoLH/") for time in protocol.published.values())


def test_size_batch_iterations_and_statistic_are_the_authors() -> None:
    told = {name: (one.size, one.batch, one.published_iterations, one.statistic) for name, one in PROTOCOLS.items()}
    assert told["1080ti-1024"] == (1024, 1, 300, "mean")
    assert told["nano-320"] == (320, 1, 500, "mean")
    assert told["ssd-512"][:2] == (None, 1)


def test_every_network_exists_and_the_reference_is_one_of_them() -> None:
    for protocol in PROTOCOLS.values():
        assert protocol.reference in protocol.networks
        assert all(name in registry.MODELS or name in RIVALS for name in protocol.networks)
    assert PROTOCOLS["1080ti-1024"].reference == "resnet50"


def test_nobody_publishes_a_time_with_nms() -> None:
    assert [name for name, one in PROTOCOLS.items() if "network+NMS" in one.boundaries] == ["ssd-512"]
    assert not PROTOCOLS["ssd-512"].published


def test_titles_are_as_the_published_tables_print_them() -> None:
    names = ("hardnet68", "hardnet39ds", "vgg16", "ssd512-hardnet68-coco")
    assert [title_of(name) for name in names] == ["HarDNet68", "HarDNet39DS", "VGG-16", "ssd512-hardnet68-coco"]


def test_an_unknown_protocol_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="no protocol called 'nano'") as caught:
        get_protocol("nano")
    assert "nano-320" in (caught.value.wanted or "")
