"""bodies - the model-local ONNX functions of domain `dpc`, one file for each part of an evaluation."""
