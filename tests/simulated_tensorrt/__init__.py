"""A stand-in for NVIDIA's ``tensorrt`` module, for tests alone; nothing that it runs is a TensorRT result.

``make(version, device)`` gives a module that has what the bindings of that version have, and nothing else: the lists in
``tests/golden/tensorrt_api`` decide. Its builder writes down the ONNX graph with the roundings that the flags, ranges,
caches and layer precisions ask for; its contexts run that graph in ONNX Runtime on the CPU, with the NumPy reference of
EfficientNMS_TRT. It refuses what the version refuses, in the words that public logs and issues show.

Everything but ``backend`` and what that imports runs on CPython 3.6 and needs no package: ``backend`` runs in process
on 3.10 and later, else in a worker under the interpreter that ``SIMULATED_TENSORRT_PYTHON`` names.
"""

from simulated_tensorrt.module import DEVICES, VERSIONS, installed, make

__all__ = ["DEVICES", "VERSIONS", "installed", "make"]
