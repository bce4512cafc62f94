"""One engine in a process of its own: ``python -m hardnet_deploy.bench.worker ENGINE INPUT.npy THREADS WARM_UP_MS``.

It answers ``ready`` on standard output, then each line ``N`` on standard input with the milliseconds of N runs as JSON.
Between rounds it waits for input, so its threads sleep while another engine is timed; caches and clocks are another's
then, so each round begins with untimed runs.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np


def main() -> None:
    """Serve until standard input ends."""
    import onnx

    from hardnet_deploy.runners.ort import OrtRunner

    engine, images, threads, warm_up_ms = sys.argv[1:]
    with OrtRunner(onnx.load(engine), threads=int(threads)) as runner:
        feeds = {runner.inputs[0].name: np.load(images)}
        runner.infer(feeds)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for line in sys.stdin:
            ready = time.perf_counter() + 1e-3 * float(warm_up_ms)
            while time.perf_counter() < ready:
                runner.infer(feeds)
            times = []
            for _ in range(int(line)):
                began = time.perf_counter()
                runner.infer(feeds)
                times.append(1e3 * (time.perf_counter() - began))
            sys.stdout.write(json.dumps(times) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
