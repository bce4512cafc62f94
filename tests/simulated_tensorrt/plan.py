"""A plan: a line that says SIMULATED, a line of JSON with version and GPU, the engine's description, the graph.

::

    SIMULATED TensorRT plan\n
    {"content": 123, "description": 456, "device": ..., "sm": 61, "version": "8.6.1"}\n
    <description: JSON><content: ONNX>
"""

import json

MAGIC = b"SIMULATED TensorRT plan\n"


def write(env, description, content):
    """The plan as bytes; the same engine gives the same bytes."""
    text = json.dumps(description, sort_keys=True).encode("utf-8")
    header = {
        "content": len(content),
        "description": len(text),
        "device": env.device["name"],
        "sm": env.device["sm"],
        "version": env.version,
    }
    return MAGIC + json.dumps(header, sort_keys=True).encode("utf-8") + b"\n" + text + content


def read(env, plan):
    """Description and content, or errors as this version logs them.

    Returns:
        ``(description, content, errors)``; without errors the first two are there, else None.
    """
    if not plan.startswith(MAGIC):
        return None, None, [_serialisation("magicTagRead == kMAGIC_TAG failed.Magic tag does not match")]
    line, _, rest = plan[len(MAGIC) :].partition(b"\n")
    try:
        header = json.loads(line.decode("utf-8"))
    except ValueError:
        return None, None, [_serialisation("header failed.The plan is cut short")]
    if header["version"] != env.version:
        from simulated_tensorrt.facts import VERSIONS

        tags = "Current Version: {}, Serialized Engine Version: {}".format(
            env.facts["plan_tag"], VERSIONS[header["version"]]["plan_tag"]
        )
        return (
            None,
            None,
            [
                "6: The engine plan file is not compatible with this version of TensorRT, expecting library version "
                "{} got {}, please rebuild.".format(env.version, header["version"]),
                _serialisation(
                    f"stdVersionRead == serializationVersion failed.Version tag does not match. Note: {tags}"
                ),
            ],
        )
    if header["sm"] != env.device["sm"]:
        return (
            None,
            None,
            [
                "6: The engine plan file is generated on an incompatible device, expecting compute {} got compute {}, "
                "please rebuild.".format(_compute(env.device["sm"]), _compute(header["sm"]))
            ],
        )
    if len(rest) != header["description"] + header["content"]:
        return None, None, [_serialisation("size failed.The plan is cut short")]
    description = json.loads(rest[: header["description"]].decode("utf-8"))
    return description, rest[header["description"] :], []


def _compute(sm):
    return f"{sm // 10}.{sm % 10}"


def _serialisation(what):
    return f"1: [stdArchiveReader.cpp] Error Code 1: Serialization (Serialization assertion {what})"
