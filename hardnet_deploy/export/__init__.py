"""From a torch module to ONNX: the network, its detection tail, and what a target's parser accepts."""
