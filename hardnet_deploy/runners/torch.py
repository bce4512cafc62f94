# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""PyTorch itself, as the reference that every engine is held against."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from typing_extensions import Self

from hardnet_deploy.nms.boxes import decode_boxes, softmax
from hardnet_deploy.runners.base import Arrays, check_feeds
from hardnet_deploy.specs import ModelSpec, TensorInfo
from hardnet_deploy.tensor_names import BOXES, CONF, INPUT, LOC, LOGITS, SCORES


class TorchRunner:
    """Runs a registered network on the CPU in float32.

    A detector returns ``loc``, ``conf``, ``boxes`` and ``scores``; softmax and decoding are the NumPy reference in
    upstream's order of operations. A backbone returns ``logits``.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec) -> None:
        self._model = model
        self._head = spec.head
        self._priors = spec.head.priors() if spec.head else None
        size = spec.preprocess.size
        self._inputs = (TensorInfo(name=INPUT, dtype="float32", shape=(-1, 3, size, size)),)

    @property
    def name(self) -> str:
        """What ran."""
        return "PyTorch (CPU)"

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What :meth:`infer` wants."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that :meth:`infer` returns."""
        return (LOC, CONF, BOXES, SCORES) if self._head else (LOGITS,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def infer(self, feeds: Mapping[str, NDArray[np.float32]]) -> Arrays:
        """Run one batch; see :class:`~hardnet_deploy.runners.base.Runner`."""
        check_feeds(self._inputs, feeds)
        with torch.inference_mode():
            result = self._model(torch.from_numpy(feeds[INPUT].copy()))  # as it is, it may be read-only or reversed
        if self._head is None or self._priors is None:
            return {LOGITS: result.numpy()}
        loc, conf = (tensor.numpy() for tensor in result)
        return {LOC: loc, CONF: conf, **self.decoded(loc, conf)}

    def decoded(self, loc: NDArray[np.float32], conf: NDArray[np.float32]) -> Arrays:
        """``boxes`` and ``scores`` of a detector's raw outputs, whoever computed them."""
        assert self._head is not None
        assert self._priors is not None
        return {BOXES: decode_boxes(loc, self._priors, self._head.variances), SCORES: softmax(conf)}
