"""Ranges of activations for INT8, measured on any ONNX model.

A leaf: it imports nothing of ``hardnet_deploy``. Nothing is here yet; the table, the histogram methods and their
writings arrive with the INT8 engines.
"""
