"""Whether a profile that ``trtexec`` wrote is of the network that it is said to be of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from hardnet_deploy.bench.layer_times import LayerTable, placed
from hardnet_deploy.bench.module_map import OTHER, parts
from hardnet_deploy.errors import ArtifactMismatchError
from hardnet_deploy.workflows.profile_import import Imported

SUSPICIOUS_PERCENT: Final = 20.0
"""Of the time in layers that name nothing of the network, above which the reader is told."""


def placed_import(found: Imported, path: Path) -> LayerTable:
    """Every layer of an imported profile in its place; a note says where many of them have none.

    Args:
        found: The profile and what it is said to be of.
        path: Its file, for messages.

    Raises:
        ArtifactMismatchError: No title names a layer of the network.
    """
    table = placed(found.profile, detector=found.detector)
    own = (
        set()
        if found.model is None
        else {text for node in found.model.graph.node for text in (node.name, *node.output)}
    )
    if not any(
        one.place.module or own.intersection((*parts(one.layer.name), *one.layer.nodes)) for one in table.layers
    ):
        raise ArtifactMismatchError(
            f"{path} is the profile of another network",
            got=f"layers such as '{table.slowest()[0].layer.name[:60]}'" if table.layers else None,
            wanted=f"layers of {found.identity['label']}",
            next_step="name the engine or kit that was profiled; where it is that one, add its --layer-info",
        )
    other = sum(one.percent for one in table.layers if one.place.group == OTHER and not one.place.module)
    if other < SUSPICIOUS_PERCENT:
        return table
    note = (
        f"{other:.0f} % of the time is in layers that name nothing of the network: make sure that the profile is of"
        f" {found.identity['label']}"
    )
    profile = dataclasses.replace(table.profile, notes=(note, *table.profile.notes))
    return dataclasses.replace(table, profile=profile)
