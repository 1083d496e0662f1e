"""How it is learned: the loop and what stands around it."""
