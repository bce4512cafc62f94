"""The way to the backend: a call with a document and blobs, answered by a document and blobs.

In process from CPython 3.10 on. Else in a worker under the interpreter that the variable ``SIMULATED_TENSORRT_PYTHON``
names (its Python has onnx, onnxruntime and hardnet_deploy), over its stdin and stdout. A message is the length of its
JSON in 8 bytes, big end first, the JSON, and the blobs whose lengths stand there under ``blobs``.
"""

import json
import os
import pathlib
import struct
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
VARIABLE = "SIMULATED_TENSORRT_PYTHON"
_worker = []


class BackendError(Exception):
    """The backend failed in a way that the simulation does not know."""


def open_backend():
    """Something with ``call(method, document, blobs)``; a worker is started once and kept."""
    if sys.version_info >= (3, 10) and not os.environ.get(VARIABLE):
        from simulated_tensorrt import backend

        return backend
    if not _worker:
        _worker.append(Worker())
    return _worker[0]


class Worker:
    """A backend in a process of its own; it ends when its stdin closes."""

    def __init__(self):
        self._process = None

    def _start(self):
        python = os.environ.get(VARIABLE)
        if not python:
            raise RuntimeError(f"set {VARIABLE} to a Python 3.10 or later that has hardnet_deploy")
        environment = dict(os.environ)
        for name in ("PYENV_VERSION", "PYTHONHOME", VARIABLE):
            environment.pop(name, None)
        environment["PYTHONPATH"] = os.pathsep.join((str(TESTS), str(TESTS.parent)))
        self._process = subprocess.Popen(
            [python, "-m", "simulated_tensorrt.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=str(TESTS.parent),
        )

    def call(self, method, document, blobs=()):
        """One call; see the module."""
        if self._process is None:
            self._start()
        write_message(self._process.stdin, {"method": method, "document": document}, blobs)
        answer, returned = read_message(self._process.stdout)
        if "lacks" in answer:
            raise NotImplementedError(answer["lacks"])
        if "error" in answer:
            raise BackendError(answer["error"])
        return answer["document"], returned

    def close(self):
        """End the process."""
        if self._process is not None:
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()
            self._process = None


def write_message(stream, document, blobs):
    """Write one message."""
    blobs = [bytes(blob) for blob in blobs]
    text = json.dumps(dict(document, blobs=[len(blob) for blob in blobs])).encode("utf-8")
    stream.write(struct.pack(">Q", len(text)) + text)
    for blob in blobs:
        stream.write(blob)
    stream.flush()


def read_message(stream):
    """One message as its document and blobs.

    Raises:
        EOFError: The other side is gone.
    """
    (length,) = struct.unpack(">Q", _exactly(stream, 8))
    document = json.loads(_exactly(stream, length).decode("utf-8"))
    return document, [_exactly(stream, size) for size in document.pop("blobs")]


def _exactly(stream, size):
    parts = []
    while size:
        part = stream.read(size)
        if not part:
            raise EOFError("the simulated TensorRT's other process is gone")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
