"""What `torch_sparse` has: sparse matrices, their views, and what is computed with them."""
