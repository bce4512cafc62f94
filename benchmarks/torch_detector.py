"""A detector in PyTorch up to boxes and scores, as exported graphs have them: the network with softmax and decoding."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hardnet_deploy.specs import DetectorHead


class DecodedDetector(nn.Module):
    """Images [N, 3, S, S] to boxes [N, P, 4] (corner form, not clipped) and scores [N, P, C] (background first).

    The arithmetic is that of ``hardnet_deploy.export.detection_tail``, with the same float32 constants.

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
        loc, conf = self.network(images)
        middle = loc[..., :2] * self.get_buffer("step") + self.get_buffer("centre")
        half = torch.exp(loc[..., 2:] * self._size_variance) * self.get_buffer("half_size")
        return torch.cat((middle - half, middle + half), -1), torch.softmax(conf, -1)
