"""NumPy references of every non-maximum suppression a detector meets on its way, one file for each.

``upstream`` is what the authors' evaluation does in PyTorch, ``efficient`` TensorRT's EfficientNMS_TRT plugin and
``onnx_nms`` the ONNX operator NonMaxSuppression. They differ on purpose: in the comparison at the bound, in caps and
in what happens to background. ``matching`` compares the detections that come out.
"""
