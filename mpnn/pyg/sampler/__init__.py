"""What `pyg_lib.sampler` computes: sampled neighbourhoods, induced subgraphs and random walks, on the CPU."""
