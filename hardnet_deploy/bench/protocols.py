"""What is timed under which name: networks, input, iterations, what is counted in, and what the ratios are taken to."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

from hardnet_deploy.bench.published import AT_320_ON_NANO, AT_1024_ON_1080_TI, PublishedTime
from hardnet_deploy.bench.rival_table import RIVALS
from hardnet_deploy.bench.sides import Boundary
from hardnet_deploy.errors import UsageError

BOUNDARIES: Final[tuple[Boundary, ...]] = get_args(Boundary)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A set of rows that is timed in one run.

    Args:
        name: On the command line.
        networks: In the order of the rows; names of the registry and of :mod:`~hardnet_deploy.bench.rival_table`.
        reference: The one that ratios are taken to.
        size: Side of the square input; None where each network has its own.
        batch: Images at once.
        iterations: Of every row where nothing else limits them.
        published_iterations: What the published mean is of; None where nothing was published.
        statistic: What the published figure is.
        boundaries: What is counted in; every network has a row for each.
        published: Times by network, measured at the boundary ``network``.
    """

    name: str
    networks: tuple[str, ...]
    reference: str
    size: int | None
    batch: int
    iterations: int
    published_iterations: int | None
    statistic: Literal["mean", "median"]
    boundaries: tuple[Boundary, ...]
    published: Mapping[str, PublishedTime]


_ROWS: Final = (
    Protocol(
        name="1080ti-1024",
        networks=("hardnet68", "resnet50", "hardnet85", "resnet101", "vgg16"),
        reference="resnet50",
        size=1024,
        batch=1,
        iterations=300,
        published_iterations=300,
        statistic="mean",
        boundaries=("network",),
        published=AT_1024_ON_1080_TI,
    ),
    Protocol(
        name="nano-320",
        networks=("hardnet39ds", "mobilenet_v2", "hardnet68ds", "mobilenet_v2_1.4"),
        reference="mobilenet_v2",
        size=320,
        batch=1,
        iterations=500,
        published_iterations=500,
        statistic="mean",
        boundaries=("network",),
        published=AT_320_ON_NANO,
    ),
    # The authors publish accuracy of these detectors and no time.
    Protocol(
        name="ssd-512",
        networks=("ssd512-hardnet68-coco", "ssd512-hardnet85-coco"),
        reference="ssd512-hardnet68-coco",
        size=None,
        batch=1,
        iterations=300,
        published_iterations=None,
        statistic="mean",
        boundaries=("network", "network+NMS"),
        published={},
    ),
)
PROTOCOLS: Final[Mapping[str, Protocol]] = MappingProxyType({row.name: row for row in _ROWS})
DEFAULT_PROTOCOL: Final = "1080ti-1024"
OWN: Final = "own"
"""Name of what has no protocol: models and files as the command line names them."""
OWN_ITERATIONS: Final = 300


def get_protocol(name: str) -> Protocol:
    """The protocol called ``name``.

    Raises:
        UsageError: There is none.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    close = difflib.get_close_matches(name, PROTOCOLS, n=1, cutoff=0.4)
    raise UsageError(
        f"there is no protocol called '{name}'",
        wanted=f"perhaps '{close[0]}'; there are {', '.join(PROTOCOLS)}" if close else ", ".join(PROTOCOLS),
    )


def title_of(network: str) -> str:
    """A network's name as the published tables print it; a name they do not have as it is.

    ``hardnet68ds`` becomes HarDNet68DS, ``resnet50`` ResNet-50.
    """
    if network in RIVALS:
        return RIVALS[network].title
    if network.startswith("hardnet"):
        return "HarDNet" + network.removeprefix("hardnet").upper()
    return network
