"""Conv-BN folding for any PyTorch module or ONNX graph, with a reason for every batch norm that stays.

A leaf: it imports nothing of ``hardnet_deploy``. This module needs NumPy alone; the parts that need more are imported
by name:

    from fusion.torch_fold import fold_module          # torch
    from fusion.verify import verify_fold              # torch
    from fusion.onnx_fold import fold_onnx             # onnx
"""

from __future__ import annotations

from fusion.conv_bn import BatchNormStats, fold_batchnorm
from fusion.errors import FusionError, FusionModelError, FusionShapeError, FusionValueError
from fusion.report import FoldedPair, FoldReport, NotFolded, Reason, Untraced
from fusion.verdict import FoldVerification, LayerError, OutputError, Tolerance

__all__ = [
    "BatchNormStats",
    "FoldReport",
    "FoldVerification",
    "FoldedPair",
    "FusionError",
    "FusionModelError",
    "FusionShapeError",
    "FusionValueError",
    "LayerError",
    "NotFolded",
    "OutputError",
    "Reason",
    "Tolerance",
    "Untraced",
    "fold_batchnorm",
]
