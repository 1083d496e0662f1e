"""Models as files that run without this package: ONNX, PyTorch's `.pt2`, and TorchScript."""
