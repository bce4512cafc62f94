"""Which layers to return to float until the drop of mAP is inside a budget."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardnet_deploy.errors import AccuracyBudgetError
from hardnet_deploy.evaluate.bootstrap import DropType
from hardnet_deploy.workflows.precision_trials import FloatPoint, Trial, Trials

if TYPE_CHECKING:
    from calibration.qdq import Choice
    from calibration.sensitivity import LayerNoise


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What the search found.

    Args:
        budget: The largest accepted drop.
        drop_type: Of which kind.
        data: Name of the labelled images.
        digest: Of them.
        images: How many.
        ranking: Layers by the noise they make alone, the most harmful first.
        float_point: The float graph: the other end of the trials' curve of accuracy against cost; no choice.
        trials: In the order of their float layers' number.
        best: The choice: the fewest float layers that were seen to keep the whole one-sided interval inside the budget.
    """

    budget: float
    drop_type: DropType
    data: str
    digest: str
    images: int
    ranking: tuple[LayerNoise, ...]
    float_point: FloatPoint
    trials: tuple[Trial, ...]
    best: Trial

    def as_dict(self) -> dict[str, Any]:
        """For the manifest and ``--json``; the choice in TensorRT 8.x's spelling too."""
        return {
            "budget": self.budget,
            "drop_type": self.drop_type,
            "data": {"name": self.data, "digest": self.digest, "images": self.images},
            "layer_precisions": layer_precisions(self.best.float_layers),
            "best": self.best.as_dict(),
            "float_point": self.float_point.as_dict(),
            "trials": [trial.as_dict() for trial in self.trials],
            "ranking": [noise_record(one) for one in self.ranking],
        }


def layer_precisions(float_layers: tuple[str, ...]) -> str:
    """Float layers in the spelling of ``--layerPrecisions`` of trtexec."""
    return ",".join(f"{name}:fp32" for name in float_layers)


def noise_record(one: LayerNoise) -> dict[str, Any]:
    """A layer's noise for JSON; null where quantising it changed nothing."""
    return {
        "layer": one.name,
        "macs": one.macs,
        "sqnr_db": {name: value if math.isfinite(value) else None for name, value in one.sqnr.items()},
    }


def search_precision(trials: Trials, base: Choice, budget: float, drop_type: DropType) -> SearchResult:
    """Return layers to float, the most harmful first, until the drop is inside the budget.

    The number of float layers doubles until a trial fits, then the gap to the last that did not is halved.

    Args:
        trials: Measures.
        base: What the user asked for; its float layers stay float in every trial.
        budget: Largest accepted drop.
        drop_type: Of which kind; that of ``trials``.

    Raises:
        AccuracyBudgetError: No trial fits; the message names the best one.
        ExportError: A layer stays float that is to be INT8, before anything is measured; unless ``trials`` allow it.
    """

    def measured(more: list[str]) -> Trial:
        choice = dataclasses.replace(base, float_units=base.float_units | set(more))
        return trials.measure(choice, f"trying {len(choice.float_units)} layers in float")

    done = {0: measured([])}
    float_point = trials.float_point()
    ranking = trials.ranking()
    order = [one.name for one in ranking if one.name not in base.float_units]
    fits = None
    for count in _counts(len(order) - 1):
        if count not in done:
            done[count] = measured(order[:count])
        if done[count].drop.at_most <= budget:
            fits = count
            break
    if fits:
        low = max(count for count in done if count < fits)
        while fits - low > 1:
            middle = (low + fits) // 2
            done[middle] = measured(order[:middle])
            if done[middle].drop.at_most <= budget:
                fits = middle
            else:
                low = middle
    ordered = tuple(done[count] for count in sorted(done))
    if fits is None:
        best = min(ordered, key=lambda trial: trial.drop.drop)
        raise AccuracyBudgetError(
            f"no choice of float layers keeps the drop of mAP within {budget:g} ({drop_type}), its interval included",
            got=f"{best.drop.drop:.5f} with {len(best.float_layers)} layers in float, the best found, "
            f"at most {best.drop.at_most:.5f}; all trials stand in {trials.record}",
            next_step="a larger --max-drop, more --search-data, another --method, or more calibration images",
        )
    return SearchResult(
        budget=budget,
        drop_type=drop_type,
        data=trials.dataset.name,
        digest=trials.dataset.digest,
        images=len(trials.dataset),
        ranking=ranking,
        float_point=float_point,
        trials=ordered,
        best=done[fits],
    )


def _counts(most: int) -> list[int]:
    """0, 1, 2, 4, ... and ``most``."""
    counts = [0]
    while counts[-1] < most:
        counts.append(min(max(1, 2 * counts[-1]), most))
    return counts
