"""What `torch_scatter` computes: entries reduced by index, by sorted index and by pointer."""
