"""Programs for one edge as C, compiled by the system compiler and called on raw pointers."""
