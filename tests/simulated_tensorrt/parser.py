"""The ONNX parser; which graphs it takes is decided in ``importer``."""

import pathlib

from simulated_tensorrt.plugins import registered

IMPLEMENTED = ("OnnxParser", "ParserError")


class ParserError:
    """What the parser says of one node; ``_about`` is the backend's record."""

    def code(self):
        return self._env.enumerator("ErrorCode", self._about["code"])

    def desc(self):
        return self._about["desc"]

    def node(self):
        return self._about["node"]

    def node_name(self):
        return self._about["name"]

    def node_operator(self):
        return self._about["op"]

    def file(self):
        return self._about["file"]

    def func(self):
        return self._about["func"]

    def line(self):
        return 0

    def __repr__(self):
        about = self._about
        return "In node {} with name: {} and operator: {} ({}): {}: {}".format(
            about["node"], about["name"], about["op"], about["func"], about["code"], about["desc"]
        )

    __str__ = __repr__


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._logger = network, logger
        self._errors = []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        if not 0 <= index < len(self._errors):
            return None
        return self._env.new("ParserError", about=self._errors[index])

    def clear_errors(self):
        self._errors = []

    def parse_from_file(self, model):
        path = pathlib.Path(model)
        if not path.is_file():
            self._env.log(self._logger, "ERROR", f"Could not open file {model}")
            return False
        return self.parse(path.read_bytes())

    def parse(self, model, path=None):
        del path
        env, content = self._env, bytes(model)
        document = {
            "family": env.family,
            "opset": env.facts["opset"],
            "plugins": list(registered(env)) if env.plugins_loaded else [],
            "explicit_batch": self._network._explicit_batch,
        }
        found, _ = env.backend.call("parse", document, [content])
        env.replay(self._logger, found["log"])
        self._errors.extend(found["errors"])
        for about in found["errors"]:
            text = "ModelImporter.cpp: ERROR: {file} In function {func}:\n[{code}] {desc}".format(**about)
            env.log(self._logger, "ERROR", text)
        if found["errors"]:
            return False
        self._network._fill(found["graph"], content)
        return True

    def supports_operator(self, op_name):
        found, _ = self._env.backend.call("operators", {"family": self._env.family}, [])
        return op_name in found["operators"]
