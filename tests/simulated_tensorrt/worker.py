"""The backend as a process; see ``channel``."""

from __future__ import annotations

import os
import sys
from typing import Any

from simulated_tensorrt import backend
from simulated_tensorrt.channel import read_message, write_message


def main() -> None:
    """Answer calls until stdin closes. Whatever else writes to stdout goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            request, blobs = read_message(sys.stdin.buffer)
        except EOFError:
            return
        answer: dict[str, Any]
        returned: list[bytes] = []
        try:
            document, returned = backend.call(request["method"], request["document"], blobs)
            answer = {"document": document}
        except NotImplementedError as error:
            answer = {"lacks": str(error)}
        except Exception as error:  # noqa: BLE001 - the caller hears of it, whatever it is
            answer = {"error": f"{type(error).__name__}: {error}"}
        write_message(answers, answer, returned)


if __name__ == "__main__":
    main()
