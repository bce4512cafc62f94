# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""The MultiBox loss of SSD (arXiv 1512.02325, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hardnet_deploy.train.recipe import NEGATIVES_PER_POSITIVE


@dataclass(frozen=True, kw_only=True)
class MultiBoxLoss:
    """Both parts, each divided by the number of matched default boxes of the batch.

    Args:
        location: Smooth L1 over the four offsets of matched default boxes, a scalar.
        confidence: Cross-entropy over matched boxes and the hardest background, a scalar.
        matched: Matched default boxes; where there are none the sums are divided by 1.
    """

    location: Tensor
    confidence: Tensor
    matched: int

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.location + self.confidence


def multibox_loss(
    loc: Tensor, conf: Tensor, offsets: Tensor, classes: Tensor, *, location_beta: float = 1.0
) -> MultiBoxLoss:
    """The loss of one batch, in float32.

    Of the unmatched default boxes of an image the three hardest per matched one take part, hardest by their own
    cross-entropy. An image without an object has no part in it, as upstream.

    Args:
        loc: Shape (N, P, 4), the network's offsets.
        conf: Shape (N, P, C), logits.
        offsets: Shape (N, P, 4), wanted; read only where ``classes`` is not 0.
        classes: Shape (N, P), wanted; 0 is background.
        location_beta: Error from which on the smooth L1 loss is linear, in units of the encoding; above 0.
    """
    positive = classes > 0
    logits = conf.float()
    with torch.no_grad():
        background = torch.logsumexp(logits, -1) - logits[..., 0]
        hardness = background.masked_fill(positive, -1.0)  # cross-entropy is never negative
        wanted = (NEGATIVES_PER_POSITIVE * positive.sum(1)).clamp(max=classes.shape[1] - 1)
        most = int(wanted.max())
        ranked = hardness.topk(most, dim=1).indices
        taken = torch.arange(most, device=classes.device)[None] < wanted[:, None]
        negative = torch.zeros_like(positive).scatter_(1, ranked, taken) & ~positive
    matched = int(positive.sum())
    used = positive | negative
    scale = max(matched, 1)
    errors = functional.smooth_l1_loss(loc[positive].float(), offsets[positive], reduction="sum", beta=location_beta)
    location = errors / scale
    confidence = functional.cross_entropy(logits[used], classes[used], reduction="sum") / scale
    return MultiBoxLoss(location=location, confidence=confidence, matched=matched)
