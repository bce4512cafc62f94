# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""What follows a detector's raw outputs in PyTorch: softmax, decoding and NMS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hardnet_deploy.bench.sides import Nms, limits_text
from hardnet_deploy.nms.efficient import CANDIDATE_CAP, efficient_nms
from hardnet_deploy.specs import DetectorHead, Thresholds


class Decoded(nn.Module):
    """Images [N, 3, S, S] to boxes [N, P, 4] (corner form, not clipped) and scores [N, P, C] (background first).

    The arithmetic is that of ``hardnet_deploy.export.detection_tail``, in float32 whatever the network computes in.

    Args:
        network: Gives ``loc`` [N, P, 4] and ``conf`` [N, P, C].
        head: Its default boxes and variances.
    """

    def __init__(self, network: nn.Module, head: DetectorHead) -> None:
        super().__init__()
        self.network = network
        priors = head.priors64()
        position_variance, self._size_variance = head.variances
        for name, values in (
            ("centre", priors[:, :2]),
            ("step", position_variance * priors[:, 2:]),
            ("half_size", priors[:, 2:] / 2),
        ):
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and scores."""
        loc, conf = (one.float() for one in self.network(images))
        middle = loc[..., :2] * self.get_buffer("step") + self.get_buffer("centre")
        half = torch.exp(loc[..., 2:] * self._size_variance) * self.get_buffer("half_size")
        return torch.cat((middle - half, middle + half), -1), torch.softmax(conf, -1)


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """NMS for a batch.

    Args:
        run: Boxes [N, P, 4] and scores [N, P, C] to the detections of each image.
        text: What does it, with its thresholds.
        kind: For the document.
    """

    run: Callable[[Tensor, Tensor], list[Any]]
    text: str
    kind: Nms

    def __call__(self, boxes: Tensor, scores: Tensor) -> list[Any]:
        """Of a batch."""
        return self.run(boxes, scores)


def suppression(thresholds: Thresholds, device: str) -> Suppression:
    """NMS by torchvision's ``batched_nms`` where that works, else by the NumPy reference of EfficientNMS.

    Args:
        thresholds: What stays.
        device: Of the tensors it will get, as PyTorch names it.
    """
    limits = limits_text(thresholds)
    batched_nms, version = _torchvision(device)
    if batched_nms is None:

        def by_numpy(boxes: Tensor, scores: Tensor) -> list[Any]:
            found = efficient_nms(
                boxes.cpu().numpy(),
                scores.cpu().numpy(),
                score_threshold=thresholds.score,
                iou_threshold=thresholds.iou,
                max_output_boxes=thresholds.max_detections,
                background_class=0,
            )
            return list(found)

        return Suppression(run=by_numpy, text=f"the NumPy reference of EfficientNMS ({limits})", kind="numpy")

    def by_torchvision(boxes: Tensor, scores: Tensor) -> list[Any]:
        return [
            one_image(of_image, given, thresholds, batched_nms) for of_image, given in zip(boxes, scores, strict=True)
        ]

    return Suppression(run=by_torchvision, text=f"torchvision {version}'s batched_nms ({limits})", kind="torchvision")


def one_image(
    boxes: Tensor, scores: Tensor, thresholds: Thresholds, batched_nms: Callable[..., Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes [n, 4], scores [n] and classes [n] of one image, by descending score.

    Args:
        boxes: [P, 4] in corner form.
        scores: [P, C], background first.
        thresholds: What stays; of the candidates the best 5000 over all classes, as EfficientNMS takes them.
        batched_nms: torchvision's.
    """
    foreground = scores[:, 1:]
    prior, label = torch.nonzero(foreground >= thresholds.score, as_tuple=True)
    values = foreground[prior, label]
    if len(values) > CANDIDATE_CAP:
        values, best = values.topk(CANDIDATE_CAP)
        prior, label = prior[best], label[best]
    kept = batched_nms(boxes[prior], values, label, thresholds.iou)[: thresholds.max_detections]
    return boxes[prior[kept]], values[kept], label[kept] + 1


def _torchvision(device: str) -> tuple[Callable[..., Tensor] | None, str]:
    """Tried on the very device: a torchvision built without CUDA works beside a PyTorch with CUDA, but on the CPU."""
    try:
        import torchvision
        from torchvision.ops import batched_nms

        box, score = torch.zeros(1, 4, device=device), torch.zeros(1, device=device)
        batched_nms(box, score, torch.zeros(1, dtype=torch.long, device=device), 0.5).cpu()
    except Exception:  # noqa: BLE001 - a torchvision built for another torch raises anything, at import or later
        return None, ""
    return batched_nms, str(torchvision.__version__)
