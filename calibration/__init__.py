"""Ranges of activations for INT8, measured on any ONNX model, and what is written from them.

A leaf: it imports nothing of ``hardnet_deploy``.
"""
