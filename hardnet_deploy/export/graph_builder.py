# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""A small writer of ONNX graphs that keeps the shape of every tensor it makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy import __version__
from hardnet_deploy.errors import ExportError
from hardnet_deploy.export.options import MAX_OPSET, MIN_OPSET

IR_VERSION_OF_OPSET: Final = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}
PLUGIN_DOMAIN: Final = "TRT"
BATCH_AXIS: Final = "batch"

Dim = int | str | None
Shape = tuple[Dim, ...]


class GraphBuilder:
    """Collects nodes, initialisers and value infos of one graph.

    Args:
        opset: Version of the standard operator set.
        name: The graph's name.
    """

    def __init__(self, *, opset: int, name: str) -> None:
        if not MIN_OPSET <= opset <= MAX_OPSET:
            raise ExportError(
                f"opset {opset} cannot be written",
                wanted=f"{MIN_OPSET} to {MAX_OPSET}",
                next_step="--opset 13 suits all",
            )
        self.opset = opset
        self.name = name
        self.shapes: dict[str, Shape] = {}
        self._dtypes: dict[str, int] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[str] = []

    def input(self, name: str, shape: Shape, dtype: int = TensorProto.FLOAT) -> str:
        """Declare a graph input."""
        self._inputs.append(name)
        return self._declare(name, shape, dtype)

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """An initialiser; the same name with the same value again is the same initialiser.

        Raises:
            ExportError: The name stands for another value.
        """
        tensor = numpy_helper.from_array(np.asarray(array, order="C"), name)
        known = self._constants.setdefault(name, tensor)
        if known is not tensor and known != tensor:
            raise ExportError(f"two initialisers would be called {name}")
        return name

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        output: str,
        shape: Shape | None,
        *,
        name: str | None = None,
        dtype: int = TensorProto.FLOAT,
        **attributes: Any,
    ) -> str:
        """One node with one output, named after it unless ``name`` is given. Returns the output's name."""
        self.nodes(op_type, inputs, {output: (shape, dtype)}, name=name, **attributes)
        return output

    def nodes(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: dict[str, tuple[Shape | None, int]],
        *,
        name: str | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> None:
        """One node with any number of outputs, each with its shape (None: not known) and element type.

        Raises:
            ExportError: An output's name is taken.
        """
        for output, (shape, dtype) in outputs.items():
            if output in self._dtypes:
                raise ExportError(f"two nodes would make a tensor called {output}")
            self._declare(output, shape, dtype)
        self._nodes.append(
            helper.make_node(
                op_type, list(inputs), list(outputs), name=name or next(iter(outputs)), domain=domain, **attributes
            )
        )

    def model(self, outputs: Sequence[str], *, doc: str) -> onnx.ModelProto:
        """The finished model, initialisers inside the file."""
        used = {name for node in self._nodes for name in node.input}
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [self._value_info(name) for name in self._inputs],
            [self._value_info(name) for name in outputs],
            initializer=[tensor for name, tensor in self._constants.items() if name in used],
            value_info=[
                self._value_info(name)
                for name in self._dtypes
                if name in self.shapes and name not in outputs and name not in self._inputs
            ],
            doc_string=doc,
        )
        domains = {node.domain for node in self._nodes} - {""}
        imports = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
        return helper.make_model(
            graph,
            opset_imports=imports,
            ir_version=IR_VERSION_OF_OPSET[self.opset],
            producer_name="hardnet-deploy",
            producer_version=__version__,
        )

    def _declare(self, name: str, shape: Shape | None, dtype: int) -> str:
        self._dtypes[name] = dtype
        if shape is not None:
            self.shapes[name] = shape
        return name

    def _value_info(self, name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, self._dtypes[name], self.shapes.get(name))
