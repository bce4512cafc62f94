"""Write what our code touches of TensorRT, family by family, as JSON or Markdown.

``python tests/contract/list_contract.py [--format markdown|json] [-o FILE]``; without a file to the standard output.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from trt_table import contract, markdown


def main() -> None:
    """Read the options and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--format", choices=("markdown", "json"), default="markdown")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    document = contract()
    text = markdown(document) if options.format == "markdown" else json.dumps(document, indent=1) + "\n"
    if options.output is None:
        sys.stdout.write(text)
    else:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
