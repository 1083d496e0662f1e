"""PyTorch Geometric's own layers on these kernels."""
