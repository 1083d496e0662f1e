"""From a message function to a plan: trace, move work to the nodes, derive the way back, order the loops."""
