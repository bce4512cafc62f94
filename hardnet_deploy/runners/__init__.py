"""Anything that maps named inputs to named outputs: PyTorch, ONNX Runtime, engines."""
