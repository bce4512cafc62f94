"""Ranges for INT8: what the user set on tensors, and what a calibrator's cache or batches give for the others."""

import ctypes
import struct

from simulated_tensorrt.facts import BYTES

_NO_SCALES = (
    "4: [standardEngineBuilder.cpp::initCalibrationParams] Error Code 4: Internal Error (Calibration failure occurred "
    "with no scaling factors detected. This could be due to no int8 calibrator or insufficient custom scales for "
    "network layers. Please see int8 sample to setup calibration correctly.)"
)


def calibrate(env, logger, network, config, profiles, refused):
    """Scale by tensor name: a range that was set on a tensor goes before the calibrator's.

    Raises:
        refused: INT8 is asked for, and there is no scale at all.
    """
    if "INT8" not in config._flags or network._typed:
        return {}
    calibrator = config._calibrator
    if network._graph["qdq"]:
        if calibrator is not None:
            env.log(
                logger,
                "WARNING",
                "Calibrator won't be used in explicit precision mode. Use quantization aware training to generate "
                "network with Quantize/Dequantize nodes.",
            )
        return {}
    scales = {}
    if calibrator is not None:
        scales.update(_from_calibrator(env, logger, network, calibrator, profiles, refused))
    for name, (low, high) in network._ranges.items():
        scales[name] = max(abs(low), abs(high)) / 127.0
    if not scales:
        raise refused(_NO_SCALES)
    return scales


def _from_calibrator(env, logger, network, calibrator, profiles, refused):
    calibrator.get_algorithm()
    name = calibrator._cache_name
    header = "TRT-{}-{}".format(env.facts["cache"], name)
    env.log(logger, "INFO", f"Reading Calibration Cache for calibrator: {name}")
    cache = calibrator.read_calibration_cache()
    scales = read_scales(bytes(cache), header) if cache is not None else None
    if scales is not None:
        text = (
            "Generated calibration scales using calibration cache. Make sure that calibration cache has latest scales."
        )
        env.log(logger, "INFO", text)
        return scales
    batch_size = calibrator.get_batch_size()
    env.log(logger, "INFO", "Starting Calibration.")
    amax, count = {}, 0
    while True:
        addresses = calibrator.get_batch(list(network._inputs))
        if not addresses:
            break
        found = _observe(env, network, profiles[0], addresses, batch_size)
        for tensor, value in found.items():
            amax[tensor] = max(value, amax.get(tensor, 0.0))
        env.log(logger, "INFO", f"  Calibrated batch {count} in 0.0 seconds.")
        count += 1
    if not count:
        raise refused(_NO_SCALES)
    scales = {tensor: value / 127.0 for tensor, value in amax.items() if value > 0}
    env.log(logger, "INFO", f"Writing Calibration Cache for calibrator: {header}")
    calibrator.write_calibration_cache(write_scales(scales, header))
    return scales


def read_scales(cache, header):
    """Scales of a cache, or None where its header is another: TensorRT says nothing and calibrates anew."""
    lines = cache.decode("utf-8", "replace").split("\n")
    if lines[0].rstrip("\r") != header:
        return None
    scales = {}
    for line in lines[1:]:
        name, colon, digits = line.rstrip("\r").rpartition(": ")
        if colon:
            (scales[name],) = struct.unpack(">f", struct.pack(">I", int(digits, 16)))
    return scales


def write_scales(scales, header):
    """The cache's text."""
    lines = [header]
    for name, scale in scales.items():
        (bits,) = struct.unpack(">I", struct.pack(">f", scale))
        lines.append(f"{name}: {bits:x}")
    return ("\n".join(lines) + "\n").encode("utf-8")


def _observe(env, network, profile, addresses, batch_size):
    blobs, inputs = [network._onnx], []
    for index, name in enumerate(network._inputs):
        about = network._graph["tensors"][name]
        shape = list(profile[name][1])
        if about["shape"][0] == -1:
            shape[0] = batch_size
        size = BYTES[about["dtype"]]
        for length in shape:
            size *= length
        inputs.append({"name": name, "dtype": about["dtype"], "shape": shape})
        blobs.append(ctypes.string_at(int(addresses[index]), size))
    found, _ = env.backend.call("observe", {"inputs": inputs}, blobs)
    return found["amax"]
