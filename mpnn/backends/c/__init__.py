"""Per-edge programs as C, compiled by the system compiler and called on raw pointers."""
