"""What ``build-engine --dry-run`` says for every target and precision, as Markdown, on the machine that runs this.

    python benchmarks/dry_runs.py > docs/tensorrt-dry-runs.md

Each runs in an empty folder.
"""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
import tempfile
from typing import Final

from hardnet_deploy.models.registry import DEMO_MODEL

TARGETS: Final = ("gtx-1080ti", "jetson-nano", "gpu", "cpu")
PRECISIONS: Final = ((), ("--fp16",), ("--int8",), ("--int8", "--fp16"))


def main() -> None:
    """Run and print all of them."""
    print("# build-engine --dry-run, every target and precision\n")
    print("As printed on a machine with neither GPU nor TensorRT (`benchmarks/dry_runs.py`). Nothing was built.\n")
    with tempfile.TemporaryDirectory() as folder:
        for target, precision in itertools.product(TARGETS, PRECISIONS):
            words = ["build-engine", DEMO_MODEL, *precision, "--target", target, "--dry-run"]
            command = [sys.executable, "-m", "hardnet_deploy", *words]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            print(f"## `hardnet-deploy {shlex.join(words)}`\n\nExit code {done.returncode}.\n")
            print(f"```\n{(done.stdout + done.stderr).strip()}\n```\n")


if __name__ == "__main__":
    main()
